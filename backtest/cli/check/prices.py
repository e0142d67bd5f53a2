"""Prices of ``backtest check``: files, the sample, a folder of freqtrade's candles, or a venue's archive."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import polars as pl

from backtest.errors import ArgumentError, DataError, FetchError
from backtest.market import Market, load, sample
from backtest.market.panics import UNREADABLE, quiet
from backtest.market.sources import VENUES, read
from backtest.trades import Trades, prices_of
from backtest.trades.archive_prices import prices_within

#: Candles of a freqtrade folder that stand for the mark price, best first, with what the description says of them.
CANDLES = {"mark": "mark prices", "futures": "last prices in place of the mark"}


def read_prices(options: Namespace, trades: Trades | None, venues: list[str]) -> Market | dict[str, Market]:
    """Return the prices of every venue, or of each.

    Raises
    ------
    ArgumentError
        For prices of a venue that is not checked, and funding without prices.
    DataError
        For files that cannot be read, and a folder without candles of futures.
    """
    named_paths = [path for _, path in options.prices or ()]
    if options.fetch and not any(
        is_archive(path) for path in [*named_paths, *([options.refine] if options.refine else [])]
    ):
        raise ArgumentError(f"needs --prices with an archive: {', '.join(VENUES)}", argument="fetch")
    if options.prices is None:
        if options.funding is not None:
            raise ArgumentError("needs --prices: the bundled sample has its own", argument="funding")
        return sample()
    named = dict(options.prices)
    strange = [name for name in named if name is not None and name not in venues]
    if strange:
        raise ArgumentError(f"names {strange[0]}, which is not among {', '.join(venues)}", argument="market")
    if options.funding is not None and all(is_archive(path) for path in named.values()):
        raise ArgumentError("is not needed: an archive has its own", argument="funding")
    loaded = {name: _loaded(path, trades, options) for name, path in named.items()}
    if list(loaded) == [None]:
        return loaded[None]
    return {name: loaded[name if name in loaded else None] for name in venues if name in loaded or None in loaded}


def _loaded(path: Path, trades: Trades | None, options: Namespace) -> Market:
    if is_archive(path):
        if trades is None:
            raise ArgumentError("of open positions is one archive for all venues, or files", argument="market")
        return _of_archive(str(path), trades, options)
    return freqtrade_folder(path) if path.is_dir() else load(path, options.funding)


def is_archive(path: Path) -> bool:
    """Return whether prices are named by the venue whose archive has them; a file of that name comes first."""
    return str(path) in VENUES and not path.exists()


def finer_bars(options: Namespace, windows: pl.DataFrame) -> Market | None:
    """Return the finer bars that are asked for: a file's, or an archive's of the days that windows lie in."""
    path = options.refine
    if path is None:
        return None
    if not (is_archive(path) or path.is_file()):
        raise DataError(f"bars file {path} does not exist")
    if not is_archive(path):
        finer = load(path)  # also where nothing needs it, so that a damaged file is refused
        return None if windows.is_empty() else finer
    if windows.is_empty():
        return None
    try:
        return prices_within(windows, str(path), offline=not options.fetch)
    except FetchError as error:
        raise FetchError(f"{error.sentence}, or --fetch" if not options.fetch else error.sentence) from None


def _of_archive(venue: str, trades: Trades, options: Namespace) -> Market:
    try:
        return prices_of(trades, venue, interval=options.interval, offline=not options.fetch)
    except FetchError as error:
        raise FetchError(f"{error.sentence}, or --fetch" if not options.fetch else error.sentence) from None


def freqtrade_folder(folder: Path) -> Market:
    """Return the candles of a folder like ``user_data/data/binance/futures``: mark prices, else last prices."""
    for kind, words in CANDLES.items():
        paths = _finest(sorted(folder.glob(f"*-{kind}.feather")))
        if paths:
            parts = [
                read(path, "candles").rows.select("symbol", "time", "open", "high", "low", "close")
                for path in paths
            ]
            rates = [_funding(path) for path in _finest(sorted(folder.glob("*-funding_rate.feather")))]
            return Market(
                pl.concat(parts),
                pl.concat(rates) if rates else None,
                description=f"{words} of freqtrade's candles in {folder.name}",
            )
    raise DataError(
        f"prices folder {folder} holds no candles of futures: files like BTC_USDT_USDT-1h-mark.feather are wanted"
    )


def _finest(paths: list[Path]) -> list[Path]:
    """Return one file a pair, that of the shortest candles."""
    units = {"m": 1, "h": 60, "d": 1440, "w": 10080}
    found: dict[str, tuple[int, Path]] = {}
    for path in paths:
        pair, interval = path.stem.split("-")[:2]
        if interval[:-1].isdigit() and interval[-1] in units:
            length = int(interval[:-1]) * units[interval[-1]]
            if pair not in found or length < found[pair][0]:
                found[pair] = (length, path)
    return [path for _, path in found.values()]


def _funding(path: Path) -> pl.DataFrame:
    """Return funding rates, which freqtrade keeps as the opens of candles."""
    symbol = "".join(path.stem.split("-")[0].split("_")[:2])
    try:
        with quiet():
            rows = pl.read_ipc(path)
        return rows.select(
            pl.lit(symbol).alias("symbol"),
            pl.col("date").dt.cast_time_unit("ms").alias("time"),
            pl.col("open").alias("rate"),
        )
    except UNREADABLE as error:
        raise DataError(f"funding file {path} cannot be read: {str(error).splitlines()[0]}") from None
