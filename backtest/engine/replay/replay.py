"""Replay: the full waterfall of a book's liquidations in time order, with a ledger that sums to zero."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Unpack

import numpy as np
import polars as pl

from backtest.amounts import plain
from backtest.book.book import Book
from backtest.engine.arguments import require_threads
from backtest.engine.conventions import USUAL, Changes, Conventions
from backtest.engine.input_warnings import warn_of_substitutes, warn_once
from backtest.engine.outcomes import tiers_of
from backtest.engine.price_checks import check_traded
from backtest.engine.replay import arguments, frames
from backtest.engine.replay import facts as replay_facts
from backtest.engine.replay.session import Course, Stage, Watch
from backtest.errors import ArgumentError
from backtest.kernel.choices import FlowMode
from backtest.kernel.counterfactual import flow
from backtest.kernel.replay import state
from backtest.kernel.replay.codes import BACKSTOP, DEFICIT
from backtest.market.market import Market
from backtest.rules.procedure import Impact
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.shown import shown

#: Bars stepped between two reports of progress.
REPORTED = 65_536

#: What a runaway is, forward and against facts.
_RUNAWAY = (
    "each wave of liquidations set off one as large (R >= 1)",
    "the offset met its bound, so that this is no estimate any more: the impact on the mark is too large",
)


@dataclass(frozen=True, eq=False)
@shown()
class Replay:
    """Result of a replay. Money is in settlement currency, exact to the ledger's unit."""

    outcomes: pl.DataFrame  #: one row per position, as ``sweep`` returns it, and the waterfall's columns
    fund: pl.DataFrame  #: fund balance and payments in and out, in every bar with a payment
    adl: pl.DataFrame  #: ADL matches: counterparty, quantity, price, score, and the profit given up
    impact: pl.DataFrame  #: bar by bar: offset of the mark, waves, caps hit, triggered and executed notional
    ledger: pl.DataFrame  #: by account: cash, unrealised, total, in whole units; the totals add up to zero
    trace: pl.DataFrame  #: every step of the traced position
    flow: pl.DataFrame  #: executions, event by event, in order; empty unless recorded
    unit: float  #: whole units to one of settlement currency
    notes: tuple[str, ...]  #: caveats to read with the figures

    def __repr__(self) -> str:
        counts = self.outcomes["outcome"].value_counts(sort=True)
        listed = ", ".join(f"{row['count']:,} {row['outcome']}" for row in counts.iter_rows(named=True))
        return f"Replay({self.outcomes.height:,} positions: {listed or 'nothing'})"


