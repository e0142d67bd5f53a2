"""What the arguments of a replay must be, beyond those it shares with a sweep."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from numbers import Integral, Real
from typing import Any

from backtest.errors import ArgumentError

#: Amounts and seeds must be below these.
MOST_MONEY, MOST_SEED = 1e15, 2**32


def require_money(fund: Any, deposits: Any) -> tuple[tuple[datetime, float], ...]:
    """Return the deposits, once read, refusing what is no amount or no time with a time zone."""
    _require_amount("fund", fund)
    if not isinstance(deposits, Iterable):
        raise ArgumentError(f"deposits must be pairs of a time and an amount, is {deposits!r}")
    return tuple(_deposit(f"deposits[{number}]", pair) for number, pair in enumerate(deposits))


def require_seed(seed: Any) -> None:
    """Refuse what is no seed."""
    if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= seed < MOST_SEED:
        raise ArgumentError(f"seed must be a whole number from 0 to {MOST_SEED - 1}, is {seed!r}")


def _deposit(name: str, pair: Any) -> tuple[datetime, float]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ArgumentError(f"{name} must be a pair of a time and an amount, is {pair!r}")
    time, amount = pair
    if not isinstance(time, datetime) or time.utcoffset() is None:
        raise ArgumentError(f"{name} must have a time with a time zone, is {time!r}")
    _require_amount(name, amount)
    return time, float(amount)


def _require_amount(name: str, amount: Any) -> None:
    number = isinstance(amount, Real) and not isinstance(amount, bool)
    if not number or not 0 <= amount < MOST_MONEY:
        raise ArgumentError(f"{name} must be an amount of zero or more, below {MOST_MONEY:g}, is {amount!r}")
