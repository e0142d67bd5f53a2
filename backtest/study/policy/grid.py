"""Grids of policies: histories, books, rules, and every combination of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

from backtest.book.book import Book
from backtest.engine.conventions import USUAL, Conventions
from backtest.errors import ArgumentError
from backtest.market.market import Market
from backtest.rules.procedure import PROCEDURE_RULES
from backtest.rules.venue import Venue
from backtest.shown import shown
from backtest.study.policy.delays import Delay
from backtest.study.policy.responses import RESPONSES
from backtest.study.policy.settlement import Terms

Fill = Literal["liquidation_price", "delayed", "worst_price"]
FILLS: tuple[Fill, ...] = ("liquidation_price", "delayed", "worst_price")

#: The best and the worst fill, which do not depend on a delay.
BRACKET: tuple[Fill, ...] = ("liquidation_price", "worst_price")

#: Rules that a change cannot contain, and where they belong: a sweep stops at the liquidation.
OTHER_AXES = {
    "maximum_leverage": "caps are an axis of their own (grid.caps)",
    "rate_scale": "rate_scales are an axis of their own (grid.rate_scales)",
    **dict.fromkeys(
        ("remainder", "takeover_price", "takeover_discount", "procedure", *PROCEDURE_RULES),
        "procedures are an axis of their own (grid.procedures)",
    ),
    **dict.fromkeys(
        ("cross", "name", "title", "settlement", "provenance", "unknown", "note"), "it decides nothing"
    ),
}

#: Columns that identify a row, in order; the others are its results.
KEYS = (
    "history", "book", "change", "cap", "rate_scale", "fill", "response", "liquidation_fee", "fund", "procedure",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
@shown()
class History:
    """Prices, and the conventions its sweeps follow.

    Raises
    ------
    ArgumentError
        For conventions that a grid decides itself: fills are one of its axes, and its books need every position.

    Examples
    --------
    >>> from backtest.study import policy
    >>> policy.History("May 2021", market).conventions.tiers
    'strict'
    """

    name: str
    market: Market
    conventions: Conventions = USUAL

    def __post_init__(self) -> None:
        """Refuse what a grid decides itself."""
        for name in ("fill_price", "leverage_limit"):
            default, value = getattr(Conventions, name), getattr(self.conventions, name)
            if value != default:
                raise ArgumentError(f"must be {default!r} in a history of a grid, is {value!r}", argument=name)


@dataclass(frozen=True, eq=False)
@shown()
class Intended:
    """A book as traders intended it, and the part of it that every rule of a grid admits.

    Higher maintenance rates cut off tables at the top. A position too large under any rule of the grid is left out
    under all of them, so that policies are compared on the same positions.
    """

    name: str
    book: Book
    admitted: Book


@dataclass(frozen=True, eq=False)
class Rules:
    """Rules that change a sweep."""

    cap: float | None = None  #: highest leverage
    rate_scale: float = 1.0  #: factor on every maintenance rate
    change: str = "current rules"  #: name of the other changes
    changes: Mapping[str, Any] = field(default_factory=dict)  #: as ``Venue.with_`` takes them
    fill: Fill = "liquidation_price"

    def __post_init__(self) -> None:
        """Refuse numbers out of their range and unknown fills."""
        if self.fill not in FILLS:
            raise ArgumentError(f"must be one of {', '.join(FILLS)}, is {self.fill!r}", argument="fill")
        if not 0 < self.rate_scale < float("inf"):
            raise ArgumentError(f"must be finite and above zero, is {self.rate_scale!r}", argument="rate_scale")
        if self.cap is not None and not 1 <= self.cap < float("inf"):
            raise ArgumentError(f"must be 1 or more, is {self.cap!r}", argument="cap")
        elsewhere = [name for name in self.changes if name in OTHER_AXES]
        if elsewhere:
            raise ArgumentError(f"{elsewhere[0]} cannot be part of a change: {OTHER_AXES[elsewhere[0]]}")

    def applied(self, venue: Venue) -> Venue:
        """Return a venue under these rules; it returns remaining margins, which the settlement then divides."""
        changed = venue.with_(**self.changes) if self.changes else venue
        scaled = changed.with_(rate_scale=self.rate_scale) if self.rate_scale != 1 else changed
        capped = scaled.with_(maximum_leverage=self.cap) if self.cap is not None else scaled
        return capped.with_(remainder="returned")


@dataclass(frozen=True, eq=False)
@shown()
class Grid:
    """Every combination of rules and terms.

    Examples
    --------
    >>> from backtest.study import policy
    >>> policy.Grid(caps=(None, 50, 20), funds=(0, 1e6)).policies
    12
    """

    caps: Sequence[float | None] = (None,)
    rate_scales: Sequence[float] = (1.0,)
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"current rules": {}})
    fills: Sequence[Fill] = BRACKET  #: to bracket the loss of a fund; and ``delayed``
    responses: Sequence[str] = RESPONSES
    liquidation_fees: Sequence[float | None] = (0.0,)  #: None: each procedure's own
    funds: Sequence[float] = (0.0,)
    procedures: Sequence[str] = ("returned",)  #: of those the settlement has
    delay: Delay = field(default_factory=Delay)  #: of the fill ``delayed``; no axis

    def __post_init__(self) -> None:
        """Refuse empty axes, repeated values, and values that single rules and terms refuse."""
        axes = {name: values for name, values in vars(self).items() if name != "delay"}
        for name, values in axes.items():
            if not len(values) or len(set(values)) < len(values):
                raise ArgumentError(f"must hold one value or more, each once, is {values!r}", argument=name)
        unknown = [response for response in self.responses if response not in RESPONSES]
        if unknown:
            raise ArgumentError(f"must be of {', '.join(RESPONSES)}, one is {unknown[0]!r}", argument="responses")
        self.rules(), self.terms()

    def rules(self) -> list[Rules]:
        """Return the rules to sweep, ordered so that those sharing their trees are adjacent."""
        axes = product(self.fills, self.changes.items(), self.rate_scales, self.caps)
        return [Rules(cap, scale, name, changes, fill) for fill, (name, changes), scale, cap in axes]

    def terms(self) -> list[Terms]:
        """Return the terms to settle from each sweep."""
        return [Terms(*chosen) for chosen in product(self.liquidation_fees, self.funds, self.procedures)]

    @property
    def policies(self) -> int:
        """Number of combinations of rules and terms, responses not counted."""
        return len(self.rules()) * len(self.terms())
