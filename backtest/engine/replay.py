"""The replay: the whole waterfall of a book's liquidations in time order, with a ledger that closes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine import limits, replay_arguments, replay_frames
from backtest.engine.arguments import require_choice, require_kinds
from backtest.engine.prepare import ENTRY_BAR, INTRABAR, Prepared, prepare
from backtest.engine.replay_arguments import Options
from backtest.engine.replay_world import Stage, build, roomier
from backtest.errors import ArgumentError
from backtest.kernel import replay as steps
from backtest.kernel import waterfall
from backtest.market.market import Market
from backtest.rules.procedure import Impact
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas import PRICE_PREFIX

#: Room for queue nodes and rows of the ADL table to begin with. It grows between bars; where one bar needs more
#: than is free the replay begins anew with more.
SPARE = 16_384

#: Bars stepped between two reports of progress.
REPORTED = 65_536


@dataclass(frozen=True, eq=False)
class Replay:
    """What a replay found. Money is in settlement currency, exact to the ledger's unit."""

    outcomes: pl.DataFrame  #: one row a position, as ``sweep`` has it, and what the waterfall did to it
    fund: pl.DataFrame  #: the fund, what went in and out, in every bar where it moved
    adl: pl.DataFrame  #: who was deleveraged, how much, at what price and score, and the profit given up
    impact: pl.DataFrame  #: bar by bar: offset of the mark, waves, caps hit, triggered and executed notional
    ledger: pl.DataFrame  #: by account: cash, unrealised, total, in whole units; the totals add up to zero
    trace: pl.DataFrame  #: every step of the traced position
    unit: float  #: whole units to one of settlement currency
    notes: tuple[str, ...]  #: what the reader must know beside the figures

    def __repr__(self) -> str:
        counts = self.outcomes["outcome"].value_counts(sort=True)
        told = ", ".join(f"{row['count']:,} {row['outcome']}" for row in counts.iter_rows(named=True))
        return f"Replay({self.outcomes.height:,} positions: {told or 'nothing'})"


