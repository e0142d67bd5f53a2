"""Finer bars where they decide: windows around entries, exits and changes of trades whose bars hide the answer.

A trade that is liquidated possibly but not certainly depends on the bars that it was entered, changed or closed
in; its other bars are certain. It is checked again on finer bars of these windows alone, with gaps between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from backtest.amounts import duration, moment, percent, plural
from backtest.errors import DataError
from backtest.kernel.types import Integers
from backtest.market.market import Market
from backtest.schemas.frames import Time
from backtest.trades.placement import TOO_FAR, Placed
from backtest.trades.symbols import same

ONE_MINUTE = 60_000

#: Ends of the names of price columns.
PARTS = ("open", "high", "low", "close")

WINDOWS: dict[str, Any] = {"symbol": pl.String, "start": Time, "end": Time, "trade_id": pl.Int64}

#: Columns that finer bars decide; the others are those of whichever bars ask for more margin.
DECIDED = (
    "outcome", "certainly_liquidated", "possibly_liquidated", "outcome_time", "outcome_until", "possible_time",
    "liquidation_price", "realised_pnl", "pnl_difference", "stop_comes_first",
)  # fmt: skip


def hidden(rows: pl.DataFrame) -> pl.Series:
    """Return the trades of a check whose answer the inside of a bar decides."""
    open_ = pl.col("possibly_liquidated") & ~pl.col("certainly_liquidated") & (pl.col("outcome") != "unknown")
    return rows.filter(open_)["trade_id"].unique()


def windows_of(trades: pl.DataFrame, changes: pl.DataFrame, market: Market) -> pl.DataFrame:
    """Return the bars that trades are entered, changed and closed in: ``symbol, start, end, trade_id``.

    Parameters
    ----------
    trades, changes : as placed on the market
    """
    own = changes.join(trades.select("trade_id", "symbol"), on="trade_id")
    moments = pl.concat(
        [
            trades.select("symbol", "trade_id", start="entry_from", end="entry_time"),
            trades.select("symbol", "trade_id", start="exit_time", end="exit_until").drop_nulls(),
            own.select("symbol", "trade_id", start="time", end="time"),
        ]
    )
    found = [pl.DataFrame(schema=WINDOWS | {"trade_id": trades.schema["trade_id"]})]
    for number, symbol in enumerate(market.symbols):
        part = moments.filter(symbol=symbol)
        first, last = market.firsts[number : number + 2]
        times, interval = market.times[first:last], int(market.intervals[number])
        start, end = (_opening(times, part[name]) for name in ("start", "end"))
        bounds = part.with_columns(start=pl.Series(start).cast(Time), end=pl.Series(end + interval).cast(Time))
        found.append(bounds.filter(pl.Series((start >= 0) & (end < times[-1] + interval))).select(list(WINDOWS)))
    return pl.concat(found).unique(maintain_order=True)


def _opening(times: Integers, moments: pl.Series) -> Integers:
    """Return the last opening of a bar at or before each moment; -1 for none."""
    places = np.searchsorted(times, moments.to_physical().to_numpy(), side="right") - 1
    return np.asarray(np.where(places >= 0, times[np.maximum(places, 0)], -1))


def united(windows: pl.DataFrame) -> pl.DataFrame:
    """Return windows without overlaps: ``symbol, start, end, trades``."""
    ordered = windows.sort("symbol", "start", "end")
    before = pl.col("end").cum_max().shift(1).over("symbol")
    runs = ordered.with_columns(run=(pl.col("start") > before).fill_null(True).cum_sum())
    return runs.group_by("symbol", "run", maintain_order=True).agg(
        pl.col("start").min(), pl.col("end").max(), trades=pl.col("trade_id").n_unique()
    ).drop("run")  # fmt: skip


def covered(windows: pl.DataFrame, finer: Market) -> pl.Series:
    """Return the trades all of whose windows finer bars fill without a gap; symbols are the finer market's."""
    lacks = []
    for (symbol,), part in windows.group_by("symbol", maintain_order=True):
        number = finer.symbols.index(str(symbol)) if symbol in finer.symbols else -1
        first, last = finer.firsts[number : number + 2] if number >= 0 else (0, 0)
        start, end = (part[name].to_physical().to_numpy() for name in ("start", "end"))
        there = np.searchsorted(finer.times[first:last], end) - np.searchsorted(finer.times[first:last], start)
        step = int(finer.intervals[number]) if number >= 0 else 1
        lacks.append(part.filter(pl.Series(there * step < end - start))["trade_id"])
    ids = windows["trade_id"].unique(maintain_order=True)
    return ids.filter(~ids.is_in(pl.concat(lacks).unique().implode())) if lacks else ids


