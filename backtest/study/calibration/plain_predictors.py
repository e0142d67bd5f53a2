"""Plain predictors of a day's liquidations, from the same bars that an estimated book sees.

``hourly_product``: over the bars of a day, the sum of traded notional times the move against the side, for longs
(open − low) / open, for shorts (high − open) / open. ``squared_returns``: the sum of the squared logarithms of
close over open. ``range_volume``: the sum of (high − low) / open times traded notional. ``yesterday``: what was
recorded of the side on the day before. The second and third say the same of both sides.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from backtest.errors import DataError
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.study.calibration.records import daily_records

SIDES = ("long", "short")

#: The predictors from bars, and the one from the records themselves.
OF_BARS = ("hourly_product", "squared_returns", "range_volume")
YESTERDAY = "yesterday"


@checked
def baselines(market: Market, recorded: pl.DataFrame | None = None, *, symbol: str | None = None) -> pl.DataFrame:
    """Return plain predictors of the liquidations of each UTC day.

    Parameters
    ----------
    market
        Bars with ``volume`` in base units, of hours or finer.
    recorded
        As :func:`daily_records` takes it; without it there is no ``yesterday``.
    symbol
        The contract; the first of the market by default.

    Returns
    -------
    ``time`` (start of the UTC day), then ``long_`` and ``short_`` of ``hourly_product``, ``squared_returns``,
    ``range_volume`` and ``yesterday`` (null where the day before is not recorded).

    Raises
    ------
    DataError
        For bars without volume.

    Examples
    --------
    >>> from backtest.study.calibration import baselines
    >>> traded = bars.with_columns(volume=pl.lit(1_000.0))
    >>> plain = baselines(traded)
    >>> plain.columns[:3]
    ['time', 'long_hourly_product', 'short_hourly_product']
    """
    bars = bars_of(market, symbol, "baselines")
    opening, traded = pl.col("open"), pl.col("volume") * pl.col("close")
    moves = {"long": 1 - pl.col("low") / opening, "short": pl.col("high") / opening - 1}
    squared = (pl.col("close") / opening).log().pow(2)
    ranges = (pl.col("high") - pl.col("low")) / opening * traded
    columns = {f"{side}_hourly_product": traded * move for side, move in moves.items()}
    columns |= {f"{side}_{name}": value for name, value in
                (("squared_returns", squared), ("range_volume", ranges)) for side in SIDES}  # fmt: skip
    days = bars.group_by(pl.col("time").dt.truncate("1d")).agg(
        **{name: value.sum() for name, value in columns.items()}
    )
    days = days.sort("time")
    if recorded is None:
        return days
    before = daily_records(recorded).select(
        pl.col("time") + timedelta(days=1),
        *(pl.col(f"{side}_notional").alias(f"{side}_{YESTERDAY}") for side in SIDES),
    )
    return days.join(before, on="time", how="left", maintain_order="left")


def bars_of(market: Market, symbol: str | None, subject: str) -> pl.DataFrame:
    """Return the bars of one contract, which must have volume."""
    name = symbol or market.symbols[0]
    if name not in market.symbols:
        raise DataError(f"{name} is not in the market, which holds {', '.join(market.symbols)}")
    if "volume" not in market.bars.columns:
        raise DataError(f"bars need the column volume for {subject}, in base units")
    return market.bars.filter(pl.col("symbol") == name)
