"""Trades on one venue: swept at each leverage, with how near each came and what would have held."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import Conventions
from backtest.engine.sweep.prepare import Prepared, prepare
from backtest.engine.sweep.survey import symbol_codes
from backtest.engine.sweep.sweep import sweep
from backtest.errors import DataError
from backtest.kernel.types import Flags, Floats, Integers
from backtest.market.market import Market
from backtest.rules.contract import Contract
from backtest.rules.timeline import is_in_force
from backtest.rules.venue import Venue
from backtest.trades import certainty, money
from backtest.trades.book import Keep, scaled, sized
from backtest.trades.columns import COLUMNS, LimitedBy, TradeOutcome, distances, table_named, tier_source
from backtest.trades.holding import counted, hardest_bars
from backtest.trades.holding.bars import lives_of
from backtest.trades.holding.lives import Lives
from backtest.trades.placement import Placed
from backtest.trades.reader import Trades
from backtest.trades.symbols import listed_as

MOMENT = timedelta(milliseconds=1)
FOREVER = np.iinfo(np.int64).max


class OnVenue:
    """The trades of a log that a market covers, under one venue's rules."""

    def __init__(
        self,
        log: Trades,
        placed: Placed,
        market: Market,
        venue: Venue,
        conventions: Conventions,
        keep: Keep,
        fees: float | None,
        threads: int | None,
    ) -> None:
        self.log, self.venue, self.keep, self.fees, self.threads = log, venue, keep, fees, threads
        self.conventions = replace(conventions, leverage_limit="filter")
        names = {
            symbol: listed_as(symbol, venue) for symbol in placed.trades["symbol"].unique(maintain_order=True)
        }
        ruled = {symbol: name for symbol, name in names.items() if name is not None}
        if not ruled:
            raise DataError(f"venue {venue.name} has no rules for {', '.join(names)}: it lists {venue.listed}")
        own = pl.col("symbol").is_in(list(ruled))
        self.unruled = placed.trades.filter(~own)
        self.market = _named(market, ruled)
        renamed = pl.col("symbol").replace(ruled)
        trades = placed.trades.filter(own).with_columns(given_symbol="symbol", symbol=renamed)
        self.trades = trades.with_row_index("row")
        self.changes = placed.changes.join(self.trades.select("trade_id"), on="trade_id", how="semi")
        #: trades whose answers need a search: those changed or held under several tables, and rates that follow
        #: mark and leverage both
        keyed = [name for name in ruled.values() if venue.contract(name).needs_leverages]
        changed = self.trades["trade_id"].is_in(self.changes["trade_id"].implode())
        self.searched = (changed | self.trades["symbol"].is_in(keyed)).to_numpy() | self._under_several_tables()

    @cached_property
    def prepared(self) -> Prepared:
        """Market and rules as a sweep prepares them."""
        return prepare(self._book(sized(self.trades, 1.0, "size")), self.market, self.venue, self.conventions)

    def _under_several_tables(self) -> Flags:
        entered = self.trades["entry_time"].to_physical().to_numpy()
        left = self.trades.select(pl.max_horizontal("exit_time", "exit_until").dt.epoch("ms")).to_series()
        last = left.fill_null(int(self.market.times.max())).to_numpy()
        before, after = (hardest_bars.tables_at(self.prepared, self.trades, at) for at in (entered, last))
        return np.asarray(before != after)

    @property
    def contracts(self) -> list[Contract]:
        """The contracts of the trades."""
        return self.prepared.held

    def _book(self, frame: pl.DataFrame, *, possible: bool = False, margin: Floats | None = None) -> Book:
        """Return trades as positions, in their shortest or their longest lives."""
        # a longest life ends inside the bar of the exit: the next opening is no part of it
        longest = pl.when(pl.col("exit_until") > pl.col("exit_time")).then(pl.col("exit_until") - MOMENT)
        positions = frame.select(
            pl.col("row").cast(pl.Int64).alias("position_id"),
            "symbol",
            "side",
            pl.col("entry_from" if possible else "entry_time").alias("entry_time"),
            "entry_price",
            "quantity",
            "leverage",
            "exit_price",
            exit_time=longest.otherwise(pl.col("exit_time")) if possible else pl.col("exit_time"),
            **({} if margin is None else {"margin": pl.Series(margin)}),
        )
        if self.changes.is_empty():
            return Book(positions)
        numbers = frame.select("trade_id", pl.col("row").cast(pl.Int64))
        own = scaled(self.changes.join(frame.select("trade_id"), on="trade_id", how="semi"), frame)
        own = own.rename({"position_id": "trade_id"}).join(numbers, on="trade_id", maintain_order="left")
        return Book(positions, own.drop("trade_id").rename({"row": "position_id"}) if own.height else None)

    def swept(self, frame: pl.DataFrame, *, possible: bool = False, margin: Floats | None = None) -> pl.DataFrame:
        """Return the outcomes of trades; those that the tiers do not allow are left out."""
        book = self._book(frame, possible=possible, margin=margin)
        whole = self.conventions.with_(entry_bar="tested", exit_bar="tested")
        conventions = whole if possible else self.conventions
        return sweep(book, self.market, self.venue, conventions=conventions, threads=self.threads)

    def rows(self, leverage: float | None) -> pl.DataFrame:
        """Return a row a trade at a leverage, with the columns of :func:`~backtest.trades.check`."""
        frame = sized(self.trades, leverage, self.keep)
        rows = certainty.with_outcomes(frame, lambda some, possible: self.swept(some, possible=possible))
        rows = rows.with_columns(self._distances(rows))
        rows = rows.with_columns(money.columns(rows, self.changes, self.log, self.venue, self.fees))
        rows = certainty.with_later(rows, self.swept)
        return pl.concat([self._columns(rows), self._without_rules(leverage)], how="diagonal").select(COLUMNS)

    @cached_property
    def _all_lives(self) -> list[Lives]:
        """The lives of every trade without changes, each with the largest notional that may be asked about."""
        trades = self.trades
        largest = (trades["quantity"] * trades["entry_price"]).to_numpy().copy()
        if self.keep == "stake":
            most = max((float(t.max_leverages.max()) for c in self.prepared.held for t in c.tables), default=1.0)
            largest *= min(most, 1_000.0) / trades["leverage"].fill_null(1.0).to_numpy()
        return lives_of(
            self.prepared,
            symbol=symbol_codes(trades["symbol"], self.market.symbols).astype(np.int64),
            side=trades["side"].to_physical().to_numpy().astype(np.int64),
            entry_time=trades["entry_time"].to_physical().to_numpy(),
            exit_time=trades["exit_time"].to_physical().fill_null(FOREVER).to_numpy(),
            exit_price=trades["exit_price"].to_numpy(),
            entry_price=trades["entry_price"].to_numpy(),
            largest=largest,
        )

    @cached_property
    def _highest(self) -> tuple[Floats, pl.Series]:
        """The highest leverage that each trade survives, whatever leverage is checked, and what limits it."""
        count = self.trades.height
        highest, by_price = np.full(count, np.nan), np.zeros(count, np.bool_)
        for lives in self._all_lives:
            highest[lives.rows], by_price[lives.rows] = counted.highest_leverage(lives, self.trades, self.keep)
        if self.searched.any():
            own = np.flatnonzero(self.searched)
            highest[own], by_price[own] = counted.highest_by_sweeps(self, self.trades[own])
        limited = pl.Series(np.where(by_price, "price", "tier")).cast(LimitedBy)
        return highest, pl.select(pl.when(pl.Series(~np.isnan(highest))).then(limited)).to_series()

    def _distances(self, rows: pl.DataFrame) -> list[pl.Series]:
        """Return how near each trade came, and what would have held."""
        count = rows.height
        names = ("margin", "margin_that_holds", "peak_margin_ratio", "reached", "closest_price", "volatility")
        found: dict[str, Any] = {name: np.full(count, np.nan) for name in names}
        moments = np.full(count, -1, np.int64)
        source = np.full(count, "", object)
        quantity, chosen = rows["quantity"].to_numpy(), rows["leverage"].to_numpy()
        for lives in self._all_lives:
            own = lives.rows
            q, lev = quantity[own], chosen[own]
            margin = counted.margin_of(lives, q, lev)
            needed, tier = lives.needed(q, lev)
            places, worst, ratio, price = lives.closest(q, margin, lev, tier)
            needed = np.maximum(needed, lives.needed_to_open(q, lev))
            first = self._first_of(lives)
            found["margin"][own], found["margin_that_holds"][own] = margin, np.maximum(needed, 0.0)
            found["peak_margin_ratio"][own], found["reached"][own] = ratio, price
            found["closest_price"][own] = worst
            found["volatility"][own] = self.volatility[lives.contract.symbol]
            moments[own] = np.where(places >= 0, self.market.times[first + places], -1)
            source[own] = tier_source(lives)
        if self.searched.any():
            own = np.flatnonzero(self.searched)
            found["margin_that_holds"][own] = counted.margin_by_sweeps(self, rows[own])
            moments[own] = hardest_bars.hardest_bars(self, rows[own], found["margin_that_holds"][own])
            self._measure(rows[own], own, moments[own], found)
            source[own] = self._last_tables(rows[own], moments[own])
        return distances(rows, found, moments, source, self._highest)

    def _measure(self, rows: pl.DataFrame, own: Integers, moments: Integers, found: dict[str, Any]) -> None:
        """Write how near changed trades came in their hardest bars."""
        worst = hardest_bars.worst_prices(self.prepared, self.market.symbols, rows, moments)
        equity, reached = hardest_bars.measured(self, rows, moments, worst)
        changes = scaled(self.changes.join(rows.select("trade_id"), on="trade_id", how="semi"), rows)
        found["peak_margin_ratio"][own] = hardest_bars.peak_margin_ratios(
            self.prepared, rows, changes, moments, worst, equity
        )
        found["reached"][own], found["closest_price"][own] = reached, worst

    def _last_tables(self, rows: pl.DataFrame, moments: Integers) -> list[str]:
        """Return the tables that trades were under when they were liquidated, else in their hardest bars."""
        ended = rows["outcome_time"].dt.epoch("ms").fill_null(-1).to_numpy()
        groups = hardest_bars.tables_at(self.prepared, rows, np.where(ended >= 0, ended, moments))
        named = [
            table_named(group.contract, group.table, in_force=is_in_force(group.source))
            for group in self.prepared.rules.groups
        ]
        return [named[number] for number in groups.tolist()]

    def _first_of(self, lives: Lives) -> int:
        return int(self.market.firsts[self.market.symbols.index(lives.contract.symbol)])

    @cached_property
    def volatility(self) -> dict[str, float]:
        """Standard deviation of log returns of closes of each symbol, scaled to a day."""
        found = {}
        closes = self.market.prices("mark", "close")
        for number, symbol in enumerate(self.market.symbols):
            first, last = self.market.firsts[number : number + 2]
            returns = np.diff(np.log(np.maximum(closes[first:last], 1e-50)))
            per_day = 86_400_000 / self.market.intervals[number]
            found[symbol] = float(returns.std(ddof=1)) * math.sqrt(per_day) if returns.size > 1 else math.nan
        return found

    def _columns(self, rows: pl.DataFrame) -> pl.DataFrame:
        side = pl.when(pl.col("side") == "long").then(1.0).otherwise(-1.0)
        price = pl.coalesce("liquidation_price", "possible_price")
        stop = pl.when("possible").then(side * (pl.col("stop_price") - price) > 0)
        gone = ~pl.col("rejected")
        return rows.with_columns(
            symbol="given_symbol",
            venue=pl.lit(self.venue.name),
            price_venue=pl.lit(self.market.price_venue or self.market.description or None, pl.String),
            certainly_liquidated=pl.when(gone).then("certain"),
            possibly_liquidated=pl.when(gone).then("possible"),
            liquidation_price=pl.when(gone).then(price),
            stop_comes_first=stop,
        )

    def _without_rules(self, leverage: float | None) -> pl.DataFrame:
        if self.unruled.is_empty():
            return pl.DataFrame(schema={"outcome": TradeOutcome})
        return sized(self.unruled, leverage, self.keep).with_columns(
            venue=pl.lit(self.venue.name), outcome=pl.lit("no_rules", TradeOutcome)
        )


def _named(market: Market, names: dict[str, str]) -> Market:
    """Return a market of the symbols that have rules, spelled as the rules spell them."""
    if set(names) != set(market.symbols):
        market = market.select(list(names))
    changed = {symbol: name for symbol, name in names.items() if symbol != name}
    if not changed:
        return market
    funding = market.funding
    renamed = pl.col("symbol").replace(changed)
    return Market(
        market.bars.with_columns(renamed),
        None if funding is None else funding.with_columns(renamed),
        gap_limit=market.gap_limit,
        description=market.description,
        price_venue=market.price_venue,
    )
