"""A book, a market and a procedure as the arrays a replay steps through, and more room in them as needed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from backtest.engine.outcomes import empty, reject
from backtest.engine.replay import records as replay_records
from backtest.engine.replay import schedule
from backtest.engine.replay.arguments import Options
from backtest.engine.replay.ledger_units import lots_of, require_range, sums_of, unit_of
from backtest.engine.replay.trigger_queues import queues_of
from backtest.engine.sweep.admission import Admitted
from backtest.engine.sweep.prepare import Prepared
from backtest.kernel.replay import entries, records, state
from backtest.kernel.replay.schedule import Agenda
from backtest.rules.venue import Venue

#: Places for open positions to begin with; where they are too few there are half as many more.
PLACES = 4_096
#: Needs that may be pooled before they are passed on early, steps a trace may have.
POOLED, TRACED = 8_192, 4_096


class Setup(NamedTuple):
    """All that a replay is stepped with."""

    world: state.World
    agenda: Agenda
    entrants: entries.Entrants
    found: entries.Found


def build(
    admitted: Admitted, prepared: Prepared, venue: Venue, options: Options, threads: int | None, spare: int
) -> Setup:
    """Return everything a replay steps through; ``spare`` is the room for nodes and ADL rows to begin with."""
    unit = unit_of(prepared, tuple(admitted.frame["symbol"].unique(maintain_order=True)))
    entrants = schedule.entrants_of(admitted, prepared, options)
    plan = schedule.plan_of(admitted, prepared, entrants, options, unit, threads)
    sums = sums_of(admitted, prepared)
    lots = lots_of(sums, prepared)
    require_range(sums, prepared, options, unit, float(np.nansum(np.abs(entrants.actions.margin_change))))
    world = _world(admitted, prepared, venue, options, lots, unit, spare)
    count = admitted.frame.height
    arrays = empty(
        entries.Found._fields, count, **dict.fromkeys(("added", "grown"), count if plan.change.size else 0)
    )
    reject(arrays, admitted.rejected)
    return Setup(world, plan, entrants, entries.Found(**arrays))


def roomier(world: state.World, entering: int) -> state.World:
    """Return a world with room for positions that enter, and for what comes of them; nothing else changes."""
    places = int(world.counters[state.PLACES_USED] - world.counters[state.FREE_PLACES]) + entering
    places = max(world.book.size, places + places // 2)
    nodes = int(world.counters[state.NODES_USED] - world.counters[state.FREE_NODES]) + entries.ROOM
    nodes = max(world.nodes.size, nodes + nodes // 2 + entries.NODES_EACH * entering)
    table = int(world.counters[state.TABLE_USED]) + entries.ROOM
    table = world.table.size if table <= world.table.size else 2 * table
    return world._replace(
        book=_longer(world.book, places),
        nodes=_longer(world.nodes, nodes),
        table=_longer(world.table, table),
        wave=np.zeros(places, records.RANKED),
        ranking=np.zeros(places, records.RANKED),
    )


def _longer(array: Any, size: int) -> Any:
    if size == array.size:
        return array
    found = np.zeros(size, array.dtype)
    found[: array.size] = array
    return found


def _world(
    admitted: Admitted, prepared: Prepared, venue: Venue, options: Options, lots: Any, unit: float, spare: int
) -> state.World:
    market, frame = prepared.market, admitted.frame
    rows, places = market.bars.height, min(PLACES, frame.height)
    series = options.conventions.stop_series(market)
    settings = replay_records.settings_of(venue, options, prepared, unit, series)
    grid = int(settings[0]["cell_rows"])
    symbols = replay_records.symbols_of(lots, prepared, venue, grid)
    queues, tree_queue, heads, buckets = queues_of(prepared, options.impact, symbols, frame.height)
    settings["buckets"], settings["orders"] = buckets, has_orders(admitted)
    cells = np.zeros(2 * symbols.size * (1 + grid * grid), records.CELL)
    cells["head"] = -1
    drop = venue.procedure.adl_trigger == "fund_drop"
    return state.World(
        groups=replay_records.groups_of(prepared),
        tiers=replay_records.tiers_of(prepared, tree_queue),
        settings=settings,
        symbols=symbols,
        book=np.zeros(places, records.POSITION),
        places=np.full(frame.height, -1, np.int32),
        nodes=np.zeros(spare, records.NODE),
        heads=heads,
        queues=queues,
        cells=cells,
        edges=np.zeros(4 * symbols.size * grid),
        hopes=np.zeros(1 + grid * grid, records.RANKED),
        wave=np.zeros(places, records.RANKED),
        ranking=np.zeros(places, records.RANKED),
        cash=replay_records.cash_of(options, unit),
        counters=_counters(),
        steps=np.zeros(rows, records.STEP),
        needs=np.zeros(POOLED, records.NEED),
        table=np.zeros(spare, records.TABLE),
        trace=np.zeros(TRACED if options.trace >= 0 else 0, records.TRACE),
        bars=replay_records.bars_of(prepared, venue, options, series),
        charges=replay_records.charges_of(prepared, options.impact),
        window=np.zeros(rows + 1 if drop else 1, records.MOMENT),
    )


def has_orders(admitted: Admitted) -> bool:
    """Return whether any position has a stop or a take-profit."""
    given = [name for name in ("stop_price", "take_profit_price") if name in admitted.frame.columns]
    return any(admitted.frame[name].is_not_null().any() for name in given)


def _counters() -> Any:
    counters = np.zeros(state.COUNTERS, np.int64)
    counters[[state.FREE_NODE, state.FREE_PLACE, state.ENDED]] = -1
    return counters
