"""Schedule of a replay by bar, the book it takes positions from, and the arrays of their outcomes."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from backtest.engine.replay.arguments import Options
from backtest.engine.sweep.admission import Admitted
from backtest.engine.sweep.prepare import Prepared, actions_of
from backtest.kernel.replay import entries, schedule
from backtest.kernel.threads import in_chunks
from backtest.kernel.types import Integers, readonly
from backtest.rules.timeline import milliseconds


def plan_of(
    admitted: Admitted, prepared: Prepared, entrants: entries.Entrants, options: Options, unit: float,
    threads: int | None,
) -> schedule.Agenda:  # fmt: skip
    """Return the events at each opening."""
    bars, market = prepared.bars, prepared.market
    count, rows = admitted.frame.height, market.bars.height
    entry_at = np.empty(count, np.int32)
    leaving = entrants.actions.exit_time.size
    exit_at, inside_at = np.empty(leaving, np.int32), np.empty(leaving, np.int32)
    in_chunks(
        lambda start, stop: schedule.place_entries(
            bars, admitted.positions, entrants.actions, entry_at, exit_at, inside_at, start, stop
        ),
        count,
        threads,
    )
    entry_at[admitted.rejected] = -1
    ids, tested = entrants.ids, options.conventions.entry_bar == "tested"
    turn = np.lexsort((ids, admitted.positions.entry_time)) if tested else _by_id(ids)
    entry_first, entry = _by_row(entry_at, rows, turn)
    exit_first, exits = _by_row(exit_at, rows, _by_id(ids))
    inside_first, inside = _by_row(inside_at, rows, _by_id(ids))
    changes = entrants.actions
    change_at = np.empty(changes.row.size, np.int32)
    change_made = np.empty(changes.row.size, np.int64)
    schedule.place_changes(
        bars, prepared.funding, admitted.positions.symbol, changes, inside_at, change_at, change_made
    )
    change_first, change = _by_row(change_at, rows, _by_id(ids[changes.row]))
    deposits = sorted(options.deposits)
    return schedule.Agenda(
        rows=readonly(np.argsort(market.times, kind="stable").astype(np.int64)),
        symbol=readonly(np.repeat(np.arange(len(market.symbols), dtype=np.int32), np.diff(market.firsts))),
        after_gap=readonly(_after_gap(prepared)),
        entry_first=entry_first,
        entry=entry,
        exit_first=exit_first,
        exit=exits,
        inside_first=inside_first,
        inside=inside,
        change_first=change_first,
        change=change,
        change_made=readonly(change_made),
        deposit_time=readonly(np.array([milliseconds(time) for time, _ in deposits], np.int64)),
        deposit=readonly(np.array([round(amount * unit) for _, amount in deposits], np.int64)),
    )


def entrants_of(admitted: Admitted, prepared: Prepared, options: Options) -> entries.Entrants:
    """Return the book and what its positions are placed by."""
    frame = admitted.frame
    return entries.Entrants(
        bars=prepared.bars,
        funding=prepared.funding,
        rules=prepared.rules.rules,
        positions=admitted.positions,
        ids=_numbers(frame["position_id"]),
        actions=actions_of(frame, admitted.adjustments, missing=0),
        traced=options.trace,
    )


def _numbers(ids: pl.Series) -> Integers:
    """Return ids as numbers; of text its rank."""
    numbers = ids.rank("dense").cast(pl.Int64) if ids.dtype == pl.String else ids
    return readonly(numbers.to_numpy())


def _by_id(ids: Any) -> Any:
    """Return the order of ids, ties as they come; nothing where they are in order."""
    return None if (ids[1:] >= ids[:-1]).all() else np.argsort(ids, kind="stable")


def _by_row(at: Any, rows: int, turn: Any) -> tuple[Integers, Any]:
    """Return where each row's begin and what takes place in it, in turn: the book's order decides nothing."""
    first, order = np.zeros(rows + 2, np.int64), np.zeros(at.size, np.int32)
    turned = at if turn is None or at.size == 0 else at[turn]
    schedule.sort_by_row(turned, first, order, rows + 1)
    if turn is not None and at.size:
        order = turn[order].astype(np.int32)
    return readonly(first), readonly(order)


def _after_gap(prepared: Prepared) -> Any:
    """Return (rows,) whether a bar opens after a long gap."""
    bars, market = prepared.bars, prepared.market
    found = np.zeros(market.bars.height, np.bool_)
    for number in range(len(market.symbols)):
        found[market.firsts[number] + bars.gap[bars.gap_first[number] : bars.gap_first[number + 1]]] = True
    return found
