"""Reading one file of an archive, as the downloader does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path

import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.market.repairs import Reading, Repairs
from backtest.market.sources.formats import binance, bybit, hyperliquid, klines, packed, tables

Reader = Callable[[bytes, Path], Reading]

#: Kinds of files, and the reader of each.
READERS: dict[str, Reader] = {
    **{kind: partial(klines.read, kind=kind) for kind in klines.AMOUNTS},
    "funding": binance.read_funding,
    "metrics": binance.read_metrics,
    "coin_metrics": partial(binance.read_metrics, stamped_at_start=True),
    "liquidations": binance.read_liquidations,
    "bybit_trades": bybit.read_trades,
    "bybit_spot_trades": bybit.read_spot_trades,
    "bybit_klines": bybit.read_klines,
    "bybit_index": bybit.read_index,
    "bybit_premium": partial(bybit.read_index, positive=False),
    "candles": tables.read_candles,
    "hyperliquid_fills": hyperliquid.read,
}
KINDS = (*READERS, "table")

#: The symbol a file's name begins with, where what follows is an interval, a data set or a date of an archive:
#: ``BTCUSDT-1m-…``, ``BTCUSD_PERP-metrics-…``, ``BTCUSDT_1_2025-01-01_…``, ``BTCUSDT2021-05-19.csv.gz``, and of
#: freqtrade ``BTC_USDT_USDT-1h-mark.feather``. From any other (``BTC-14MAR25…``, ``BTC-USDT-SWAP-…``) no symbol
#: is taken.
NAMED = re.compile(
    r"(?P<symbol>[A-Z0-9]+?(?:_(?:PERP|\d{6}))?)"
    r"(?=-\d+(?:s|m|h|d|w|mo|M)[-.]|-(?:fundingRate|metrics|liquidationSnapshot|trades|aggTrades)[-.]"
    r"|_\d+_\d{4}-\d\d-\d\d|[-_]?\d{4}-\d\d-\d\d|[-_]\d{4}-\d\d[._])"
)
PAIR = re.compile(r"(?P<base>[A-Z0-9]+)_(?P<quote>USDT|USDC|USD|BUSD|BTC|EUR)(?:_[A-Z]+)?-")


def read(
    path: str | Path,
    kind: str,
    *,
    symbol: str | None = None,
    columns: Mapping[str, str] | None = None,
    clock: timedelta | None = None,
) -> Reading:
    r"""Read one file of an archive, packed or not.

    Parameters
    ----------
    path
        A file as the venue serves it, or unpacked.
    kind
        What it is, one of ``KINDS``: ``klines`` (traded prices), ``coin_klines`` (of COIN-M), ``mark_klines``,
        ``index_klines``, ``premium_klines``, ``funding``, ``metrics``, ``coin_metrics``, ``liquidations``,
        ``bybit_trades``, ``bybit_spot_trades``, ``bybit_klines``, ``bybit_index``, ``bybit_premium``, ``candles``
        (ccxt and freqtrade), ``hyperliquid_fills``, ``table`` (CSV with a header, Parquet, feather).
    symbol
        Symbol of all rows, whatever the file says; None: the file's own column of symbols, else the beginning of
        its name.
    columns
        For a ``table``: the file's name of each column, by the package's name.
    clock
        For ``bybit_klines``: how far the file's clock is ahead of UTC (3 hours, as was once reported).

    Returns
    -------
    Reading
        ``rows``: ``symbol, time`` and values, sorted, each time once; ``repairs``: the counts of repairs.

    Raises
    ------
    ArgumentError
        For another kind, and options of another kind.
    DataError
        For a file that is absent, damaged, or of another kind than given.

    Examples
    --------
    >>> from backtest.market.sources import read
    >>> row = "1621425600000,38000,38100,37900,38050,1.5,1621425659999,57000,10,0.5,19000,0\n"
    >>> _ = (folder / "BTCUSDT-1m-2021-05-19.csv").write_text(row + row)
    >>> read(folder / "BTCUSDT-1m-2021-05-19.csv", "klines").repairs.counts
    {'duplicate': 1}
    """
    path = Path(path)
    if kind not in KINDS:
        raise ArgumentError(f"must be one of {', '.join(KINDS)}, is {kind!r}", argument="kind")
    if columns is not None and kind != "table":
        raise ArgumentError(f"are for kind 'table', not {kind!r}", argument="columns")
    if clock is not None and kind != "bybit_klines":
        raise ArgumentError(f"is for kind 'bybit_klines', not {kind!r}", argument="clock")
    written = packed.content(path)
    data = packed.unwrapped(written, path)
    if kind == "table":
        reading = tables.read_table(data, path, columns)
    elif clock is not None:
        reading = bybit.read_klines(data, path, clock=clock)
    else:
        reading = READERS[kind](data, path)
    beside = Repairs({"beside": packed.count_beside(written)})
    return Reading(_named(reading.rows, symbol, path), reading.repairs + beside)


def symbol_of(path: Path) -> str | None:
    """Return the symbol a file's name begins with, or None where it has none."""
    pair = PAIR.match(path.name)
    if pair:
        return f"{pair['base']}{pair['quote']}"
    found = NAMED.match(path.name)
    return found["symbol"] if found else None


def _named(rows: pl.DataFrame, symbol: str | None, path: Path) -> pl.DataFrame:
    if "symbol" in rows.columns and symbol is None:
        return rows.select("symbol", pl.exclude("symbol"))
    held = rows["symbol"].unique(maintain_order=True).to_list() if "symbol" in rows.columns else []
    if len(held) > 1:
        raise ArgumentError(
            f"symbol {symbol!r} cannot name all rows of {path}, which holds {len(held):,} symbols: "
            f"{', '.join(map(str, held[:3]))}{', ...' if len(held) > 3 else ''}; leave symbol out and select"
        )
    rows = rows.drop("symbol", strict=False)
    symbol = symbol or symbol_of(path)
    if symbol is None:
        raise DataError(f"file {path} does not say whose rows it holds: give symbol=")
    return rows.select(pl.lit(symbol).alias("symbol"), pl.all())
