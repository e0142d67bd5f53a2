"""Totals of a replay: sums over its positions and its fund, without frames.

Amounts are in settlement currency, added up in the ledger's whole units.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from backtest.engine.replay import frames
from backtest.engine.replay.arguments import Options
from backtest.engine.replay.session import Played, Stage
from backtest.kernel.choices import OutcomeCode
from backtest.kernel.margin.sizes import notional_of
from backtest.kernel.replay import entries
from backtest.kernel.replay.codes import BACKSTOP, DEFICIT, FEES, FUND, OWNERS
from backtest.kernel.replay.schedule import Agenda
from backtest.kernel.replay.state import CLAWED_BACK, LACKED, TABLE_USED, World
from backtest.kernel.types import Flags, Floats
from backtest.rules.venue import Venue
from backtest.schemas.frames import Time

#: Bars between two checks for an uncovered deficit; within those the first is found bar by bar.
LOOK = 4_096


@dataclass(frozen=True)
class Sums:
    """Totals of a replay. *Begun* are positions whose liquidation began, however it ended."""

    begun: int
    released: int  #: of the begun, those whose liquidation did not close them
    closed_notional: float  #: of the begun, at their entries: sold, taken over or closed by ADL
    margins: float  #: that the begun put in, changes included
    results: float  #: of the begun, what they still hold at the last mark; before fees, after clawback
    clawed_from_begun: float
    fees_of_begun: float
    fees: float  #: that all positions paid, of liquidation and of trading
    fees_to_fund: float
    paid_in: float  #: to the fund, whatever for
    paid_out: float  #: by the fund
    fund_lowest: float  #: at the end of a moment's bars, or at the beginning
    fund_end: float
    backstop: float  #: what it gained, what it holds at the last mark
    deleveraged: int  #: matches
    adl_notional: float
    given_up: float  #: profit that counterparties gave up at the mark, gains not set off
    clawed_back: float
    deficit: float  #: uncovered
    first_unpaid: datetime | None  #: first time of a clawback or an uncovered deficit
    lacked: bool  #: whether more than the fund held was ever due from it


def play(stage: Stage, venue: Venue, options: Options) -> Sums:
    """Replay a staged book and return its totals."""
    seen: dict[int, int] = {}
    played = stage.play(
        venue, options, threads=1, every=LOOK, watch=lambda state, done: seen.update({done: _unpaid(state)})
    )
    world, agenda = played.world, played.agenda
    table = world.table[: int(world.counters[TABLE_USED])]
    given = int(world.bars["time"][table["row"]].min()) if table.size else None
    unpaid = _first_unpaid(stage, venue, options, seen, world, agenda, given)
    return _sums(stage, played, table, min((time for time in (given, unpaid) if time is not None), default=None))


def _unpaid(world: World) -> int:
    """Return what has been clawed back or uncovered so far, in units."""
    return int(world.counters[CLAWED_BACK]) - int(world.cash[DEFICIT])


def _first_unpaid(
    stage: Stage, venue: Venue, options: Options, seen: dict[int, int], world: World, agenda: Agenda,
    given: int | None,
) -> int | None:  # fmt: skip
    """Return the time of the first bar in which anything was clawed back or uncovered.

    Not where nothing was, or where a deleveraging, at ``given``, came before. The piece of bars in which it began
    is stepped through again, one by one.
    """
    late = next((done for done in sorted(seen) if seen[done] > 0), None)
    if late is None:  # it may be of what entered after the last bar
        return int(world.bars["time"].max()) if _unpaid(world) > 0 else None
    early = max((done for done in seen if done < late), default=0)
    if given is not None and given <= int(world.bars["time"][agenda.rows[early]]):
        return None
    room = max(world.table.size, world.nodes.size)
    for state, done in stage.pieces(venue, options, range(early, late + 1), spare=room, threads=1):
        if _unpaid(state) > 0:
            return int(state.bars["time"][agenda.rows[done - 1]])
    raise AssertionError("a replay of the same book came out otherwise")


def _sums(stage: Stage, played: Played, table: Any, first: int | None) -> Sums:
    world, agenda, _, found = played
    unit, market, steps = float(world.settings[0]["unit"]), stage.prepared.market, world.steps
    own = table[table["liquidated"] >= 0]
    given = np.zeros(found.filled.size)
    np.add.at(given, own["liquidated"], own["quantity"])
    closed = found.filled + found.taken + given
    begun = found.begun & (found.outcome != OutcomeCode.UNKNOWN)
    fees = _units(found.fees, unit)
    fees_to_fund = fees - int(world.cash[FEES])
    ends = steps["fund"][agenda.rows][_last_of_a_moment(world.bars["time"][agenda.rows])]
    results = frames.pnl_at_end(found, frames.held_at_end(world, market))[begun]
    return Sums(
        begun=int(begun.sum()),
        released=int((begun & (found.outcome != OutcomeCode.LIQUIDATED)).sum()),
        closed_notional=float((closed * _unit_notional(stage, world))[begun].sum()),
        margins=float(np.rint(_margins(found)[begun] * unit).sum() / unit),
        results=float(np.rint(results * unit).sum() / unit),
        clawed_from_begun=_units(found.clawed[begun], unit) / unit,
        fees_of_begun=_units(found.fees[begun], unit) / unit,
        fees=fees / unit,
        fees_to_fund=fees_to_fund / unit,
        paid_in=int(steps["fund_in"].sum()) / unit,
        paid_out=int(steps["fund_out"].sum()) / unit,
        fund_lowest=min(int(ends.min()) / unit, -int(world.cash[OWNERS]) / unit),
        fund_end=int(world.cash[FUND]) / unit,
        backstop=(int(world.cash[BACKSTOP]) + frames.inventory(world, market)) / unit,
        deleveraged=int(table.size),
        adl_notional=int(steps["deleveraged"].sum()) / unit,
        given_up=float(np.maximum(table["given_up"], 0.0).sum()),
        clawed_back=int(world.counters[CLAWED_BACK]) / unit,
        deficit=-int(world.cash[DEFICIT]) / unit,
        first_unpaid=None if first is None else pl.Series([first]).cast(Time)[0],
        lacked=bool(world.counters[LACKED]),
    )


def _last_of_a_moment(times: Any) -> Flags:
    """Return which bars in order of time have none after them of the same time."""
    return np.append(times[1:] != times[:-1], True)


def _units(amounts: Floats, unit: float) -> int:
    """Return the sum of amounts, in whole units."""
    return int(np.rint(amounts * unit).astype(np.int64).sum())


def _unit_notional(stage: Stage, world: World) -> Floats:
    """Return (n,) the notional of a unit of quantity at each position's entry."""
    given = stage.admitted.positions
    found = np.empty(given.entry_price.size)
    for number, kind in enumerate(world.symbols["kind"]):
        own = given.symbol == number
        found[own] = notional_of(kind, 1.0, given.entry_price[own])
    return found


def _margins(found: entries.Found) -> Floats:
    """Return (n,) the margin each position put in, with the changes that its holder made while it was held."""
    return np.asarray(found.moved_margin + found.added if found.added.size else found.moved_margin)
