"""Conventions of a run: assumptions where bars and tables leave a choice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, TypedDict, get_type_hints

from backtest.errors import ArgumentError
from backtest.market.market import Market
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import spelled
from backtest.schemas.conversion import converted

PriceSeries = Literal["mark", "last", "index"]
FillPrice = Literal["liquidation_price", "last_close", "last_extreme"]
Intrabar = Literal["pessimistic", "optimistic", "path"]
EdgeBar = Literal["untested", "tested"]
LeverageLimit = Literal["error", "cap", "filter"]
GapLimit = timedelta | Literal["market"] | None


class Changes(TypedDict, total=False):
    """The fields of :class:`Conventions` as keywords."""

    trigger_price: PriceSeries | None
    fill_price: FillPrice
    intrabar: Intrabar
    entry_bar: EdgeBar
    exit_bar: EdgeBar
    stop_trigger: PriceSeries | None
    leverage_limit: LeverageLimit
    tiers: Tiers
    gap_limit: GapLimit


KINDS = get_type_hints(Changes)


@spelled
@dataclass(frozen=True)
class Conventions:
    """Assumptions of a run where prices and rules leave a choice.

    Every function that takes ``conventions`` also takes the fields as keywords, which then change them:
    ``sweep(book, market, venue, tiers="nearest", intrabar="path")``.

    Parameters
    ----------
    trigger_price
        The price series that triggers liquidation; None: the venue's.
    fill_price
        Fill of a liquidation: its own price (the open where a bar opens beyond it), or the last price's close
        or worst price of the bar. The first flatters an insurance fund; the last brackets it.
    intrabar
        Order of events on opposite sides of a bar's open: against the holder, for the holder,
        or by the path open, nearer extreme, other extreme, close.
    entry_bar
        Whether the highest and lowest price of the bar that an entry falls strictly inside count as prices after
        the entry. Its close always does. Rows that depend on it are ``ambiguous``.
    exit_bar
        Whether those of the bar that an exit falls strictly inside count as prices before the exit. Its opening
        always does.
    stop_trigger
        The price series stops and take-profits watch; None: the last price where there is one, else the mark.
    leverage_limit
        Leverage beyond the limit of a position's tier: refuse the book, lower the leverage
        (raising a margin below the initial margin), or leave out the positions.
    tiers
        Positions opened when no table was in force: ``"strict"`` refuses them, ``"earlier"`` and ``"later"`` use
        the table before or after, ``"strictest"`` the stricter of both, ``"nearest"`` the nearer. The name of a
        table uses it for every symbol that has one of that name, a mapping of symbol to name for the symbols it
        holds; others are strict. :func:`~backtest.tiers_used` reports which were used.
    gap_limit
        The longest time without bars that a position survives in a known state, None: any; ``"market"``: the
        market's own.

    Raises
    ------
    ArgumentError
        For values that are none of the choices.

    Examples
    --------
    >>> from backtest import Conventions
    >>> careful = Conventions(fill_price="last_extreme", leverage_limit="cap")
    >>> careful.with_(intrabar="path").fill_price
    'last_extreme'
    """

    trigger_price: PriceSeries | None = None
    fill_price: FillPrice = "liquidation_price"
    intrabar: Intrabar = "pessimistic"
    entry_bar: EdgeBar = "untested"
    exit_bar: EdgeBar = "untested"
    stop_trigger: PriceSeries | None = None
    leverage_limit: LeverageLimit = "error"
    tiers: Tiers = "strict"
    gap_limit: GapLimit = "market"

    def __post_init__(self) -> None:
        """Refuse unknown choices."""
        for name, kind in KINDS.items():
            converted(getattr(self, name), kind, name)
        if isinstance(self.gap_limit, timedelta) and self.gap_limit < timedelta(0):
            raise ArgumentError(f"must not be below zero, is {self.gap_limit}", argument="gap_limit")

    def with_(self, **changes: Any) -> Conventions:
        """Return the conventions with some of them changed.

        Raises
        ------
        ArgumentError
            For a keyword that is no convention, naming the one that may be meant.
        """
        return replace(self, **changes)

    def trigger_series(self, venue: Venue) -> str:
        """Return the price series that triggers liquidation."""
        return self.trigger_price or venue.trigger_price

    def stop_series(self, market: Market) -> str:
        """Return the price series that stops and take-profits watch."""
        return self.stop_trigger or ("last" if market.has("last") else "mark")

    def gap_limit_of(self, market: Market) -> timedelta | None:
        """Return the longest time without bars that leaves a state known."""
        return market.gap_limit if self.gap_limit == "market" else self.gap_limit


#: Conventions of a run unless changed.
USUAL = Conventions()
