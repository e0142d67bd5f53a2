"""Counterfactual: liquidations of a history under another policy, its own cascade taken into account.

A real history contains the impact of the liquidations that happened in it. Under another policy the mark would
have been

    history x exp(-G x (flow under the policy - flow under the facts))      longs are sold, shorts bought back

G the strength of a unit of notional executed, ``impact.mark``. The facts are a replay of the book in the history
itself; the policy is a replay that follows them event by event (``docs/replay.md``, Counterfactuals): the same
policy gives an offset of exactly zero and the same outcomes to the last digit.

Assumptions: the book is the one that traded, G was constant, and all other traders would have done the same. So
report a range over assumed strengths; :func:`strength_limits` gives those compatible with the history itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Unpack

import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import USUAL, Conventions
from backtest.engine.replay.arguments import InBothWorlds
from backtest.engine.replay.replay import Replay, replay
from backtest.errors import ArgumentError, DataError, TiersError
from backtest.market.market import Market
from backtest.rules.procedure import Impact
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.shown import shown

WORLDS = ("in both", "only in fact", "only under the policy", "in neither")


@dataclass(frozen=True, eq=False)
@shown()
class Counterfactual:
    """A history's own liquidations, and those under another policy."""

    facts: Replay
    policy: Replay  #: ``impact`` has the offset of the mark, ``flow`` the executed orders
    positions: pl.DataFrame  #: ``liquidated`` (in which world), ``positions``, ``entry_notional``
    totals: pl.DataFrame  #: ``measure, facts, policy``, settlement currency or counts
    marks: pl.DataFrame  #: by symbol: extremes of the mark in both worlds, and of the offset
    notes: tuple[str, ...]  #: warnings to read beside the figures

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{row['positions']:,} {row['liquidated']}" for row in self.positions.iter_rows(named=True)
        )
        return f"Counterfactual(liquidated: {counts})"


@checked
def counterfactual(
    book: Book,
    market: Market,
    facts_venue: Venue,
    policy_venue: Venue,
    *,
    impact: Impact,
    fund: float = 0.0,
    policy_fund: float | None = None,
    facts: Replay | None = None,
    conventions: Conventions = USUAL,
    progress: Callable[[float], None] | None = None,
    **same: Unpack[InBothWorlds],
) -> Counterfactual:
    """Return the outcome of a book in a history, and its outcome there under another policy.

    Parameters
    ----------
    book, market
        As :func:`~backtest.replay` takes them, any contracts but odds.
    facts_venue, policy_venue
        The rules in force in the history, and those to try.
    impact
        Market impact of orders in both worlds; ``mark`` is the strength G, zero leaves the mark as it was.
    fund, policy_fund
        Insurance fund at the start, in fact and under the policy (None: the same).
    facts
        The ``facts`` of an earlier answer with the same book, history and rules: saves replaying them, as when G
        is varied.
    conventions
        As for :func:`~backtest.replay`; entry bars are not tested.
    progress
        Called with the share of bars done, of both worlds together.
    **same
        ``deposits``, ``seed``, ``trace``, ``threads`` and fields of :class:`~backtest.Conventions`, as
        :func:`~backtest.replay` takes them, the same in both worlds.

    Raises
    ------
    ArgumentError, DataError, TiersError
        As :func:`~backtest.replay`; also for an order other than by price, and for a cap on waves.

    Examples
    --------
    >>> from backtest.study import policy
    >>> policy.counterfactual(book, market, venue, venue.with_(rate_scale=2), impact=impact)
    Counterfactual(liquidated: 333 in both, 1 only in fact, 23 only under the policy, 643 in neither)
    """
    if same.get("entry_bar", conventions.entry_bar) == "tested":
        raise ArgumentError("must be 'untested' in a counterfactual, is 'tested'", argument="entry_bar")
    report = progress or _ignore
    if isinstance(same.get("deposits"), Iterable):
        same["deposits"] = tuple(same["deposits"])  # read in both worlds

    def replayed(venue: Venue, held: float, taken: Impact, known: pl.DataFrame | None, done: float) -> Replay:
        return replay(
            book, market, venue, fund=held, impact=taken, facts=known, record_flow=True, conventions=conventions,
            progress=lambda share: report(done + share / 2), **same,
        )  # fmt: skip

    if facts is None:
        facts = replayed(facts_venue, fund, replace(impact, mark=0.0), None, 0.0)
    elif facts.flow.is_empty() and facts.impact["long_executed", "short_executed"].sum().sum_horizontal()[0] > 0:
        raise ArgumentError("facts must be a replay with its flow recorded (record_flow=True)")
    try:
        policy = replayed(policy_venue, fund if policy_fund is None else policy_fund, impact, facts.flow, 0.5)
    except (DataError, TiersError) as error:
        raise type(error)(f"under the policy: {error.sentence}", remedies=error.remedies) from None
    return Counterfactual(
        facts=facts,
        policy=policy,
        positions=_positions(facts, policy),
        totals=_totals(facts, policy),
        marks=_marks(policy, market),
        notes=_notes(facts, policy, market, impact.mark),
    )


