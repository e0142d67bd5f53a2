"""Trades on the bars of a market: symbols as the bars spell them, fills where in their stamped bar they lie.

A back-tester stamps a fill with the bar it was made in. Read as the moment itself, a whole bar before the fill
would be tested. Whether fills lie at the opens or the closes of their bars is seen from their prices, over all
entries. A fill at another price lies somewhere inside its bar: the trade then has a life that is certain (from
the latest moment of entry to the earliest of exit) and one that is possible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import polars as pl

from backtest.amounts import percent, plural
from backtest.errors import DataError
from backtest.kernel.types import Flags, Floats, Integers
from backtest.market.market import Market
from backtest.trades.formats.format import FillsAt
from backtest.trades.reader import Trades
from backtest.trades.symbols import same

MINUTE = 60_000

#: Usual intervals of bars, in minutes.
USUAL = (1, 3, 5, 15, 30, 60, 120, 240, 360, 480, 720, 1440, 10080)

#: Median distance of entries from where they should lie, beyond which the prices are not those of the log.
TOO_FAR = 0.005

#: A fill counts as made at a bar's open or close within so many median distances, and within this at least.
MEDIANS, CLOSE = 5.0, 2e-4


@dataclass(frozen=True, eq=False)
class Placed:
    """Trades on a market's bars."""

    trades: (
        pl.DataFrame
    )  #: as ``Trades.trades``, with ``entry_from`` (earliest entry) and ``exit_until`` (latest exit)
    changes: pl.DataFrame
    left_out: pl.DataFrame  #: ``trade_id, symbol, reason``
    fills_at: FillsAt
    notes: tuple[str, ...] = ()


def placed(log: Trades, market: Market) -> Placed:
    """Return the trades of a log that a market's bars cover, at their moments.

    Raises
    ------
    DataError
        Where no trade is covered, or the entries lie at prices that are not the market's.
    """
    trades, left_out = _covered(log, market)
    if trades.is_empty():
        symbols = ", ".join(log.trades["symbol"].unique(maintain_order=True).head(3))
        theirs, ours = _span(log.trades["entry_time"]), _span(market.bars["time"])
        raise DataError(
            f"prices cover none of the {plural(len(log), 'trade')}: the trades are of {symbols}, {theirs}, "
            f"the prices of {', '.join(market.symbols)}, {ours}"
        )
    changes = log.changes.join(trades.select("trade_id"), on="trade_id", how="semi", maintain_order="left")
    place, interval, deviation = _place_of(log, trades, market)
    found = _Windows(_Prices(market, trades), place, interval, deviation).of(trades)
    if place == "close":
        changes = changes.with_columns(pl.col("time") + timedelta(milliseconds=interval))
    found, changes = _in_order(found, changes)
    notes = [*log.notes, *_notes(place, interval, found)]
    return Placed(found, changes, left_out, place, tuple(notes))


def _span(times: pl.Series) -> str:
    """Return the days from a first to a last time."""
    first, last = times.dt.strftime("%Y-%m-%d").sort().gather([0, -1])
    return f"{first} to {last}"