def replay(
    book: Book,
    market: Market,
    venue: Venue,
    *,
    fund: float = 0.0,
    deposits: Iterable[tuple[datetime, float]] = (),
    impact: Impact | None = None,
    exogenous: bool = False,
    fill_price: Literal["liquidation_price", "last_close", "last_extreme"] = "liquidation_price",
    trigger_price: Literal["mark", "last", "index"] | None = None,
    intrabar: Literal["pessimistic", "optimistic", "path"] = "pessimistic",
    entry_bar: Literal["untested", "tested"] = "untested",
    stop_trigger: Literal["mark", "last", "index"] | None = None,
    leverage_limit: Literal["error", "cap", "filter"] = "error",
    tiers: Tiers = "strict",
    seed: int = 0,
    trace: int | None = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Replay:
    """Step a book through a market under a venue's liquidation procedure.

    Parameters
    ----------
    book, market, venue
        As for :func:`~backtest.sweep`, but a row is one position: no weights, no survival.
        ``venue.procedure`` says what happens to a liquidated position.
    fund
        What the insurance fund holds at the start, settlement currency.
    deposits
        Times and amounts paid into it later.
    impact
        How the market takes the orders; None: at the price of the history, without limit.
    exogenous
        That the history holds no cascade of its own, so that the mark may be moved (``impact.mark``). Real
        histories contain theirs: moving them counts it twice.
    fill_price
        The price orders get before impact; run both ``liquidation_price`` and ``last_extreme`` to bracket a fund.
    trigger_price, intrabar, entry_bar, stop_trigger, leverage_limit, tiers
        As for :func:`~backtest.sweep`; entry bars are tested only where ``impact`` couples nothing.
    seed
        Of the random rank in auto-deleveraging, below 2**32.
    trace
        ``position_id`` of a position to follow step by step.
    threads
        For what does not couple positions. Results do not depend on it.
    progress
        Called with the share of bars done.

    Raises
    ------
    ArgumentError, DataError, TiersError
        As :func:`~backtest.sweep`; also for feedback on a history not called exogenous or on odds, for several
        settlement currencies, for capacity without volume, for weights and survival, and for amounts beyond
        64 bits.
    """
    require_kinds(market, venue, tiers, threads, book=(book, Book, "Book(positions)"))
    require_choice("intrabar", intrabar, INTRABAR)
    require_choice("entry_bar", entry_bar, ENTRY_BAR)
    require_choice("stop_trigger", stop_trigger or "mark", PRICE_PREFIX)
    found = impact or Impact()
    deposits = replay_arguments.require_money(fund, deposits)
    replay_arguments.require_seed(seed)
    replay_arguments.require_single(book)
    replay_arguments.require_uncoupled_entry_bars(entry_bar, found)
    if found.mark > 0 and not exogenous:
        raise ArgumentError(
            "impact.mark moves a history that already holds its own cascade: say exogenous=True where it holds "
            "none (a simulated path)"
        )
    prepared = prepare(book, market, venue, trigger_price, fill_price, tiers)
    _check_feedback(prepared, found)
    admitted = limits.admit(book, prepared, leverage_limit, threads)
    options = Options(
        float(fund), deposits, found, fill_price, intrabar, entry_bar, stop_trigger, seed,
        _row_of(admitted.frame, trace),
    )  # fmt: skip
    spare = SPARE
    while True:
        stage = _stepped(build(admitted, prepared, venue, options, threads, spare), progress)
        world = stage.world
        rows_wanted = int(world.counters[waterfall.TABLE_USED])
        if not world.counters[waterfall.FULL] and rows_wanted <= world.table.size:
            break
        spare = max(4 * spare, 2 * rows_wanted)
    return Replay(
        fund=replay_frames.fund(world, market),
        adl=replay_frames.adl(world, market, admitted.frame),
        impact=replay_frames.impact(world, market),
        ledger=replay_frames.ledger(world, market),
        trace=replay_frames.trace(world),
        unit=float(world.settings[0]["unit"]),
        notes=_notes(venue, market, found, world),
        outcomes=replay_frames.outcomes(admitted.frame, stage.found),
    )


def _stepped(stage: Stage, progress: Callable[[float], None] | None) -> Stage:
    """Step through all bars, in pieces: progress is told and room is made between them, which changes nothing."""
    world, agenda, others = stage.world, stage.agenda, (stage.entrants, stage.found)
    rows, first = world.bars.size, 0
    while first < rows:
        stop = min(first - first % REPORTED + REPORTED, rows)
        reached = steps.run(world, agenda, *others, first, stop)
        if world.counters[waterfall.FULL]:
            return stage._replace(world=world)
        if reached < stop:
            row = agenda.rows[reached]
            world = roomier(world, int(agenda.entry_first[row + 1] - agenda.entry_first[row]))
        elif progress is not None:
            progress(stop / rows)
        first = reached
    world = roomier(world, int(agenda.entry_first[rows + 1] - agenda.entry_first[rows]))
    steps.finish(world, agenda, *others, rows)
    return stage._replace(world=world)


def _row_of(frame: pl.DataFrame, trace: int | None) -> int:
    if trace is None:
        return -1
    rows = (frame["position_id"] == trace).arg_true()
    if rows.is_empty():
        raise ArgumentError(f"trace must be the position_id of a position, is {trace!r}: there is none of that id")
    return int(rows[0])


def _check_feedback(prepared: Prepared, impact: Impact) -> None:
    if impact.mark > 0:
        odds = [g.contract.symbol for g in prepared.rules.groups if g.contract.kind == "face_value"]
        if odds:
            raise ArgumentError(
                f"impact.mark multiplies prices, which odds between 0 and 1 cannot be: {odds[0]} is face value"
            )


def _notes(venue: Venue, market: Market, impact: Impact, world: waterfall.World) -> tuple[str, ...]:
    told = []
    own = venue.procedure
    longest = int(market.intervals.max()) / 1000
    if 0 < own.rounds * own.round_seconds < longest:
        told.append(
            f"a bar of {longest:g} s is longer than the whole procedure ({own.rounds} rounds of "
            f"{own.round_seconds:g} s): every round of it fills at one bar's price"
        )
    if impact.mark > 0 and world.steps["runaway"].any():
        bars = int(np.count_nonzero(world.steps["runaway"]))
        told.append(f"runaway in {bars:,} bars: each wave of liquidations set off one as large (R >= 1)")
    traced, kept = int(world.counters[waterfall.TRACE_USED]), world.trace.size
    if traced > kept:
        told.append(f"the trace ends after {kept:,} of {traced:,} steps")
    deficit = int(world.cash[waterfall.DEFICIT])
    if deficit < 0:
        told.append(f"uncovered deficit of {-deficit / float(world.settings[0]['unit']):,.2f}: nobody paid it")
    return tuple(told)
