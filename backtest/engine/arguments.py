"""What the arguments of engines must be, told in one sentence where they are something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backtest.errors import ArgumentError
from backtest.market.market import Market
from backtest.rules.venue import Venue


def require_kinds(
    market: object, venue: object, tiers: object, threads: object, **given: tuple[object, Any, str]
) -> None:
    """Refuse what is no market or venue, or not of the kind given for it, saying how it becomes one."""
    wanted: list[tuple[str, tuple[object, Any, str]]] = [
        *given.items(),
        ("market", (market, Market, "Market(bars, funding)")),
        ("venue", (venue, Venue, "Venue.load(name)")),
        ("tiers", (tiers, (str, Mapping), "'strict', 'nearest' or {symbol: table}")),
    ]
    for name, (value, kind, cure) in wanted:
        if not isinstance(value, kind):
            raise ArgumentError(f"{name} must be {cure}, is {type(value).__module__}.{type(value).__name__}")
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ArgumentError(
            f"threads must be a whole number of at least 1, or None for one a core, is {threads!r}"
        )


def require_choice(name: str, value: str, choices: Any) -> None:
    """Refuse a word that is none of the choices."""
    if value not in choices:
        raise ArgumentError(f"{name} must be one of {', '.join(choices)}, is {value!r}")