def _covered(log: Trades, market: Market) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the trades with bars at their entry, spelled as the bars are, and the others with the reason."""
    spelled = {}
    for symbol in log.trades["symbol"].unique():
        found = same(symbol, market.symbols)
        if len(found) > 1:
            listed = ", ".join(found)
            raise DataError(
                f"trades of {symbol} could be of any of {listed}: say which", remedies=(("symbol", found[0]),)
            )
        spelled[symbol] = found[0] if found else None
    own = pl.col("symbol").replace_strict(spelled, return_dtype=pl.String)
    ends = pl.DataFrame(
        {
            "own": list(market.symbols),
            "first": market.times[market.firsts[:-1]],
            "last": market.times[market.firsts[1:] - 1] + market.intervals,
        }
    ).with_columns(pl.col("first", "last").cast(pl.Datetime("ms", "UTC")))
    frame = log.trades.with_columns(own=own).join(ends, on="own", how="left", maintain_order="left")
    entry = pl.col("entry_time")
    reason = (
        pl.when(pl.col("own").is_null())
        .then(pl.lit("no prices of its symbol"))
        .when(entry < pl.col("first"))
        .then(pl.lit("opened before the prices begin"))
        .when(entry >= pl.col("last"))
        .then(pl.lit("opened after the prices end"))
    )
    frame = frame.with_columns(reason=reason)
    left_out = frame.filter(pl.col("reason").is_not_null()).select("trade_id", "symbol", "reason")
    kept = frame.filter(pl.col("reason").is_null()).with_columns(symbol="own")
    return kept.drop("own", "first", "last", "reason"), left_out


class _Prices:
    """Traded prices of the trades' symbols at moments: the last price where there is one, else the mark price."""

    def __init__(self, market: Market, trades: pl.DataFrame) -> None:
        self.market = market
        self.series = "last" if market.has("last") else "mark"
        numbers = {symbol: number for number, symbol in enumerate(market.symbols)}
        self.symbol = trades["symbol"].replace_strict(numbers, return_dtype=pl.Int64).to_numpy()

    def at(self, moments: Integers, part: str, *, ending: bool = False) -> Floats:
        """Return a price of the bars that open (or end) exactly at moments; NaN where none does."""
        return self._lookup(moments, lambda rows: self.market.prices(self.series, part)[rows], ending, exact=True)

    def outside(self, moments: Integers, prices: Floats) -> Floats:
        """Return how far prices lie outside the range of the bars their moments fall in, a fraction."""
        low = self._lookup(moments, lambda rows: self.market.prices(self.series, "low")[rows])
        high = self._lookup(moments, lambda rows: self.market.prices(self.series, "high")[rows])
        return np.maximum(np.maximum(low - prices, prices - high) / prices, 0.0)

    def _lookup(
        self, moments: Integers, values: Callable[[Integers], Floats], ending: bool = False, *, exact: bool = False
    ) -> Floats:
        found = np.full(moments.size, np.nan)
        for number in np.unique(self.symbol):
            own = np.flatnonzero(self.symbol == number)
            first, last = self.market.firsts[number : number + 2]
            times, interval = self.market.times[first:last], self.market.intervals[number]
            wanted = moments[own] - (interval if ending else 0)
            bars = np.searchsorted(times, wanted, side="right") - 1
            inside = bars >= 0
            inside &= (times[np.maximum(bars, 0)] == wanted) if exact else wanted < times[bars] + interval
            found[own[inside]] = values(first + bars[inside])
        return found


def _place_of(log: Trades, trades: pl.DataFrame, market: Market) -> tuple[FillsAt, int, float]:
    """Return where fills lie, the interval (ms) of the bars they are stamped with, and their median distance."""
    prices = _Prices(market, trades)
    stamps, entries = trades["entry_time"].to_physical().to_numpy(), trades["entry_price"].to_numpy()
    tried: list[tuple[float, FillsAt, int]] = []
    for place in log.fills_at:
        if place == "exact":
            tried.append((_median(prices.outside(stamps, entries)), "exact", 0))
            continue
        for interval in _intervals(log, trades, place):
            there = (
                prices.at(stamps, "open")
                if place == "open"
                else prices.at(stamps + interval, "close", ending=True)
            )
            if not np.isnan(there).all():
                tried.append((_median(np.abs(there / entries - 1)), place, interval))
    if not tried:  # the prices' bars are longer than the log's
        outside = _median(prices.outside(stamps, entries))
        tried = [(outside, place, _intervals(log, trades, place)[-1]) for place in log.fills_at]
    deviation, place, interval = min(tried, key=lambda one: one[0])
    if deviation > TOO_FAR:
        nearest = {"exact": "inside the bars", "open": "at the opens of bars", "close": "at the closes of bars"}[
            place
        ]
        raise DataError(
            f"prices of the trades are not those of the bars: half of the {plural(trades.height, 'entry price')} "
            f"lie {percent(deviation)} or more from where they would be {nearest}; are symbol and time zone "
            "right, and are the bars of the same market?"
        )
    return place, interval, deviation


def _median(distances: Floats) -> float:
    known = distances[~np.isnan(distances)]
    return float(np.median(known)) if known.size else 0.0


def _intervals(log: Trades, trades: pl.DataFrame, place: FillsAt) -> Sequence[int]:
    """Return the intervals (ms) that the log's bars may have; for fills at the open the longest is enough."""
    if log.interval is not None:
        return [round(log.interval.total_seconds() * 1000)]
    stamps = pl.concat([trades["entry_time"], trades["exit_time"].drop_nulls()]).to_physical().to_numpy()
    fitting = [minutes * MINUTE for minutes in USUAL if not (stamps % (minutes * MINUTE)).any()] or [MINUTE]
    return fitting[-1:] if place == "open" else fitting


