"""Liquidation at risk: open positions that a price move of a given size would liquidate.

There are two definitions. By price move, after the liquidation sensitivity of lending protocols (Perez et al.,
Financial Cryptography 2021, arXiv 2009.13235): LaR(d), the notional of open positions that a move of d
against them liquidates. By history, as value at risk: the quantile of the notional liquidated within a horizon.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import polars as pl

from backtest.engine.notional import notional_at
from backtest.errors import ArgumentError
from backtest.schemas.arguments import checked
from backtest.schemas.frames import OPENED
from backtest.study.liquidations.exact_sums import require, weight
from backtest.study.liquidations.flow import PARTS
from backtest.study.liquidations.imbalance import step
from backtest.study.units import in_currency, total, whole_units

__all__ = ["by_horizon", "by_move", "standing"]
__dir__ = __all__.copy

#: Moves of the price, as fractions of it.
MOVES = tuple(percent / 200 for percent in range(1, 101))

#: Shares of the windows that a quantile is not exceeded in.
LEVELS = (0.5, 0.9, 0.95, 0.99, 0.999)

#: Outcomes that can occur after a bar's open. An exit occurs at the open.
INSIDE_A_BAR = ("liquidated", "stopped", "took_profit")


@checked
def standing(
    outcomes: pl.DataFrame,
    bars: pl.DataFrame,
    moment: datetime,
) -> pl.LazyFrame:
    """Return the positions open at a moment, with their distance to liquidation.

    The moment is the open of each symbol's last bar to open at or before it, valued at that open. A position is
    open if it was entered by then and had its outcome later; one liquidated or stopped inside that bar is still
    open at its open.

    Outcomes carry one liquidation price, that of the last bar tested, and the quantity as entered. So the price
    is not that of the moment: the funding charged since has moved it, as a share of the price by about the sum of
    the rates. Where holders changed margin or quantity, it is the later price. An indicator that may know nothing
    of the future therefore needs positions without adjustments and a market without funding, or a book swept only
    up to the moment.

    Parameters
    ----------
    outcomes : as ``sweep`` returns them
    bars : ``symbol, time, open`` of the mark price

    Returns
    -------
    The open rows, with ``mark_price``, ``weight``, ``notional`` at the mark (settlement currency) and
    ``distance``: the move against the holder, as a fraction of the mark, that liquidates. Negative where the bar
    opened beyond the liquidation price; null where no positive price liquidates.

    Examples
    --------
    >>> from backtest.study.prediction import liquidation_at_risk
    >>> found = liquidation_at_risk.standing(outcomes, bars, noon).collect()
    >>> found.height, round(found["distance"].median(), 3)
    (26, 0.15)
    """
    require(outcomes, "contract_kind")
    known = bars.lazy().filter(pl.col("time") <= moment).sort("time").group_by("symbol")
    marks = known.agg(opening=pl.col("time").last(), mark_price=pl.col("open").last())
    opening, ended = pl.col("opening"), pl.col("outcome_time")
    still = ended.is_null() | (ended > opening)
    inside = (ended == opening) & pl.col("outcome").cast(pl.String).is_in(INSIDE_A_BAR)
    side = pl.when(pl.col("side") == "long").then(1.0).otherwise(-1.0)
    return (
        outcomes.lazy()
        .join(marks, on="symbol", maintain_order="left")
        .filter(OPENED, pl.col("entry_time") <= opening, still | inside)
        .with_columns(
            weight(outcomes),
            notional=notional_at("mark_price"),
            distance=side * (1 - pl.col("liquidation_price") / pl.col("mark_price")),
        )
    )


@checked
def by_move(
    outcomes: pl.DataFrame,
    bars: pl.DataFrame,
    moment: datetime,
    moves: Sequence[float] = MOVES,
    *,
    unit: float = 0.01,
) -> pl.DataFrame:
    """Return the notional a price move would liquidate: of longs if the price fell by it, of shorts if it rose.

    Parameters
    ----------
    outcomes, bars, moment : as in :func:`standing`, with what is assumed there
    moves : fractions of the mark price, above zero, rising
    unit : settlement currency that amounts are rounded to before they are added up

    Returns
    -------
    ``move``; ``long_notional``, ``short_notional`` (at the mark of the moment); ``long_share``, ``short_share`` of
    all open positions, both sides, NaN without open positions.

    Examples
    --------
    >>> from backtest.study.prediction import liquidation_at_risk
    >>> found = liquidation_at_risk.by_move(outcomes, bars, noon - timedelta(days=1), [0.02, 0.1])
    >>> found.select("move", pl.col("long_share").round(3)).rows()
    [(0.02, 0.0), (0.1, 0.015)]
    """
    if not moves or not all(low < high for low, high in pairwise((0, *moves))):
        raise ArgumentError("must be fractions above zero, rising", argument="moves")
    book = standing(outcomes, bars, moment)
    units = whole_units(pl.col("notional") * pl.col("weight"), unit)
    rows = book.select("side", "distance", units=units).collect()
    whole = rows.select(total(pl.col("units"))).item()
    reach = pl.Series(moves).search_sorted(rows["distance"], side="left")
    steps = rows.lazy().with_columns(reach=reach).drop_nulls("distance").group_by("reach")
    sides = {name: total(pl.col("units").filter(pl.col("side") == name)) for name in ("long", "short")}
    return (
        pl.LazyFrame({"move": moves})
        .with_row_index("reach")
        .join(steps.agg(**sides), on="reach", how="left", maintain_order="left")
        .with_columns(pl.col(*sides).fill_null(0).cum_sum())
        .select(
            "move",
            *(in_currency(pl.col(name), unit).alias(f"{name}_notional") for name in sides),
            *((pl.col(name) / pl.lit(whole, pl.Float64)).alias(f"{name}_share") for name in sides),
        )
        .collect()
    )


@checked
def by_horizon(
    flow: pl.DataFrame, horizon: timedelta, levels: Sequence[float] = LEVELS, *, unit: float = 0.01
) -> pl.DataFrame:
    """Return quantiles of the notional liquidated within a horizon, over every window of the history.

    The quantile is the least amount that at least that part of the windows did not exceed. Windows begin in every
    interval and overlap: ``independent`` of them do not, and a level beyond 1 - 1 / independent rests on one
    event.

    Parameters
    ----------
    flow : as ``flow.by_interval`` returns it
    horizon : a whole number of its intervals
    levels : shares of the windows, above 0, up to 1
    unit : settlement currency that amounts are rounded to before they are added up

    Returns
    -------
    ``level``; ``long_notional``, ``short_notional``, ``notional``, each its own quantile, so that sides do not add
    up; ``windows``, ``independent``.

    Examples
    --------
    >>> from backtest.study.prediction import liquidation_at_risk
    >>> from backtest.study import liquidations
    >>> start, end = bars["time"].min(), bars["time"].max()
    >>> flow = liquidations.by_interval(outcomes, start=start, end=end, every="1h")
    >>> found = liquidation_at_risk.by_horizon(flow, timedelta(hours=4), [0.5, 0.99])
    >>> found.select("level", pl.col("notional").round()).rows()
    [(0.5, 1383.0), (0.99, 298471.0)]
    """
    width, rest = divmod(horizon, step(flow))
    if rest or not 1 <= width <= flow.height:
        raise ArgumentError(
            f"must be whole intervals of the flow, from one to all of it, is {horizon}", argument="horizon"
        )
    if not all(0 < level <= 1 for level in levels):
        raise ArgumentError(f"must lie above 0, up to 1, are {list(levels)}", argument="levels")
    columns = [f"{part}notional" for part in PARTS]
    sums = in_currency(whole_units(pl.col(columns), unit).cast(pl.Int128).rolling_sum(width), unit)
    windows = flow.lazy().select(sums).slice(width - 1).select(pl.all().sort())
    count = flow.height - width + 1
    # within rounding, so that 0.95 of 100 windows is the 95th
    ranks = [max(0, math.ceil(level * count - 1e-9) - 1) for level in levels]
    return (
        windows.select(pl.all().gather(ranks))
        .select(pl.Series("level", levels), pl.all(), windows=count, independent=flow.height // width)
        .collect()
    )
