"""Preparation of engines: a market and a venue's rules as arrays for one book, and its planned actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine import market_arrays, price_checks
from backtest.engine.conventions import Conventions
from backtest.engine.notional import selected_leverage
from backtest.errors import ArgumentError, DataError
from backtest.kernel.arrays import NO_TIME, Bars, Funding
from backtest.kernel.choices import Intrabar
from backtest.kernel.sweep.adjustments import Actions
from backtest.kernel.sweep.bar_events import Hidden
from backtest.kernel.types import Floats, readonly
from backtest.market.market import Market
from backtest.rules.contract import Contract
from backtest.rules.rulebook import Rulebook, rulebook
from backtest.rules.timeline import Tiers, by_symbol, of_symbols
from backtest.rules.venue import Venue
from backtest.schemas.symbols import parts_of
from backtest.schemas.validation import offence


@dataclass(frozen=True, eq=False)
class Prepared:
    """A market and a venue's rules as arrays, for one book."""

    market: Market
    series: str
    bars: Bars
    funding: Funding
    rules: Rulebook
    contracts: list[Contract]  #: of the market's symbols
    held: list[Contract]  #: of the book's symbols


def prepare(book: Book, market: Market, venue: Venue, conventions: Conventions) -> Prepared:
    """Return a market and a venue's rules as the arrays a book needs, or raise for what cannot be served."""
    series = conventions.trigger_series(venue)
    _require_own_series(book, series)
    unknown = [symbol for symbol in book.symbols if symbol not in market.symbols]
    if unknown:
        sentence = f"symbol must be one of the bars' ({', '.join(market.symbols)})"
        raise DataError(
            offence(book.positions, "positions", sentence, pl.col("symbol").is_in(unknown), ("symbol",))
        )
    contracts = venue.contracts_of(market.symbols, book.symbols)
    held = [contract for contract in contracts if contract.symbol in book.symbols]
    tiers = of_symbols(_known_tiers(by_symbol(conventions.tiers, held or contracts), market), book.symbols)
    bars = market_arrays.bars_of(market, series, conventions.fill_price, conventions.gap_limit_of(market))
    filled = ("last",) if bars.replaced else ()
    price_checks.check_bars(market, held, "mark", series, *filled)
    price_checks.check_book(book, held)
    rules = rulebook(
        contracts,
        returned=venue.remainder == "returned",
        pro_rata=venue.release == "pro_rata",
        always=venue.tiers_apply == "always",
        tiers=tiers,
        first_time=[int(market.times[a]) for a in market.firsts[:-1]],
        last_time=[
            int(market.times[b - 1] + interval)
            for b, interval in zip(market.firsts[1:], market.intervals, strict=True)
        ],
        leverages=_distinct_leverages(book, held),
    )
    return Prepared(market, series, bars, market_arrays.funding_of(market, contracts), rules, contracts, held)


def _require_own_series(book: Book, series: str) -> None:
    """Refuse to trigger on another price than the one that an estimated book was estimated with."""
    if book.trigger_price not in (None, series):
        raise ArgumentError(
            f"is {series}, but the book was estimated with liquidations triggered by the {book.trigger_price} "
            "price: estimate and sweep it with the same",
            argument="trigger_price",
            remedies=(("trigger_price", str(book.trigger_price)),),
        )


def _known_tiers(tiers: Tiers, market: Market) -> Tiers:
    if not isinstance(tiers, str):
        strangers = [symbol for symbol in tiers if symbol not in market.symbols]
        if strangers:
            sentence = f"names the symbol {strangers[0]!r}: the bars hold {', '.join(market.symbols)}"
            raise ArgumentError(sentence, argument="tiers")
    return tiers


def _distinct_leverages(book: Book, held: list[Contract]) -> dict[str, Floats]:
    """Return the selected leverages of symbols whose varying requirement is keyed by them."""
    found = {}
    keyed = [contract for contract in held if contract.needs_leverages]
    parts, none = parts_of(book.positions, "symbol") if keyed else {}, book.positions.clear()
    for contract in keyed:
        own = parts.get((contract.symbol,), none)
        found[contract.symbol] = np.unique(own.select(selected_leverage(own, [contract])).to_series().to_numpy())
    return found


def actions_of(frame: pl.DataFrame, adjustments: pl.DataFrame | None, missing: int | None = None) -> Actions:
    """Return planned exits and adjustments as arrays for kernels; ``missing``: the size of what nobody plans."""
    count = frame.height if missing is None else missing
    names = ("row", "time", "margin_change", "quantity_change", "price")
    made = pl.DataFrame({name: [] for name in names}) if adjustments is None else adjustments
    return Actions(
        exit_time=exit_times(frame, count),
        exit_price=prices_or_nan(frame, "exit_price", count),
        stop_price=prices_or_nan(frame, "stop_price", count),
        take_profit_price=prices_or_nan(frame, "take_profit_price", count),
        row=readonly(made["row"].to_numpy().astype(np.int64)),
        time=readonly(made["time"].to_physical().to_numpy().astype(np.int64)),
        margin_change=prices_or_nan(made, "margin_change", 0),
        quantity_change=prices_or_nan(made, "quantity_change", 0),
        price=prices_or_nan(made, "price", 0),
    )


def additions_of(book: Book) -> Actions:
    """Return planned exits and adjustments where any of these adds to a position; else none."""
    if book.has_additions:
        return actions_of(book.positions, book.adjustments)
    return actions_of(book.positions.clear(), None)


def hidden_of(conventions: Conventions) -> Hidden:
    """Return what conventions take for what bars do not show."""
    tested = (conventions.entry_bar == "tested", conventions.exit_bar == "tested")
    return Hidden(*tested, Intrabar.code(conventions.intrabar), False)


def exit_times(frame: pl.DataFrame, count: int) -> Any:
    """Return planned exits, ms; without a column of them ``count`` that stand for none."""
    if "exit_time" not in frame.columns:
        return readonly(np.full(count, NO_TIME))
    return readonly(frame["exit_time"].to_physical().fill_null(NO_TIME).to_numpy())


def prices_or_nan(frame: pl.DataFrame, name: str, count: int) -> Any:
    """Return a column of numbers, NaN for none, where it is missing ``count`` of them."""
    if name not in frame.columns:
        return readonly(np.full(count, np.nan))
    return readonly(frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy())
