"""Labels for level maps: liquidations with time and price, from a source independent of the map.

A map predicts its own positions perfectly. So labels are recorded liquidations with their prices, or those of a
*hidden truth* book with another leverage mix, entries and seed. Labels of a book carry its fingerprint, and a map
of the same book is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import Changes, Conventions
from backtest.engine.sweep.level_drift import CAPPED
from backtest.engine.sweep.sweep import sweep
from backtest.market.market import Market
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Time
from backtest.schemas.rules import IN_RANGE, NOT_NEGATIVE, POSITIVE
from backtest.schemas.symbols import of_symbol
from backtest.schemas.validation import Column, Schema, conform
from backtest.shown import shown
from backtest.study.liquidations.exact_sums import weight
from backtest.study.prediction.labels import fingerprint

EVENTS = Schema(
    "events",
    (
        Column("symbol", pl.String, required=False),
        Column("time", Time, IN_RANGE),
        Column("price", pl.Float64, POSITIVE),
        Column("notional", pl.Float64, NOT_NEGATIVE),
    ),
)


@dataclass(frozen=True, eq=False)
@shown()
class MapLabels:
    """Liquidations of one symbol and their source.

    Raises
    ------
    DataError
        For events without ``time``, ``price`` and ``notional``, or with values out of range; for events of other
        symbols alone, or of several where none is named.

    Examples
    --------
    >>> from backtest.study.levels.evaluation import MapLabels
    >>> events = pl.DataFrame({"time": [noon], "price": [38_000.0], "notional": [5_000.0]})
    >>> MapLabels(events, source="feed of an exchange").events.shape
    (1, 3)
    """

    events: (
        pl.DataFrame
    )  #: ``time`` (open time of the bar, or the moment), ``price``, ``notional``; ``symbol`` or not
    source: str
    book: str | None = None  #: fingerprint of the hidden truth; None: recorded
    symbol: str | None = None  #: of the events; None: theirs, where they say it

    def __post_init__(self) -> None:
        events = conform(self.events, EVENTS)
        symbol = self.symbol
        if "symbol" in events.columns and events.height:
            events, symbol = of_symbol(events, symbol, "events")
        object.__setattr__(self, "symbol", symbol)
        object.__setattr__(self, "events", events.select("time", "price", "notional").sort("time"))


@checked
def recorded_events(events: pl.DataFrame, *, source: str, symbol: str | None = None) -> MapLabels:
    """Return labels of recorded liquidations.

    Parameters
    ----------
    events : ``time, price, notional``, and ``symbol`` where they are of several
    source : who recorded them, and their known errors
    symbol : whose events to take; None: there is one

    Examples
    --------
    >>> from backtest.study.levels.evaluation import recorded_events
    >>> events = pl.DataFrame({"time": [noon], "price": [38_000.0], "notional": [5_000.0]})
    >>> recorded_events(events, source="feed of an exchange").events.columns
    ['time', 'price', 'notional']
    """
    return MapLabels(events, source, symbol=symbol)


@checked
def hidden_events(
    book: Book,
    market: Market,
    venue: Venue,
    symbol: str,
    *,
    conventions: Conventions = CAPPED,
    **changes: Unpack[Changes],
) -> MapLabels:
    """Return the liquidations of a hidden truth book as labels.

    Parameters
    ----------
    book : with another leverage mix, entries and seed than any book a map is made of
    market, venue, conventions, **changes : as for ``sweep``; with funding where the truth pays it

    Examples
    --------
    >>> from backtest import population
    >>> from backtest.study.levels.evaluation import hidden_events
    >>> truth = population.synthetic(market, venue, count=1_000, seed=2)
    >>> hidden_events(truth, market, venue, "BTCUSDT").events.shape
    (334, 3)
    """
    outcomes = sweep(book, market, venue, conventions=conventions.with_(**changes))
    left = pl.col("surviving_weight") if "surviving_weight" in outcomes.columns else weight(outcomes)
    events = outcomes.filter("liquidated", pl.col("symbol") == symbol).select(
        time="outcome_time", price="liquidation_price", notional=pl.col("fill_notional") * left
    )
    return MapLabels(events, "; ".join(("hidden truth", *book.assumptions)), fingerprint(book), symbol)
