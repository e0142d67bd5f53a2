"""Funding rates, open interest with its ratios, and liquidation snapshots, as Binance's archives write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from backtest.market.repairs import Reading, Repairs
from backtest.market.sources.formats import delimited, tidy
from backtest.schemas.frames import Side

FUNDING = delimited.Layout(
    "funding",
    ("time", "interval_hours", "rate"),
    {"time": pl.Int64, "interval_hours": pl.Int64, "rate": pl.Float64},
    "time",
    (frozenset({"calc_time"}), frozenset({"funding_interval_hours"}), frozenset({"last_funding_rate"})),
)

#: The archive's names, and ours.
METRICS_NAMES = {
    "create_time": "time",
    "symbol": "symbol",
    "sum_open_interest": "open_interest",
    "sum_open_interest_value": "open_interest_value",
    "count_toptrader_long_short_ratio": "top_trader_account_ratio",
    "sum_toptrader_long_short_ratio": "top_trader_position_ratio",
    "count_long_short_ratio": "account_ratio",
    "sum_taker_long_short_vol_ratio": "taker_volume_ratio",
}
METRICS_VALUES = tuple(METRICS_NAMES.values())[2:]
METRICS = delimited.Layout(
    "metrics",
    tuple(METRICS_NAMES.values()),
    {"time": pl.Int64, "symbol": pl.String, **dict.fromkeys(METRICS_VALUES, pl.Float64)},
    "time",
    tuple(frozenset({name}) for name in METRICS_NAMES),
)
#: From this file on USD-M stamps are a period's start (binance-public-data issue 491); COIN-M's always were.
STAMPED_AT_START = datetime(2026, 6, 25, tzinfo=UTC)
PERIOD = timedelta(minutes=5)

LIQUIDATION_COLUMNS = (
    "time",
    "order_side",
    "order_type",
    "time_in_force",
    "quantity",
    "price",
    "average_price",
    "order_status",
    "last_fill_quantity",
    "filled_quantity",
)
LIQUIDATIONS = delimited.Layout(
    "liquidations",
    LIQUIDATION_COLUMNS,
    {
        "time": pl.Int64,
        "order_side": pl.String,
        "quantity": pl.Float64,
        "price": pl.Float64,
        "average_price": pl.Float64,
        "order_status": pl.String,
        "filled_quantity": pl.Float64,
    },
    "time",
    (frozenset({"time"}), frozenset({"side"})),
)


def read_funding(data: bytes, path: Path) -> Reading:
    """Return ``time, rate, interval_hours``. Stamps keep the milliseconds by which they are late."""
    frame = delimited.table(data, FUNDING, path)
    delimited.refuse(frame, ~pl.col("rate").is_finite(), "rate must be a finite number", ["time", "rate"], path)
    times, microseconds = delimited.stamps(frame["time"], path)
    frame, ordered = tidy.in_order(frame.with_columns(time=times).select("time", "rate", "interval_hours"))
    return Reading(frame, Repairs({"microseconds": microseconds, **ordered}))


def read_metrics(data: bytes, path: Path, *, stamped_at_start: bool | None = None) -> Reading:
    """Return open interest and ratios by the time they were known: the end of their five minutes.

    Open interest is in base units, its value in quote; of COIN-M in contracts and in base, as its interface is
    documented.

    Parameters
    ----------
    data, path : the file's contents and where they are from
    stamped_at_start : whether stamps are a period's start; None: by the file's first stamp, as USD-M changed
    """
    frame = delimited.table(data, METRICS, path)
    for name in METRICS_VALUES:
        wrong = pl.col(name).is_infinite() | (pl.col(name) < 0)
        delimited.refuse(frame, wrong.fill_null(False), f"{name} must be finite and not negative", [name], path)
    times, _ = delimited.stamps(frame["time"], path)
    early = _stamped_at_start(times, stamped_at_start)
    known_at = pl.select(pl.when(early).then(times + PERIOD).otherwise(times)).to_series()
    frame, ordered = tidy.in_order(frame.with_columns(time=known_at.cast(times.dtype)))
    frame, emptied = without_empty_values(frame)
    return Reading(frame, Repairs({"shifted": int(early.sum()), **ordered, **emptied}))


def without_empty_values(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return metrics with null for open interest of zero, and how many values were zero or no numbers."""
    frame = frame.with_columns(pl.col(name).fill_nan(None) for name in METRICS_VALUES if name in frame.columns)
    stocks = [name for name in METRICS_VALUES[:2] if name in frame.columns]
    values = [name for name in METRICS_VALUES if name in frame.columns]
    zero = sum(int((frame[name] == 0).sum()) for name in stocks)
    blank = sum(frame[name].null_count() for name in values)
    nulled = (pl.when(pl.col(name) != 0).then(pl.col(name)).alias(name) for name in stocks)
    return frame.with_columns(nulled), {"zero": zero, "blank": blank}


def read_liquidations(data: bytes, path: Path) -> Reading:
    """Return one row a liquidation order, with the side of the position: a sold order closed a long.

    The venue writes every row exactly twice, and at most one order a second and symbol: a lower bound.
    """
    frame = delimited.table(data, LIQUIDATIONS, path)
    known = pl.col("order_side").is_in(["BUY", "SELL"])
    delimited.refuse(frame, ~known, "side must be BUY or SELL", ["time", "order_side"], path)
    times, _ = delimited.stamps(frame["time"], path)
    frame = frame.with_columns(
        time=times, side=pl.when(pl.col("order_side") == "SELL").then(pl.lit("long")).otherwise(pl.lit("short"))
    )
    unsorted = int((frame["time"] < frame["time"].cum_max().shift(1)).sum())
    once = frame.unique(maintain_order=True).sort("time", maintain_order=True)
    once = once.select("time", pl.col("side").cast(Side), *(name for name in frame.columns[2:] if name != "side"))
    return Reading(once, Repairs({"unsorted": unsorted, "doubled": frame.height - once.height}))


def _stamped_at_start(times: pl.Series, known: bool | None) -> pl.Series:
    """Return which stamps are a period's start.

    Two files share the stamp at which USD-M changed: one ends with it, the next begins with it. Where both stand
    in one file the second is a period's start.
    """
    first, last = times.min(), times.max()
    if known is not None or not isinstance(first, datetime) or first >= STAMPED_AT_START:
        return pl.repeat(known is not False, times.len(), eager=True, dtype=pl.Boolean)
    if not isinstance(last, datetime) or last <= STAMPED_AT_START:  # a stamp that stands twice is doubled
        return pl.repeat(False, times.len(), eager=True, dtype=pl.Boolean)
    return (times > STAMPED_AT_START) | ((times == STAMPED_AT_START) & ~times.is_first_distinct())
