"""What in a given book should make its owner look twice. Nothing is refused for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches

import numpy as np
import polars as pl

from backtest.amounts import plural
from backtest.book import Book
from backtest.errors import DataError
from backtest.kernel.types import Flags
from backtest.market import Market
from backtest.schemas.frames import POSITIONS

#: How much two names share that may be the same word misspelt.
ALIKE = 0.8

#: A trade may well be some per cent off the mark; beyond this its symbol, unit or time is more likely wrong.
FAR = 0.10


def doubts(book: Book, market: Market, outcomes: pl.DataFrame) -> list[str]:
    """Return what looks wrong in a book that was given, a sentence each."""
    return [*unread(book.positions.columns), *_far(book.positions, market), *_lowered(book.positions, outcomes)]


@contextmanager
def looking_twice(book: Book, market: Market, *, given: bool) -> Iterator[None]:
    """Add to what a given book is refused for that its prices are far off, which may be why."""
    try:
        yield
    except DataError as error:
        far = _far(book.positions, market) if given and "positions: " in str(error) else []
        if not far:
            raise
        raise DataError("; look twice: ".join([str(error), *far])) from None


def unread(columns: list[str]) -> list[str]:
    """Return the columns that are carried along unread and might be one that is read, misspelt."""
    absent = [column.name for column in POSITIONS.columns if column.name not in columns]
    known = {column.name for column in POSITIONS.columns}
    told = []
    for name in columns:
        alike = [] if name in known else get_close_matches(name.lower(), absent, n=1, cutoff=ALIKE)
        told += [f"column {name} is carried along unread: is it {meant}?" for meant in alike]
    return told


def _far(positions: pl.DataFrame, market: Market) -> list[str]:
    far = far_entries(positions, market)
    count = int(far.sum())
    if not count:
        return []
    row = positions.row(int(np.argmax(far)), named=True)
    first = f"position {row['position_id']}, {row['symbol']} at {row['entry_price']:,.10g}"
    beyond = f"{plural(count, 'entry price')} more than {100 * FAR:.0f} % beyond the mark's bar"
    return [f"{beyond} (first {first}): are symbol, unit and time right?"]


def far_entries(positions: pl.DataFrame, market: Market) -> Flags:
    """Return (positions,) whether an entry price lies far outside the mark's range in the bar of its entry."""
    far = np.zeros(positions.height, np.bool_)
    times, prices = positions["entry_time"].to_physical().to_numpy(), positions["entry_price"].to_numpy()
    low, high = market.prices("mark", "low"), market.prices("mark", "high")
    for number, symbol in enumerate(market.symbols):
        first, end = market.firsts[number : number + 2]
        own = (positions["symbol"] == symbol).to_numpy()
        bars = first + np.maximum(np.searchsorted(market.times[first:end], times[own], side="right") - 1, 0)
        far[own] = (prices[own] * (1 + FAR) < low[bars]) | (prices[own] > high[bars] * (1 + FAR))
    return far


def _lowered(given: pl.DataFrame, kept: pl.DataFrame) -> list[str]:
    """Return how many positions had their leverage lowered to the limit of their tier."""
    names = [name for name in ("leverage", "margin") if name in given.columns]
    if given.height != kept.height:
        return []
    count = int(np.logical_or.reduce([(given[name] != kept[name]).to_numpy() for name in names]).sum())
    return [f"leverage lowered to the limit of the tier: {plural(count, 'position')}"] if count else []
