"""Trades as legs of one account: a leg for each part that was opened at one price and closed at one.

With ``value`` x = price (inverse contracts: 1 / price) and ``sign`` r = +1 where more of it is a gain, a leg's
result is r q (x - x_E) and its notional q x.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import polars as pl

from backtest.engine.sweep.prepare import Prepared
from backtest.kernel.types import Floats, Integers
from backtest.market.market import Market
from backtest.schemas.frames import Side, Time

LEGS: dict[str, Any] = {
    "row": pl.Int64,
    "symbol": pl.String,
    "side": Side,
    "entry_time": Time,
    "entry_price": pl.Float64,
    "quantity": pl.Float64,
    "leverage": pl.Float64,
    "exit_time": Time,
    "exit_price": pl.Float64,
    "fees": pl.Float64,
}


def legs_of(
    trades: pl.DataFrame, changes: pl.DataFrame, fees: float | None, inverse: Collection[str]
) -> pl.DataFrame:
    """Return the legs of trades, with the fees of each, and ``sign, entry_value``.

    A partial close takes the same share of every part of a trade, as an average entry price does.

    Parameters
    ----------
    trades : sized, with ``row`` and ``factor``
    changes : at their sizes, with ``position_id`` the trade's ``trade_id``
    fees : of each fill, a fraction of its notional; None: those of the list
    inverse : symbols of inverse contracts
    """
    in_coin = pl.col("symbol").is_in(list(inverse))

    def value(price: str) -> pl.Expr:
        return pl.when(in_coin).then(1 / pl.col(price)).otherwise(pl.col(price))

    by_trade = {key: part for (key,), part in changes.sort("time", maintain_order=True).group_by("position_id")}
    plain = trades.filter(~pl.col("trade_id").is_in(list(by_trade)))
    whole = plain.select(pl.col(name).cast(kind) for name, kind in LEGS.items() if name != "fees")
    own = plain.select(pl.col("fees").fill_null(0.0) * pl.col("factor")).to_series()
    found = [whole.with_columns(fees=own)]
    for trade in trades.filter(pl.col("trade_id").is_in(list(by_trade))).iter_rows(named=True):
        parts = pl.DataFrame(list(_parts(trade, by_trade[trade["trade_id"]])), schema=LEGS)
        paid = (trade["fees"] or 0.0) * trade["factor"] * parts["quantity"] / parts["quantity"].sum()
        found.append(parts.with_columns(fees=paid))
    side = pl.when(pl.col("side") == "long").then(1.0).otherwise(-1.0)
    legs = pl.concat(found).with_columns(
        sign=pl.when(in_coin).then(-side).otherwise(side), entry_value=value("entry_price")
    )
    if fees is not None:
        traded = pl.col("entry_value") + value("exit_price").fill_null(0.0)
        legs = legs.with_columns(fees=fees * pl.col("quantity") * traded)
    return legs.sort("entry_time", "row", maintain_order=True)


def _parts(trade: dict[str, Any], changes: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the legs of a trade that was added to or partly closed."""
    lots = [(trade["entry_time"], trade["entry_price"], trade["quantity"])]
    shared = {name: trade[name] for name in ("row", "symbol", "side", "leverage")}

    def left(lot: tuple[Any, float, float], quantity: float, time: Any, price: float | None) -> dict[str, Any]:
        began = {"entry_time": lot[0], "entry_price": lot[1], "quantity": quantity, "fees": 0.0}
        return shared | began | {"exit_time": time, "exit_price": price}

    for time, price, change in changes.select("time", "price", "quantity_change").iter_rows():
        if change > 0:
            lots.append((time, price, change))
            continue
        share = -change / sum(lot[2] for lot in lots)
        for lot in lots:
            yield left(lot, lot[2] * share, time, price)
        lots = [(lot[0], lot[1], lot[2] * (1 - share)) for lot in lots]
    for lot in lots:
        yield left(lot, lot[2], trade["exit_time"], trade["exit_price"])


class Prices:
    """Mark prices, as values, and cumulative funding of legs at moments."""

    def __init__(self, prepared: Prepared, market: Market) -> None:
        self.prepared, self.market = prepared, market
        kinds = [contract.kind == "inverse" for contract in prepared.contracts]
        self.inverse = np.array(kinds)
        self.opens, self.closes = market.prices("mark", "open"), market.prices("mark", "close")

    def numbers(self, legs: pl.DataFrame) -> Integers:
        """Return the number of each leg's symbol."""
        known = {symbol: number for number, symbol in enumerate(self.market.symbols)}
        return legs["symbol"].replace_strict(known, return_dtype=pl.Int64).to_numpy()

    def opening_after(self, symbol: Integers, moments: Integers) -> Floats:
        """Return the opening of the first bar at or after each moment, when exits take effect; NaN for none."""
        found = np.full(moments.size, np.nan)
        for number in np.unique(symbol):
            own = np.flatnonzero(symbol == number)
            first, last = self.market.firsts[number : number + 2]
            places = first + np.searchsorted(self.market.times[first:last], moments[own])
            there = places < last
            found[own[there]] = self.opens[places[there]]
        return found

    def values(self, symbol: Integers, prices: Floats) -> Floats:
        """Return what a unit of quantity is worth at prices."""
        return np.where(self.inverse[symbol], 1 / prices, prices)

    def mark(self, number: int, moment: int) -> float:
        """Return the last mark price that is known at a moment: the opening of a bar, else the close before."""
        first, last = self.market.firsts[number : number + 2]
        place = first + int(np.searchsorted(self.market.times[first:last], moment, side="right")) - 1
        if place < first:
            return float(self.opens[first])
        closed = moment >= self.market.times[place] + self.market.intervals[number]
        return float(self.closes[place] if closed else self.opens[place])

    def funding(self, symbol: Integers, moments: Integers) -> Floats:
        """Return cumulative funding at moments."""
        funding, found = self.prepared.funding, np.zeros(moments.size)
        for number in np.unique(symbol):
            own = np.flatnonzero(symbol == number)
            part = slice(funding.first[number], funding.first[number + 1])
            found[own] = funding.cumulative[part][np.searchsorted(funding.time[part], moments[own], side="right")]
        return found


def with_results(legs: pl.DataFrame, prices: Prices) -> pl.DataFrame:
    """Return legs with ``result``, after funding and fees, at their own exit prices; null while open.

    ``correction``: what it differs from that of an account that leaves at the opening after the exit.
    """
    symbol = prices.numbers(legs)
    side = np.where((legs["side"] == "long").to_numpy(), 1.0, -1.0)
    sign, quantity, entry, fees = (legs[name].to_numpy() for name in ("sign", "quantity", "entry_value", "fees"))
    began = legs["entry_time"].to_physical().to_numpy()
    left = legs["exit_time"].is_not_null().to_numpy()
    ended = legs["exit_time"].to_physical().fill_null(0).to_numpy()
    opening = prices.opening_after(symbol, np.where(left, ended, np.iinfo(np.int64).max))
    at = legs["exit_price"].to_numpy()
    at = prices.values(symbol, np.where(np.isnan(at), opening, at))
    opening = prices.values(symbol, opening)
    paid = side * quantity * (prices.funding(symbol, ended) - prices.funding(symbol, began))
    result = np.where(left, sign * quantity * (at - entry) - paid - fees, np.nan)
    correction = np.where(left, sign * quantity * (at - opening) - fees, np.nan)
    return legs.with_columns(
        pl.Series("result", result, nan_to_null=True), pl.Series("correction", correction, nan_to_null=True)
    )