@checked
def replay(
    book: Book,
    market: Market,
    venue: Venue,
    *,
    fund: float = 0.0,
    deposits: Iterable[tuple[datetime, float]] = (),
    impact: Impact | None = None,
    exogenous: bool = False,
    facts: pl.DataFrame | None = None,
    record_flow: bool = False,
    conventions: Conventions = USUAL,
    seed: int = 0,
    trace: int | str | None = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    **changes: Unpack[Changes],
) -> Replay:
    """Step a book through a market under a venue's liquidation procedure.

    Parameters
    ----------
    book, market, venue
        As for :func:`~backtest.sweep`, but a row is one position: no weights, no survival.
        ``venue.procedure`` decides the liquidation of a position.
    fund
        Insurance fund at the start, settlement currency.
    deposits
        Times and amounts paid into it later.
    impact
        Market impact of the orders; None: at the price of the history, without limit.
    exogenous
        The history holds no cascade of its own, so that the mark may be moved (``impact.mark``). Real histories
        contain theirs: moving them counts it twice.
    facts
        Executions of the history's own liquidations, as ``flow`` of a replay. The mark is then moved by
        the executions of this replay *less* the facts, both merged event by event (``docs/replay.md``,
        Counterfactuals). Null ``position_id``: of no position in the book, such as orders of a recorded feed.
    record_flow
        Whether ``flow`` is recorded.
    conventions
        As for :func:`~backtest.sweep`. ``fill_price`` is the price of orders before impact; run both
        ``liquidation_price`` and ``last_extreme`` to bracket a fund. Entry bars are tested only where ``impact``
        couples nothing.
    seed
        Seed of the random ADL ranking, below 2**32.
    trace
        ``position_id`` of a position to follow step by step.
    threads
        Number of threads for steps that do not couple positions. Results do not depend on it.
    progress
        Called with the share of bars done.
    **changes
        Fields of :class:`~backtest.Conventions` that differ from ``conventions``.

    Raises
    ------
    ArgumentError, DataError, TiersError
        As :func:`~backtest.sweep`; also for feedback on a history not called exogenous or on odds, for facts of
        no bar, for several settlement currencies, for capacity without volume, for weights and survival, and for
        amounts beyond 64 bits.

    Examples
    --------
    >>> from backtest import replay
    >>> played = replay(book, market, venue, fund=1e5, impact=impact)
    >>> played
    Replay(1,000 positions: 601 exited, 334 liquidated, 65 open)
    >>> played.fund["fund"].round(0)[-1], played.ledger["total"].sum()
    (106898.0, 0)
    """
    require_threads(threads)
    warn_once(book, market)
    conventions = conventions.with_(**changes)
    options = arguments.checked_options(
        fund=fund, deposits=deposits, impact=impact, conventions=conventions, seed=seed
    )
    mode = arguments.require_mode(options.impact, exogenous, facts is not None, record_flow)
    course = Course(mode, None if facts is None else replay_facts.require_facts(facts, market))
    stage = Stage.of(book, market, venue, conventions, threads)
    if course.facts is not None:
        check_traded(course.facts, "facts", stage.prepared.contracts)
    warn_of_substitutes(book, stage.prepared.rules, stage.groups)
    frame = stage.admitted.frame
    options = replace(options, trace=_row_of(frame, trace))
    report = None if progress is None else _reporting(progress, stage.bars)
    played = stage.play(venue, options, threads=threads, every=REPORTED, watch=report, course=course)
    world, merge, last = played.world, played.merge, stage.last_groups(played.found)
    warn_of_substitutes(book, stage.prepared.rules, stage.groups, later=last)
    return Replay(
        outcomes=frames.outcomes(
            frame,
            stage.prepared,
            played.found,
            frames.held_at_end(world, market),
            tiers_of(stage.prepared.rules, last),
        ),
        fund=frames.fund(world, market),
        adl=frames.adl(world, market, frame),
        impact=frames.impact(world, market),
        ledger=frames.ledger(world, market),
        trace=frames.trace(world),
        flow=replay_facts.flow(merge, world, market, frame),
        unit=float(world.settings[0]["unit"]),
        notes=_notes(venue, market, options.impact, world, merge),
    )


def _reporting(progress: Callable[[float], None], bars: int) -> Watch:
    """Return a function that reports progress as the share of bars done."""
    return lambda _, done: progress(done / bars)


def _row_of(frame: pl.DataFrame, trace: int | str | None) -> int:
    if trace is None:
        return -1
    rows = (frame["position_id"].cast(pl.String) == str(trace)).arg_true()
    if rows.is_empty():
        raise ArgumentError(
            f"must be the position_id of a position, is {trace!r}: there is none of that id", argument="trace"
        )
    return int(rows[0])


def _notes(venue: Venue, market: Market, impact: Impact, world: state.World, merge: flow.Merge) -> tuple[str, ...]:
    notes = []
    own = venue.procedure
    longest = int(market.intervals.max()) / 1000
    if 0 < own.rounds * own.round_seconds < longest:
        rounds = "1 round" if own.rounds == 1 else f"{own.rounds} rounds"
        notes.append(
            f"a bar of {plain(longest)} s is longer than the whole procedure ({rounds} of "
            f"{plain(own.round_seconds)} s): every round of it fills at one bar's price"
        )
    if impact.mark > 0 and world.steps["runaway"].any():
        bars = int(np.count_nonzero(world.steps["runaway"]))
        follows = merge.counts[flow.MODE] == FlowMode.FOLLOWING
        notes.append(f"runaway in {bars:,} bars: {_RUNAWAY[int(follows)]}")
    traced, kept = int(world.counters[state.TRACE_USED]), world.trace.size
    if traced > kept:
        notes.append(f"the trace ends after {kept:,} of {traced:,} steps")
    deficit = int(world.cash[DEFICIT])
    if deficit < 0:
        notes.append(f"uncovered deficit of {-deficit / float(world.settings[0]['unit']):,.2f}")
    held = int(world.cash[BACKSTOP]) + frames.inventory(world, market)
    if own.inventory == "fund" and held < 0:
        lost = -held / float(world.settings[0]["unit"])
        notes.append(
            f"positions taken over and not sold have lost {lost:,.2f} at the last mark, which nobody has paid"
        )
    return tuple(notes)
