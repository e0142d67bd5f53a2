"""The known formats, and which of them a table is in."""

from __future__ import annotations

from backtest.errors import ArgumentError, DataError
from backtest.schemas.conversion import meant
from backtest.trades.formats import binance, bybit, ccxt, hyperliquid, okx, plain
from backtest.trades.formats.backtesting_py import BACKTESTING_PY
from backtest.trades.formats.format import Format
from backtest.trades.formats.freqtrade import FREQTRADE
from backtest.trades.formats.lean import LEAN
from backtest.trades.formats.nautilus import NAUTILUS
from backtest.trades.formats.vectorbt import VECTORBT
from backtest.trades.table import Table

#: In the order they are tried: those known by more columns before those known by fewer of the same.
FORMATS = {
    one.name: one
    for one in (
        FREQTRADE,
        VECTORBT,
        BACKTESTING_PY,
        NAUTILUS,
        LEAN,
        binance.USER_TRADES,
        binance.TRADE_HISTORY,
        binance.POSITION_HISTORY,
        bybit.CLOSED_PNL,
        bybit.CLOSED_PNL_CSV,
        bybit.EXECUTIONS,
        okx.OKX,
        hyperliquid.USER_FILLS,
        hyperliquid.CSV,
        hyperliquid.STATE,
        ccxt.TRADES,
        ccxt.POSITIONS,
        plain.TRADES,
        plain.FILLS,
    )
}

#: Names of the formats with what they are.
SOURCES = {name: one.title for name, one in FORMATS.items()}


def format_of(table: Table, source: str | None) -> Format:
    """Return the format named, or the one whose columns a table has.

    Raises
    ------
    ArgumentError
        For a name that is no format's.
    DataError
        For a table that is in none, or not in the one named.
    """
    if source is not None:
        named = FORMATS.get(source)
        if named is None:
            raise ArgumentError(
                f"must be one of {', '.join(FORMATS)}, is {source!r}{meant(source, FORMATS)}", argument="source"
            )
        missing = sorted(named.columns - set(table.names))
        if missing:
            raise DataError(f"{table.where} is no {named.title}: it has no column {', '.join(missing)}")
        return named
    for one in FORMATS.values():
        if one.fits(table):
            return one
    near = max(FORMATS.values(), key=lambda one: len(one.columns & set(table.names)) / len(one.columns))
    missing = sorted(near.columns - set(table.names))
    raise DataError(
        f"{table.where} is in no known format: its columns are {', '.join(table.rows.columns)}; nearest is "
        f"{near.title}, which also has {', '.join(missing)} (map yours to ours: "
        "side, entry_time, entry_price, quantity, exit_time, exit_price, or time, side, price, quantity of fills)",
        remedies=(("columns", "theirs=ours"),),
    )