@checked
def strength_limits(flow: pl.DataFrame, market: Market) -> pl.DataFrame:
    """Return the largest strength G compatible with each leg of a history.

    A leg that liquidated a notional was moved by G times it; from its first liquidation to its extreme it moved
    ``room`` (a logarithm) in all. A larger G implies that others bought against the cascade at the same time.

    Parameters
    ----------
    flow : of a replay of the history itself, as ``Counterfactual.facts.flow``

    Returns
    -------
    ``symbol, time, stage`` (low or high), ``notional, room, strength``; only legs with executed orders.

    Examples
    --------
    >>> import backtest
    >>> from backtest.study import policy
    >>> flow = backtest.replay(book, market, venue, record_flow=True).flow
    >>> policy.strength_limits(flow, market).select(pl.len(), pl.col("strength").min()).row(0)
    (188, 7.285927566184186e-09)
    """
    toward = pl.when(pl.col("side") == "long").then(pl.lit("low")).otherwise(pl.lit("high"))
    own = flow.filter(pl.col("notional") > 0, pl.col("stage").cast(pl.String) == toward)
    bars = market.bars.select("symbol", "time", "open", "low", "high")
    down = pl.col("stage").cast(pl.String) == "low"
    start = pl.when(down).then(pl.min_horizontal("highest", "open")).otherwise(pl.max_horizontal("lowest", "open"))
    room = (start.log() - pl.when(down).then("low").otherwise("high").log()).abs()
    legs = own.group_by("symbol", "time", "stage", maintain_order=True).agg(
        pl.col("notional").sum(), highest=pl.col("price").max(), lowest=pl.col("price").min()
    )
    placed = legs.join(bars, on=("symbol", "time"), how="left", maintain_order="left")
    return placed.select(
        "symbol", "time", "stage", "notional", room=room, strength=room / pl.col("notional")
    )  # fmt: skip


def _ignore(_: float) -> None:
    return None


def _hit(found: Replay) -> pl.DataFrame:
    """Return whether each position was liquidated, fully or in part."""
    touched = pl.col("liquidated") | (pl.col("filled_in_market") + pl.col("taken_over") > 0)
    return found.outcomes.select("position_id", hit=touched)


