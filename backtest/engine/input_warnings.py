"""Warnings about given positions: misspelt columns, prices far off the mark, substitute tiers."""

from __future__ import annotations

import sys
import warnings
import weakref

import numpy as np
import polars as pl

from backtest.amounts import plain
from backtest.book.accounts import Accounts
from backtest.book.book import Book
from backtest.errors import LONGEST_MESSAGE, InputWarning, shortened
from backtest.kernel.types import Flags, Integers
from backtest.market.market import Market
from backtest.rules.rulebook import Group, Rulebook
from backtest.schemas.conversion import closest
from backtest.schemas.frames import LEGS, POSITIONS
from backtest.schemas.symbols import rows_by_symbol
from backtest.schemas.validation import Schema

#: Similarity from which one name may be a misspelling of another.
ALIKE = 0.8

#: A trade may well be some per cent off the mark; beyond this its symbol, unit or time is more likely wrong.
FAR = 0.10

#: Markets in which each book was checked.
_CHECKED: weakref.WeakKeyDictionary[Book | Accounts, weakref.WeakSet[Market]] = weakref.WeakKeyDictionary()

#: Sentences about substitute tiers that each book was warned of.
_SUBSTITUTED: weakref.WeakKeyDictionary[Book | Accounts, set[str]] = weakref.WeakKeyDictionary()


def warn_once(book: Book | Accounts, market: Market) -> None:
    """Warn of likely mistakes in a book, once per market, where a checked function is called from outside."""
    seen = _CHECKED.setdefault(book, weakref.WeakSet())
    if market in seen or sys._getframe(3).f_globals.get("__name__", "").startswith("backtest."):
        return
    seen.add(market)
    frame, schema = (book.positions, POSITIONS) if isinstance(book, Book) else (book.legs, LEGS)
    for sentence in (*unread(frame.columns, schema), *far(frame, market)):
        warnings.warn(shortened(f"{schema.name}: {sentence}", LONGEST_MESSAGE), InputWarning, stacklevel=4)


def warn_of_substitutes(
    book: Book | Accounts, rules: Rulebook, groups: Integers, *, later: Integers | None = None
) -> None:
    """Warn of tier tables that were not in force or are of another symbol, once per book, as :func:`warn_once`.

    ``groups`` are those of the entries; ``later`` those that took over, of the same positions.
    """
    count, took_over = groups.size, later is not None
    if later is not None:
        groups = later[later != groups]
    counts = np.bincount(groups, minlength=len(rules.groups))
    found = [
        (own, int(count)) for own, count in zip(rules.groups, counts, strict=True) if count and own.is_substitute
    ]
    if not found or sys._getframe(3).f_globals.get("__name__", "").startswith("backtest."):
        return
    seen = _SUBSTITUTED.setdefault(book, set())
    for own, some in found:
        sentence = taken_over(own) if took_over else substitute(own)
        if sentence not in seen:
            seen.add(sentence)
            message = shortened(f"{sentence}: {some:,} of {count:,}", LONGEST_MESSAGE)
            warnings.warn(message, InputWarning, stacklevel=4)


def substitute(group: Group) -> str:
    """Return which table is a substitute, in which symbol, and why."""
    symbol, table = group.contract.symbol, f"tier table {group.table.name}"
    if group.contract.like:
        return f"positions in {symbol}, which the venue does not list, have {table} of {group.contract.like}"
    return f"positions in {symbol} have {table}, which was not in force at their entry ({group.source})"


def taken_over(group: Group) -> str:
    """Return which table took over open positions without being known to be in force then, and why."""
    symbol, table = group.contract.symbol, f"tier table {group.table.name}"
    if group.contract.like:
        return f"open positions in {symbol} came under {table} of {group.contract.like}"
    return f"open positions in {symbol} came under {table}, which was not in force then ({group.source})"


def unread(columns: list[str], schema: Schema = POSITIONS) -> list[str]:
    """Return warnings of unknown columns whose names resemble known ones."""
    known = [column.name for column in schema.columns]
    absent = [name for name in known if name not in columns]
    alike = {name: closest(name, absent, ALIKE) for name in columns if name not in known}
    return [f"column {name} is carried along unread: is it {meant}?" for name, meant in alike.items() if meant]


def far(positions: pl.DataFrame, market: Market) -> list[str]:
    """Return a warning of entry prices far off the mark, with their number and the first."""
    found = far_entries(positions, market)
    count = int(found.sum())
    if not count:
        return []
    row = positions.row(int(np.argmax(found)), named=True)
    name, number = next((name, row[name]) for name in ("position_id", "leg_id") if name in row)
    first = f"{name.removesuffix('_id')} {number}, {row['symbol']} at {plain(row['entry_price'])}"
    prices = "1 entry price" if count == 1 else f"{count:,} entry prices"
    turned = positions.filter(found).with_columns(entry_price=1 / pl.col("entry_price"))
    cause = "are symbol, unit and time right?"
    if not far_entries(turned, market).any():
        cause = "are they 1 / price?"
    return [f"{prices} more than {100 * FAR:.0f} % beyond the mark's bar (first {first}): {cause}"]


def far_entries(positions: pl.DataFrame, market: Market) -> Flags:
    """Return (positions,) whether an entry price lies far outside the mark's range in the bar of its entry."""
    far = np.zeros(positions.height, np.bool_)
    times, prices = positions["entry_time"].to_physical().to_numpy(), positions["entry_price"].to_numpy()
    low, high = market.prices("mark", "low"), market.prices("mark", "high")
    for number, own in enumerate(rows_by_symbol(positions["symbol"], market.symbols)):
        first, end = market.firsts[number : number + 2]
        bars = first + _last_opened(market.times[first:end], market.intervals[number], times[own])
        far[own] = (prices[own] * (1 + FAR) < low[bars]) | (prices[own] > high[bars] * (1 + FAR))
    return far


def _last_opened(opened: Integers, interval: int, moments: Integers) -> Integers:
    """Return the bar that opened last by each moment, the first where none had; counted where none is missing."""
    last = opened.size - 1
    if opened[-1] - opened[0] == interval * last:
        counted: Integers = np.clip((moments - opened[0]) // interval, 0, last)
        return counted
    return np.maximum(np.searchsorted(opened, moments, side="right") - 1, 0)
