"""One swept book with the results that summary, tables and charts share."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Protocol

import polars as pl

from backtest.amounts import DOLLARS
from backtest.book import Book
from backtest.cli.common.input_warnings import book_warnings
from backtest.errors import ArgumentError
from backtest.market import Market
from backtest.rules.venue import Venue
from backtest.schemas.symbols import parts_of
from backtest.study.liquidations import flow
from backtest.study.liquidations.cascades import find, pulses, with_price_moves
from backtest.study.liquidations.segmentation import ThresholdRule

#: Units that amounts are rounded to before they are added up: a cent, or the smallest unit of a coin.
CENT, SATOSHI = 0.01, 1e-8

#: Longest window, in days, of a table by day; by week; longer ones are by month.
BY_DAY, BY_WEEK = 45, 300

#: Longest window, in days, whose flow is drawn by hour; by day; longer ones by week, so that bars stay visible.
HOURS_TO_SEE, DAYS_TO_SEE = 45, 1_000

#: Quantile of the liquidated notional, among intervals with any liquidation, from which one is in a cascade.
HEAVY_QUANTILE = 0.95

#: Shortest interval of cascades: any fall has quiet minutes, which would cut it into many cascades.
FINEST = timedelta(minutes=15)


def one_currency(venue: Venue, symbols: Iterable[str]) -> str:
    """Return the settlement currency of all symbols; nothing where the venue does not say.

    Raises
    ------
    ArgumentError
        Where there are several: their amounts cannot be added up.
    """
    by_symbol = {symbol: venue.settlement_of(symbol) for symbol in symbols}
    if len(set(by_symbol.values())) > 1:
        listed = ", ".join(
            f"{symbol} in {currency or 'an unknown currency'}" for symbol, currency in by_symbol.items()
        )
        raise ArgumentError(
            f"amounts in several currencies cannot be added up ({listed}): take one currency at a time"
        )
    return next(iter(by_symbol.values()))


class Totalled(Protocol):
    """A run with totals: of a whole book, or of batches."""

    @property
    def outcomes(self) -> pl.DataFrame:
        """Outcomes, or their sums."""

    @property
    def totals(self) -> dict[str, Any]:
        """The totals of the run by name."""

    @property
    def currency(self) -> str:
        """The settlement currency."""

    @property
    def synthetic(self) -> bool:
        """Whether the book is synthetic, so that amounts are arbitrary."""

    @property
    def left_out(self) -> int:
        """How many positions were not swept."""


@dataclass(frozen=True, eq=False)
class Swept:
    """A book with its market, venue and outcomes."""

    market: Market
    venue: Venue
    book: Book
    outcomes: pl.DataFrame
    tiers: pl.DataFrame  #: as ``tiers_used`` returns them
    synthetic: bool
    own_prices: bool = False  #: whether prices were given, so that their quality is checked

    @cached_property
    def unit(self) -> float:
        """The unit that amounts are rounded to."""
        return CENT if self.currency in DOLLARS else SATOSHI

    @cached_property
    def currency(self) -> str:
        """The settlement currency; dollars where the venue does not name one."""
        return one_currency(self.venue, self.market.symbols) or "USD"

    @cached_property
    def window(self) -> tuple[datetime, datetime]:
        """Open times of the first and the last bar."""
        first, last = self.market.bars.select(first=pl.col("time").min(), last=pl.col("time").max()).row(0)
        return first, last

    @cached_property
    def totals(self) -> dict[str, Any]:
        """The totals of the run by name."""
        return flow.summary(self.outcomes, unit=self.unit).row(0, named=True)

    @property
    def left_out(self) -> int:
        """How many positions were not swept: their leverage was beyond the limit."""
        return len(self.book) - self.outcomes.height

    @cached_property
    def warnings(self) -> list[str]:
        """What looks wrong in the book, one sentence each; nothing of a synthetic book."""
        return [] if self.synthetic else book_warnings(self.book, self.market, self.outcomes)

    @cached_property
    def _by_symbol(self) -> Mapping[tuple[Hashable, ...], pl.DataFrame]:
        return parts_of(self.outcomes, "symbol")

    def flow(self, every: str, symbol: str | None = None) -> pl.DataFrame:
        """Return the liquidated flow over the whole window, of one symbol and its book or of all."""
        rows = self.outcomes if symbol is None else self._by_symbol.get((symbol,), self.outcomes.clear())
        start, end = self.window
        return flow.by_interval(rows, start=start, end=end, every=every, unit=self.unit)

    @property
    def knows_open(self) -> bool:
        """Whether the book knows what was open at each time, so that shares are of that."""
        return self.book.open_interest is not None

    def with_shares(self, rows: pl.DataFrame, every: str, symbol: str | None = None) -> pl.DataFrame:
        """Return the flow with its shares: of what was open as each interval began, where that is known.

        ``share_new``, ``long_share_new``, ``short_share_new`` then are the parts opened within the interval.
        """
        if not self.knows_open:
            return rows
        shares = flow.shares_of_open_interest(self.outcomes, self.book, self.market, every=every, symbol=symbol)
        return rows.drop("long_share", "short_share", "share").join(
            shares, on="time", how="left", maintain_order="left"
        )

    @cached_property
    def hourly(self) -> pl.DataFrame:
        """The liquidated flow by hour."""
        return self.flow("1h")

    @property
    def cascade_bar(self) -> timedelta:
        """The interval of cascades."""
        return max(timedelta(milliseconds=int(self.market.intervals.max())), FINEST)

    @cached_property
    def cascades(self) -> pl.DataFrame:
        """The cascades of each symbol with the price moves over them, in order of time."""
        bar = self.cascade_bar
        coarse = self.outcomes.with_columns(pl.col("outcome_time").dt.truncate(bar))
        found = find(pulses(coarse, unit=self.unit), ThresholdRule(HEAVY_QUANTILE, bar=bar), unit=self.unit)
        return with_price_moves(found, self.market.bars)

    @property
    def period(self) -> tuple[str, str]:
        """The interval of the table by period, as polars writes it and in a word."""
        days = (self.window[1] - self.window[0]).days
        if days <= BY_DAY:
            return "1d", "day"
        return ("1w", "week") if days <= BY_WEEK else ("1mo", "month")

    @property
    def visible(self) -> str:
        """The finest interval whose bars are visible in a chart of the whole window."""
        days = (self.window[1] - self.window[0]).days
        return "1h" if days <= HOURS_TO_SEE else "1d" if days <= DAYS_TO_SEE else "1w"
