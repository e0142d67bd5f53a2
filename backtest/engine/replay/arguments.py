"""Checks of replay arguments beyond those of a sweep."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from numbers import Integral, Real
from typing import Any

import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import USUAL, Changes, Conventions
from backtest.engine.replay.facts import require_mergeable
from backtest.errors import ArgumentError
from backtest.kernel.choices import FlowMode
from backtest.rules.procedure import Impact
from backtest.schemas.validation import offence

#: Amounts and seeds must be below these.
MOST_MONEY, MOST_SEED = 1e15, 2**32


@dataclass(frozen=True, eq=False)
class Options:
    """Options of a replay beside the venue's rules; one named as a setting of the kernel is that setting."""

    fund: float = 0.0
    deposits: tuple[tuple[datetime, float], ...] = ()
    impact: Impact = field(default_factory=Impact)
    conventions: Conventions = USUAL
    seed: int = 0
    trace: int = -1  #: row of the traced position, or -1


class InBothWorlds(Changes, total=False):
    """Arguments of a replay that are the same in a history and under another policy, as keywords."""

    deposits: Iterable[tuple[datetime, float]]
    seed: int
    trace: int | str | None
    threads: int | None


def checked_options(
    *, fund: Any, deposits: Any, impact: Impact | None, conventions: Conventions, seed: Any
) -> Options:
    """Return the options, deposits read once, refusing amounts, times and seeds that are none."""
    _require_amount("fund", fund)
    if not isinstance(deposits, Iterable):
        raise ArgumentError(f"must be pairs of a time and an amount, is {deposits!r}", argument="deposits")
    paid = tuple(_deposit(f"deposits[{number}]", pair) for number, pair in enumerate(deposits))
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < MOST_SEED:
        raise ArgumentError(f"must be a whole number from 0 to {MOST_SEED - 1}, is {seed!r}", argument="seed")
    found = impact or Impact()
    require_uncoupled_entry_bars(conventions.entry_bar, found)
    return Options(float(fund), paid, found, conventions, int(seed))


def require_single(book: Book) -> None:
    """Refuse rows of more or fewer than one trader: a waterfall is stepped position by position."""
    if book.survival is not None:
        raise ArgumentError(
            "book: a replay steps single positions, and this book's survival lets weights decay: sweep it, or "
            "build a book without survival"
        )
    weights = book.positions.get_column("weight", default=None)
    if weights is not None and bool((weights != 1.0).any()):
        sentence = "a replay steps single positions, so weight must be 1 or left out (draw as many rows instead)"
        raise ArgumentError(offence(book.positions, "positions", sentence, pl.col("weight") != 1.0, ("weight",)))


def require_free_names(book: Book, added: Iterable[str]) -> None:
    """Refuse columns that the results would overwrite."""
    taken = [name for name in added if name in book.positions.columns]
    if taken:
        raise ArgumentError(
            f"positions must not have the columns a replay adds: rename or drop {', '.join(taken)}"
        )


def require_uncoupled_entry_bars(entry_bar: str, impact: Impact) -> None:
    """Refuse entry bars tested whole where liquidations move prices or take each other's room.

    Entry bars are tested one position after another, before any wave of the bar.
    """
    coupled = [name for name in ("linear", "square_root", "mark") if getattr(impact, name) > 0]
    coupled += ["participation"] if isfinite(impact.participation) else []
    if entry_bar == "tested" and coupled:
        raise ArgumentError(
            "must be 'untested' where liquidations share a market: in the bar of an entry they come in "
            f"no order; the impact has {', '.join(coupled)}",
            argument="entry_bar",
        )


def require_mode(impact: Impact, exogenous: Any, follows: bool, records: Any) -> FlowMode:
    """Return the flow mode, refusing a moved mark where the history's own cascade is not declared."""
    if impact.mark > 0 and not (exogenous or follows):
        raise ArgumentError(
            "moves a history that already holds its own cascade: call it exogenous where it holds none (a "
            "simulated path), or give the facts it holds",
            argument="impact.mark",
        )
    if exogenous and follows:
        raise ArgumentError(
            "says that the history holds no liquidations, facts are those it holds: say one", argument="exogenous"
        )
    if follows and impact.mark > 0:
        require_mergeable(impact)
        return FlowMode.FOLLOWING
    if records and impact.mark > 0:
        raise ArgumentError(
            "writes down what a history holds or what follows facts, not feedback's waves", argument="record_flow"
        )
    return FlowMode.RECORDING if records else FlowMode.PLAIN


def _deposit(name: str, pair: Any) -> tuple[datetime, float]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ArgumentError(f"must be a pair of a time and an amount, is {pair!r}", argument=name)
    time, amount = pair
    if not isinstance(time, datetime) or time.utcoffset() is None:
        raise ArgumentError(f"must have a time with a time zone, is {time!r}", argument=name)
    _require_amount(name, amount)
    return time, float(amount)


def _require_amount(name: str, amount: Any) -> None:
    number = isinstance(amount, Real) and not isinstance(amount, bool)
    if not number or not 0 <= amount < MOST_MONEY:
        raise ArgumentError(
            f"must be an amount of zero or more, below {MOST_MONEY:g}, is {amount!r}", argument=name
        )
