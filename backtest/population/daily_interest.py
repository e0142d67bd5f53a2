"""Daily open interest, in dollars or coins, as a column of finer bars in coins."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats, Integers
from backtest.market.market import Market
from backtest.schemas.arguments import checked

Between = Literal["linear", "previous"]

#: Names of the column of open interest, and whether it is in quote currency.
AMOUNTS = {"open_interest": False, "open_interest_usd": True, "open_interest_quote": True}


@checked
def with_open_interest(
    market: Market, daily: pl.DataFrame, *, between: Between = "linear", symbol: str | None = None
) -> Market:
    """Return a market whose bars have open interest in base units, from figures by UTC day.

    Dollars are turned to coins by the mark's close of the day they are of: the value of open interest falls with
    the price alone. A figure is that of the end of its day.

    Parameters
    ----------
    market
        Bars; those before the end of the first day's, or after that of the last, keep the nearest figure.
    daily
        ``date`` (a date or text like 2021-05-19) or ``time``, and ``open_interest`` (base) or
        ``open_interest_usd`` (or ``_quote``), of one contract and of the venue whose volume the bars have.
    between
        ``linear``: drawn out between the ends of days, so a bar knows the day's end before it comes;
        ``previous``: of the day before, throughout the day.
    symbol
        The contract; needed where the market has several, of which only this one is returned.

    Raises
    ------
    DataError
        For missing columns, days given twice, amounts below zero, dollars of days without bars.
    ArgumentError
        For a market of several contracts without a symbol.

    Examples
    --------
    >>> from backtest.population import with_open_interest
    >>> days = {"date": ["2021-05-18", "2021-05-19"], "open_interest": [150_000.0, 120_000.0]}
    >>> known = with_open_interest(bars, days)
    >>> known.bars.filter(pl.col("time") == pl.datetime(2021, 5, 19, 11, time_zone="UTC"))["open_interest"].item()
    135000.0
    """
    if symbol is None and len(market.symbols) > 1:
        raise ArgumentError(f"must say which of {', '.join(market.symbols)}", argument="symbol")
    if symbol is not None and symbol not in market.symbols:
        raise ArgumentError(f"must be one of {', '.join(market.symbols)}, is {symbol!r}", argument="symbol")
    own = market if symbol is None else market.select([symbol])
    ends, amounts = _ends(daily, own)
    closes = own.times + int(own.intervals[0])
    if between == "linear":
        held = np.interp(closes, ends, amounts)
    else:
        held = amounts[np.maximum(np.searchsorted(ends, closes, side="left") - 1, 0)]
    bars = own.bars.with_columns(open_interest=pl.Series(held))
    return Market(
        bars, own.funding, gap_limit=own.gap_limit, description=own.description, price_venue=own.price_venue
    )


def _ends(daily: pl.DataFrame, market: Market) -> tuple[Integers, Floats]:
    """Return the ends of the days in ms, and the open interest there in base units."""
    names = [name for name in AMOUNTS if name in daily.columns]
    times = [name for name in ("time", "date") if name in daily.columns]
    if not names or not times:
        there = ", ".join(daily.columns) or "none"
        raise DataError(f"daily must have date or time, and one of {', '.join(AMOUNTS)} (there are {there})")
    day = daily[times[0]]
    if day.dtype == pl.String:
        day = day.str.to_date("%Y-%m-%d", strict=False)
    try:
        days = day.cast(pl.Date)
        amounts = daily[names[0]].cast(pl.Float64)
    except pl.exceptions.PolarsError:
        raise DataError(f"daily: {times[0]} must be dates and {names[0]} numbers") from None
    frame = pl.DataFrame({"day": days, "amount": amounts}).sort("day")
    bad = frame.filter(pl.col("day").is_null() | ~(pl.col("amount").is_finite() & (pl.col("amount") >= 0)))
    if bad.height or frame.is_empty() or frame["day"].n_unique() < frame.height:
        raise DataError(
            "daily needs a row a day, each once, with an amount of zero or more: "
            f"{bad.height or frame.height - frame['day'].n_unique():,} of {frame.height:,} rows are not"
        )
    if AMOUNTS[names[0]]:
        closes = market.bars.group_by(pl.col("time").dt.date().alias("day")).agg(pl.last("close"))
        frame = frame.join(closes, on="day", how="inner", maintain_order="left")
        if frame.is_empty():
            raise DataError("daily: dollars are turned to coins by the close of their day, and no day has bars")
        frame = frame.with_columns(pl.col("amount") / pl.col("close"))
    ends = (frame["day"].cast(pl.Datetime("ms")) + timedelta(days=1)).dt.epoch("ms")
    return ends.to_numpy(), frame["amount"].to_numpy()
