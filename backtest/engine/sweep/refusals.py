"""Errors for positions that a market or a venue cannot take: the rule, how many break it, the first of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from backtest.amounts import plain
from backtest.engine.notional import selected_leverage
from backtest.engine.sweep.prepare import Prepared, actions_of
from backtest.engine.sweep.survey import Survey
from backtest.errors import BacktestError, DataError
from backtest.kernel.arrays import Positions
from backtest.kernel.sweep.admission import Refusal, cap
from backtest.rules.margin import table_size
from backtest.rules.rulebook import Group
from backtest.rules.timeline import milliseconds, not_in_force
from backtest.schemas.validation import breaking, say

#: Refusals under every ``leverage_limit``.
ALWAYS = (Refusal.BEFORE_HISTORY, Refusal.AFTER_HISTORY, Refusal.NO_TABLE)


def refuse(
    frame: pl.DataFrame,
    positions: Positions,
    found: Survey,
    prepared: Prepared,
    reasons: Iterable[Refusal],
) -> None:
    """Raise for the first of some reasons that any position is refused for.

    Raises
    ------
    DataError
        For entries outside the history, leverage or size beyond the tiers.
    TiersError
        For positions opened when no table was in force.
    """
    if not found.refusals.any():
        return
    for reason in reasons:
        refused = found.refused_for(reason)
        if refused.any():
            row = int(np.argmax(refused))
            raise _error(frame, positions, reason, int(refused.sum()), row, prepared)


def _error(
    frame: pl.DataFrame, positions: Positions, reason: Refusal, count: int, row: int, prepared: Prepared
) -> BacktestError:
    position = frame.row(row, named=True)
    symbol, entry_time = position["symbol"], say(position["entry_time"])
    number = prepared.market.symbols.index(symbol)
    who = (
        f"{breaking(count, frame.height)}, first row {row:,} "
        f"(position_id={position['position_id']}, symbol={symbol!r}, "
    )
    if reason in (Refusal.BEFORE_HISTORY, Refusal.AFTER_HISTORY):
        covered = f"bars of {symbol} cover {_span(prepared, number)}"
        return DataError(
            f"positions: entry_time must lie inside the history: {who}entry_time={entry_time}); {covered}"
        )
    own = [group for group in prepared.rules.groups if group.symbol == number]
    contract = own[0].contract
    if reason == Refusal.NO_TABLE:
        found = f"positions: margin tiers must be in force at the entry: {who}entry_time={entry_time})"
        return not_in_force(found, contract, milliseconds(position["entry_time"]))
    shown = f"quantity={plain(position['quantity'])}, entry_price={plain(position['entry_price'])}"
    if reason == Refusal.BEYOND_TABLE:
        return DataError(
            f"positions: size must be one their tiers cover: {who}{shown}, "
            f"{_size_and_cap(position, own)}); make it smaller, or leave it out",
            remedies=(("leverage_limit", "filter"),),
        )
    leverage = frame[row].select(selected_leverage(frame, [contract])).item()
    if reason in (Refusal.GROWS_BEYOND_TABLE, Refusal.GROWS_BEYOND_LEVERAGE):
        table = reason == Refusal.GROWS_BEYOND_TABLE
        rule = "size must be one its tiers cover" if table else "leverage must be within the limit of its tier"
        return DataError(
            f"adjustments: a position's {rule} after each addition: {who}{shown}, leverage={plain(leverage)}); "
            "add less, or leave the position out",
            remedies=(*(() if table else (("leverage_limit", "cap"),)), ("leverage_limit", "filter")),
        )
    limits, none = np.empty((2, frame.height)), actions_of(frame.clear(), None)
    cap(prepared.bars, prepared.rules.rules, positions, none, limits[0], limits[1], row, row + 1)
    return DataError(
        f"positions: leverage must be within the limit of its tier: {who}{shown}, leverage={plain(leverage)}, "
        f"limit={plain(limits[0][row])}); lower it, or leave it out",
        remedies=(("leverage_limit", "cap"), ("leverage_limit", "filter")),
    )


def _span(prepared: Prepared, symbol: int) -> str:
    """Return the first and last time of a symbol's bars."""
    first, end = prepared.market.firsts[symbol : symbol + 2]
    times, interval = prepared.market.times, prepared.market.intervals[symbol]
    return f"{_moment(times[first])} to {_moment(times[end - 1] + interval)}"


def _size_and_cap(position: dict[str, Any], groups: list[Group]) -> str:
    """Return the size of a position as its table counts it, and the largest the table covers."""
    entry = milliseconds(position["entry_time"])
    group = [group for group in groups if group.start <= entry][-1]
    quantity, price = np.array([position["quantity"]]), np.array([position["entry_price"]])
    with np.errstate(over="ignore"):  # an infinite size is reported, too
        size = table_size(group.contract, group.table, quantity=quantity, entry_price=price)[0]
    return f"{group.table.size}={plain(size)}, limit={plain(group.table.cap)}"


def _moment(time: Any) -> str:
    return say(pl.Series([int(time)]).cast(pl.Datetime("ms", "UTC"))[0])
