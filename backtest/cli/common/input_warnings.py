"""Warnings about a given book: misspelt columns, prices far from the mark, lowered leverage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import polars as pl

from backtest.amounts import plural
from backtest.book import Book
from backtest.engine.input_warnings import far, unread
from backtest.errors import DataError
from backtest.market import Market


def book_warnings(book: Book, market: Market, outcomes: pl.DataFrame) -> list[str]:
    """Return what looks wrong in a given book, one sentence each."""
    return [*unread(book.positions.columns), *far(book.positions, market), *_lowered(book.positions, outcomes)]


@contextmanager
def with_price_warnings(book: Book, market: Market, *, given: bool) -> Iterator[None]:
    """Add to a refusal of a given book that its prices are far from the mark, a likely cause."""
    try:
        yield
    except DataError as error:
        why = far(book.positions, market) if given and "positions: " in str(error) else []
        if not why:
            raise
        raise DataError("; warning: ".join([error.sentence, *why]), remedies=error.remedies) from None


def _lowered(given: pl.DataFrame, kept: pl.DataFrame) -> list[str]:
    """Return how many positions had their leverage lowered to the limit of their tier."""
    names = [name for name in ("leverage", "margin") if name in given.columns]
    if given.height != kept.height:
        return []
    count = int(
        np.logical_or.reduce([(given[name] != kept[name]).fill_null(False).to_numpy() for name in names]).sum()
    )
    return [f"leverage lowered to the limit of the tier: {plural(count, 'position')}"] if count else []