@dataclass(frozen=True, eq=False)
class _Windows:
    """The earliest and latest moments of entries and exits."""

    prices: _Prices
    place: FillsAt
    interval: int
    deviation: float

    def of(self, trades: pl.DataFrame) -> pl.DataFrame:
        """Return trades at their moments."""
        if self.place == "exact":
            return trades.with_columns(entry_from="entry_time", exit_until="exit_time")
        entry = trades["entry_time"].to_physical().to_numpy()
        leaves = trades["exit_time"].is_not_null().to_numpy()
        exit_ = trades["exit_time"].to_physical().fill_null(0).to_numpy()
        exit_price = trades["exit_price"].fill_null(float("nan")).to_numpy()
        first, latest = self._window(entry, trades["entry_price"].to_numpy())
        earliest, last = self._window(exit_, exit_price)
        kind = pl.Datetime("ms", "UTC")
        ends = pl.DataFrame({"exit_time": earliest, "exit_until": last, "leaves": leaves}).cast(
            {"exit_time": kind, "exit_until": kind}
        )
        ends = ends.select(
            pl.when("leaves").then(pl.col(name)).alias(name) for name in ("exit_time", "exit_until")
        )
        return trades.with_columns(
            pl.Series("entry_from", first).cast(kind),
            pl.Series("entry_time", latest).cast(kind),
            *ends.get_columns(),
        )

    def _window(self, stamps: Integers, prices: Floats) -> tuple[Integers, Integers]:
        """Return the earliest and latest moment of fills: both the open or the close where their price is its."""
        ends = stamps + self.interval
        there = (
            self.prices.at(stamps, "open") if self.place == "open" else self.prices.at(ends, "close", ending=True)
        )
        inside = self._elsewhere(prices, there)
        if self.place == "open":
            return stamps, np.where(inside, ends, stamps)
        return np.where(inside, stamps, ends), ends

    def _elsewhere(self, prices: Floats, there: Floats) -> Flags:
        """Return whether fills were made at another price than that of their place; not where none is known."""
        allowed = max(MEDIANS * self.deviation, CLOSE)
        return np.asarray(np.abs(there / prices - 1) > allowed)


def _in_order(trades: pl.DataFrame, changes: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return trades that end after they begin, and changes between the two, a millisecond apart at least."""
    moment = timedelta(milliseconds=1)
    if not changes.is_empty():
        ends = trades.select("trade_id", "entry_time", "exit_time")
        joined = changes.join(ends, on="trade_id", maintain_order="left")
        last = pl.col("exit_time") - moment
        time = pl.max_horizontal("time", pl.col("entry_time") + moment)
        time = pl.when(last > pl.col("entry_time")).then(pl.min_horizontal(time, last)).otherwise(time)
        changes = joined.with_columns(time=time).drop("entry_time", "exit_time")
    changed = changes.group_by("trade_id").agg(after=pl.col("time").max() + moment)
    joined = trades.join(changed, on="trade_id", how="left", maintain_order="left")
    soonest = pl.max_horizontal(pl.col("entry_time") + moment, "after")
    later = [
        pl.when(pl.col(name).is_not_null()).then(pl.max_horizontal(name, soonest)).alias(name)
        for name in ("exit_time", "exit_until")
    ]
    return joined.with_columns(later).drop("after"), changes


def _notes(place: FillsAt, interval: int, found: pl.DataFrame) -> list[str]:
    if place == "exact":
        return []
    where = {"open": "the open", "close": "the close"}[place]
    length = (
        f"{interval // MINUTE:,} minutes"
        if interval % (60 * MINUTE)
        else plural(interval // (60 * MINUTE), "hour")
    )
    inside = int(found.select((pl.col("exit_time") != pl.col("exit_until")).sum()).item() or 0)
    note = f"fills lie at {where} of their stamped bar of {length}"
    return [note + (f"; {plural(inside, 'exit')} somewhere inside" if inside else "")]


def without(found: Placed, trade_ids: pl.Series, reason: str) -> Placed:
    """Return placed trades without some of them, which are left out for a reason."""
    gone = pl.col("trade_id").is_in(trade_ids.implode())
    lost = found.trades.filter(gone).select("trade_id", "symbol", reason=pl.lit(reason))
    return replace(
        found,
        trades=found.trades.filter(~gone),
        changes=found.changes.filter(~gone),
        left_out=pl.concat([found.left_out, lost]),
    )