def _positions(facts: Replay, policy: Replay) -> pl.DataFrame:
    both = (
        facts.outcomes.select("position_id", "entry_notional")
        .join(_hit(facts), on="position_id")
        .join(_hit(policy), on="position_id", how="left", suffix="_policy")
    )
    fact, then = pl.col("hit"), pl.col("hit_policy").fill_null(False)
    world = (
        pl.when(fact & then).then(pl.lit(WORLDS[0]))
        .when(fact).then(pl.lit(WORLDS[1]))
        .when(then).then(pl.lit(WORLDS[2]))
        .otherwise(pl.lit(WORLDS[3]))
    )  # fmt: skip
    counted = both.group_by(liquidated=world.cast(pl.Enum(WORLDS))).agg(
        positions=pl.len().cast(pl.Int64), entry_notional=pl.col("entry_notional").sum()
    )
    every = pl.DataFrame({"liquidated": pl.Series(WORLDS, dtype=pl.Enum(WORLDS))})
    return every.join(counted, on="liquidated", how="left", maintain_order="left").with_columns(
        pl.col("positions", "entry_notional").fill_null(0)
    )


def _totals(facts: Replay, policy: Replay) -> pl.DataFrame:
    columns = {name: _measures(found) for name, found in (("facts", facts), ("policy", policy))}
    amounts = {name: pl.Series(list(found.values()), dtype=pl.Float64) for name, found in columns.items()}
    return pl.DataFrame({"measure": list(columns["facts"]), **amounts})


def _measures(found: Replay) -> dict[str, float]:
    flows = {
        name: float(found.impact.select(pl.col(f"long_{name}").sum() + pl.col(f"short_{name}").sum()).item())
        for name in ("executed", "taken_over", "deleveraged")
    }
    cash = {row["account"]: row["total"] / found.unit for row in found.ledger.iter_rows(named=True)}
    liquidated = found.outcomes.filter(pl.col("liquidated"))
    return {
        "liquidated positions": float(_hit(found)["hit"].sum()),
        **{f"{name.replace('_', ' ')} notional": amount for name, amount in flows.items()},
        "deleveragings": float(found.adl.height),
        "lost by liquidated holders": -float(liquidated["realised_pnl"].sum()) + 0.0,
        "fund at the end": float(found.fund["fund"][-1]),
        "lowest fund": _lowest_fund(found),
        "clawed back": float(found.outcomes["clawed_back"].sum()),
        "uncovered": -cash["deficit"] + 0.0,
    }


def _lowest_fund(found: Replay) -> float:
    """Return the least of the fund, the beginning included."""
    owners = found.ledger.row(by_predicate=pl.col("account") == "owners", named=True)["cash"]
    return min(float(found.fund["fund"].min()), float(-owners / found.unit))  # type: ignore[arg-type]


def _marks(policy: Replay, market: Market) -> pl.DataFrame:
    """Return extremes of the mark; a bar's are taken under the offset at its end."""
    bars = market.bars.select("symbol", "time", "low", "high").with_columns(policy.impact["offset", "runaway"])
    factor = pl.col("offset").exp()
    return bars.group_by("symbol", maintain_order=True).agg(
        lowest_facts=pl.col("low").min(),
        lowest_policy=(pl.col("low") * factor).min(),
        highest_facts=pl.col("high").max(),
        highest_policy=(pl.col("high") * factor).max(),
        lowest_offset=pl.col("offset").min(),
        highest_offset=pl.col("offset").max(),
        last_offset=pl.col("offset").last(),
        runaway_bars=pl.col("runaway").sum().cast(pl.Int64),
    )


def _notes(facts: Replay, policy: Replay, market: Market, strength: float) -> tuple[str, ...]:
    notes = [f"in fact and under the policy: {note}" for note in facts.notes if note in policy.notes]
    notes += [f"in fact: {note}" for note in facts.notes if note not in policy.notes]
    notes += [f"under the policy: {note}" for note in policy.notes if note not in facts.notes]
    legs = strength_limits(facts.flow, market)
    total = float(legs["notional"].sum())
    if strength > 0 and total > 0:
        beyond = float(legs.filter(pl.col("strength") < strength)["notional"].sum()) / total
        if beyond >= 0.005:
            notes.append(
                f"{100 * beyond:.0f} % of the notional executed in fact lies in bars that moved less than "
                f"{strength:g} times it: there the history moved less than this strength implies"
            )
    return tuple(notes)