def spelled_as(finer: Market, market: Market) -> Market:
    """Return finer bars under the symbols of a market; symbols that it does not have are left out."""
    names = {found[0]: symbol for symbol in market.symbols if (found := same(symbol, finer.symbols))}
    if not names:
        theirs, ours = ", ".join(finer.symbols), ", ".join(market.symbols)
        raise DataError(f"has none of the symbols {ours}: there are {theirs}", argument="finer")
    bars = finer.bars.filter(pl.col("symbol").is_in(list(names)))
    renamed = bars.with_columns(pl.col("symbol").replace(names))
    return Market(renamed, market.funding, description=finer.description, price_venue=finer.price_venue)


def merged(rows: pl.DataFrame, finer: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a check, those that were checked on finer bars decided by them.

    Margins and leverages that hold must hold on both: they are those of the bars that ask for more.
    """
    both = rows.join(finer, on="trade_id", how="left", suffix="_finer", maintain_order="left")
    decided = pl.col("outcome_finer").is_not_null()
    harder = decided & (pl.col("margin_that_holds_finer") >= pl.col("margin_that_holds")).fill_null(False)
    columns = [
        pl.when(decided if name in DECIDED else harder).then(f"{name}_finer").otherwise(name).alias(name)
        for name in rows.columns
        if name != "trade_id"
    ]
    return both.with_columns(columns).select(rows.columns)


def within(finer: Market, windows: pl.DataFrame, market: Market) -> Market:
    """Return the finer bars of windows, and the openings at which funding is charged between them."""
    kept = np.zeros(finer.bars.height, np.bool_)
    for symbol, start, end, _ in united(windows).cast({"start": pl.Int64, "end": pl.Int64}).iter_rows():
        number = finer.symbols.index(symbol)
        first, last = finer.firsts[number : number + 2]
        a, b = first + np.searchsorted(finer.times[first:last], [start, end])
        kept[a:b] = True
    bars = finer.bars.filter(pl.Series(kept))
    prices = [name for name in bars.columns if name in market.bars.columns and name.endswith(PARTS)]
    bars = bars.select("symbol", "time", *prices)
    stamped = _stamped(market, bars["symbol"].unique().to_list()).select(
        "symbol", "time", *(pl.col(name[: -len(part)] + "open").alias(name) for name, part in map(_split, prices))
    )
    stamped = stamped.join(bars, on=["symbol", "time"], how="anti")
    return Market(
        pl.concat([bars, stamped]).sort("symbol", "time"),
        finer.funding,
        gap_limit=None,
        description=finer.description,
        price_venue=finer.price_venue,
    )


def require_same_prices(finer: Market, market: Market) -> None:
    """Refuse finer bars that do not open where the bars do that they are parts of.

    Raises
    ------
    DataError
        Where half of them open so far from there that they are of another market.
    """
    both = finer.bars.select("symbol", "time", own="open").join(
        market.bars.select("symbol", "time", "open"), on=["symbol", "time"]
    )
    distance = both.select((pl.col("own") / pl.col("open") - 1).abs().median()).item()
    if distance is not None and distance > TOO_FAR:
        raise DataError(
            f"must be of the same prices: half of the {both.height:,} finer bars that open with another open "
            f"{percent(distance)} or more from it",
            argument="finer",
        )


def _split(name: str) -> tuple[str, str]:
    return name, next(part for part in PARTS if name.endswith(part))


def _stamped(market: Market, symbols: list[str]) -> pl.DataFrame:
    """Return the bars of symbols at whose openings funding is charged."""
    kept = np.zeros(market.bars.height, np.bool_)
    if market.funding is not None:
        stamps = market.funding.select("symbol").with_columns(time=pl.Series(market.charge_times))
        for number, symbol in enumerate(market.symbols):
            first, last = market.firsts[number : number + 2]
            own = np.searchsorted(market.times[first:last], stamps.filter(symbol=symbol)["time"].to_numpy())
            kept[first + own[own < last - first]] = symbol in symbols
    return market.bars.filter(pl.Series(kept))


class Questions:
    """Answers of a check that the inside of bars decides, and finer bars that decide them.

    Parameters
    ----------
    placed, market : the trades, on the bars of the check
    finer : finer bars of the same prices, under any spelling of the symbols; None: questions are only listed
    """

    def __init__(self, placed: Placed, market: Market, finer: Market | None) -> None:
        self.placed, self.market = placed, market
        self.finer = None if finer is None else spelled_as(finer, market)
        if self.finer is not None:
            require_same_prices(self.finer, market)
        self.asked: dict[int, bool] = {}  #: trades, and whether finer bars decided each
        self._windows: list[pl.DataFrame] = []

    @property
    def windows(self) -> pl.DataFrame:
        """Windows whose finer bars are wanted: ``symbol, start, end, trades``."""
        still = [trade for trade, decided in self.asked.items() if not decided]
        nothing = pl.DataFrame(schema=WINDOWS)
        found = pl.concat([nothing, *(one.cast({"trade_id": pl.Int64}) for one in self._windows)]).unique()
        return united(found.filter(pl.col("trade_id").is_in(still)))

    def decided(self, rows: pl.DataFrame, on: Callable[[Placed, Market], pl.DataFrame]) -> pl.DataFrame:
        """Return rows of a check, those that finer bars decide as they do.

        Parameters
        ----------
        rows : of one venue and leverage
        on : returns the rows of some of the trades on other bars
        """
        ids = hidden(rows)
        if ids.is_empty():
            return rows
        trades = self.placed.trades.filter(pl.col("trade_id").is_in(ids.implode()))
        windows = windows_of(trades, self.placed.changes, self.market)
        self._windows.append(windows)
        if self.finer is not None:
            there = covered(windows, self.finer)
            if there.len():
                windows = windows.filter(pl.col("trade_id").is_in(there.implode()))
                rows = merged(rows, on(self._only(there), within(self.finer, windows, self.market)))
        still = set(hidden(rows).to_list())
        for trade in ids.to_list():
            self.asked[trade] = self.asked.get(trade, True) and trade not in still
        return rows

    def _only(self, ids: pl.Series) -> Placed:
        kept = pl.col("trade_id").is_in(ids.implode())
        return replace(
            self.placed, trades=self.placed.trades.filter(kept), changes=self.placed.changes.filter(kept)
        )

    @property
    def sentence(self) -> str:
        """How many answers hang on the inside of bars, and how many finer bars decided; empty for none."""
        if not self.asked:
            return ""
        length = duration(timedelta(milliseconds=int(self.market.intervals.max())))
        count, still = len(self.asked), self.windows
        said = f"{plural(count, 'answer')} hung on the inside of bars of {length}"
        if self.finer is not None:
            finer = duration(timedelta(milliseconds=int(self.finer.intervals.min())))
            said += f", bars of {finer} decided {sum(self.asked.values()):,}"
        elif self.market.intervals.max() > ONE_MINUTE:
            first = still.row(0, named=True)
            said += (
                f"; finer bars of {plural(still.height, 'window')} would decide, the first {first['symbol']} "
                f"from {moment(first['start'])} to {moment(first['end'])}"
            )
        return said
