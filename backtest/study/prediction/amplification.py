"""Amplification of price shocks by liquidations: open liquidation levels against order-book depth.

When the price passes one unit, the open notional at that price is liquidated, and the order book absorbs its depth
there: R(p) = liquidation notional per unit price / book depth per unit price. A shock d moves the price by d, the
liquidations it triggers by R d, and so on: d (1 + R + R^2 + ...) = d / (1 - R). From R = 1 on the sum diverges:
marked ``runaway``, without a number. (After Bankman-Fried, 13 March 2020, of BitMEX: $1 m for 25 basis points of
book against a constant $10 m of liquidations.)

This looks forward, from an exogenous shock. An observed move already contains its cascade: feeding it forward
would count the cascade twice, so :func:`march` refuses shocks not declared exogenous. For a history, study its
path without its liquidations: ``study.liquidations.without_liquidations``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats
from backtest.schemas.arguments import checked

__all__ = ["by_level", "constant_depth", "march", "relative_depth"]
__dir__ = __all__.copy

MILLION, BASIS_POINT = 1e6, 1e-4

#: Depth of an order book, in notional a unit of price: an expression of ``price``, or a frame ``price, depth``.
Depth = pl.Expr | pl.DataFrame


def constant_depth(notional: float) -> pl.Expr:
    """Return the same depth at every price, in quote a unit of price.

    Examples
    --------
    >>> from backtest.study import prediction
    >>> depth = prediction.amplification.constant_depth(1e6)
    >>> pl.DataFrame({"price": [40_000.0, 50_000.0]}).select(depth).to_series().unique().to_list()
    [1000000.0]
    """
    return pl.lit(_positive("notional", notional)).alias("depth")


def relative_depth(basis_points_per_million: float) -> pl.Expr:
    """Return the depth of an order book that a million quote moves by this many basis points at any price.

    Examples
    --------
    >>> from backtest.study import prediction
    >>> depth = prediction.amplification.relative_depth(25)
    >>> pl.DataFrame({"price": [40_000.0, 50_000.0]}).select(depth).to_series().round().to_list()
    [10000.0, 8000.0]
    """
    points = _positive("basis_points_per_million", basis_points_per_million)
    return (MILLION / (points * BASIS_POINT * pl.col("price"))).alias("depth")


@checked
def by_level(levels: pl.DataFrame, *, width: float, depth: Depth) -> pl.DataFrame:
    """Return the amplification of a move by the liquidations of each level it passes.

    Parameters
    ----------
    levels : ``price_bin`` (lower edge), open ``notional`` in [edge, edge + width), a row a side
    width : quote per base
    depth : of the side that liquidations trade into; a frame is interpolated linearly, constant beyond its ends

    Returns
    -------
    The levels with ``depth`` at their middle, ``ratio``, ``runaway`` (ratio of 1 or more) and ``amplification``,
    null where runaway.

    Examples
    --------
    >>> from backtest.study import prediction
    >>> levels = pl.DataFrame({"price_bin": [39_000.0, 38_000.0], "notional": [4e6, 2e7]})
    >>> depth = prediction.amplification.constant_depth(1e4)
    >>> found = prediction.amplification.by_level(levels, width=1_000, depth=depth)
    >>> found.select("ratio", "runaway", "amplification")
    shape: (2, 3)
    ┌───────┬─────────┬───────────────┐
    │ ratio ┆ runaway ┆ amplification │
    │ ---   ┆ ---     ┆ ---           │
    │ f64   ┆ bool    ┆ f64           │
    ╞═══════╪═════════╪═══════════════╡
    │ 0.4   ┆ false   ┆ 1.666667      │
    │ 2.0   ┆ true    ┆ null          │
    └───────┴─────────┴───────────────┘
    """
    _check_levels(levels, width)
    middles = levels.select(price=pl.col("price_bin") + width / 2)
    ratio = pl.col("notional") / width / pl.col("depth")
    return (
        levels.with_columns(depth=_depths(middles, depth))
        .with_columns(ratio=ratio)
        .with_columns(runaway=pl.col("ratio") >= 1)
        .with_columns(amplification=pl.when(~pl.col("runaway")).then(1 / (1 - pl.col("ratio"))))
    )


@checked
def march(
    levels: pl.DataFrame,
    shocks: Sequence[float],
    *,
    price: float,
    side: int,
    width: float,
    depth: Depth,
    exogenous: bool = False,
) -> pl.DataFrame:
    """Return the moves that shocks end with: the chain summed where levels and depth vary.

    A shock is the notional that alone would move the price so far. To pass dp the order book absorbs D dp of the
    sales and liquidations add L dp to them, so the price stops where the sum of (D - L) dp is the shock's
    notional.
    With L and D the same everywhere that is shock / (1 - R).

    Parameters
    ----------
    levels : ``price_bin``, ``notional``, and ``side`` where both are there; no row without open notional
    shocks : quote per base, above zero: moves without any liquidation
    price : at the start, quote per base; levels on its other side are left alone
    side : +1 longs, the price falls; -1 shorts, it rises
    width, depth : as in :func:`by_level`
    exogenous : True declares that no shock is an observed move

    Returns
    -------
    A row a shock: ``shock``, ``runaway`` (no stop above zero, or below twice the price), and, null where runaway,
    ``stop_price``, ``move``, ``amplification`` (move / shock), ``liquidated_notional``.

    Raises
    ------
    ArgumentError
        Unless exogenous: an observed move already contains the liquidations it caused.

    Examples
    --------
    >>> from backtest.study import prediction
    >>> levels = pl.DataFrame({"price_bin": [39_000.0, 38_000.0], "notional": [4e6, 2e6]})
    >>> depth = prediction.amplification.constant_depth(1e4)
    >>> found = prediction.amplification.march(
    ...     levels, [500], price=40_000, side=1, width=1_000, depth=depth, exogenous=True
    ... )
    >>> found.select("shock", pl.col("move").round(1), "runaway").row(0)
    (500.0, 833.3, False)
    """
    if not exogenous:
        raise ArgumentError(
            "must be True: feeding liquidations forward is for shocks from outside, an observed move "
            "already contains its cascade; for a history, see study.liquidations.without_liquidations",
            argument="exogenous",
        )
    if side not in (1, -1):
        raise ArgumentError(f"must be +1 (longs) or -1 (shorts), is {side!r}", argument="side")
    _check_levels(levels, width)
    ladder = _ladder(levels, _positive("price", price), side, width, depth)
    stops = [(float(shock), *_stop(ladder, _positive("shock", shock))) for shock in shocks]
    columns = dict.fromkeys(("shock", "move", "liquidated_notional"), pl.Float64)
    return pl.DataFrame(stops, schema=columns, orient="row").select(
        "shock",
        "move",
        "liquidated_notional",
        runaway=pl.col("move").is_null(),
        stop_price=price - side * pl.col("move"),
        amplification=pl.col("move") / pl.col("shock"),
    )


@dataclass(frozen=True, eq=False)
class _Ladder:
    """Stretches of price in the order a move passes them."""

    length: Floats  #: quote per base
    depth: Floats  #: quote a unit of price
    density: Floats  #: open notional, quote a unit of price


def _ladder(levels: pl.DataFrame, price: float, side: int, width: float, depth: Depth) -> _Ladder:
    if "side" in levels.columns:
        levels = levels.filter(pl.col("side").cast(pl.String) == ("long" if side == 1 else "short"))
    first = int(price // width)
    bins = np.arange(first, -1, -1) if side == 1 else np.arange(first, 2 * first + 1)
    open_notional = levels.group_by(bin=(pl.col("price_bin") / width).round().cast(pl.Int64)).agg(
        pl.col("notional").sum()
    )
    grid = (
        pl.DataFrame({"bin": bins}).join(open_notional, on="bin", how="left", maintain_order="left").fill_null(0.0)
    )
    length = np.full(bins.size, width)
    length[0] = price - first * width if side == 1 else (first + 1) * width - price
    middles = grid.select(price=(pl.col("bin") + 0.5) * width)
    return _Ladder(length, _depths(middles, depth).to_numpy(), grid["notional"].to_numpy() / width)


def _stop(ladder: _Ladder, shock: float) -> tuple[float | None, float | None]:
    """Return the move a shock ends with and what it liquidated, None where no stretch stops it."""
    ends = np.cumsum(ladder.length)
    if shock >= ends[-1]:
        raise ArgumentError(
            f"must be smaller than the {ends[-1]:,.10g} between price and the end, is {shock}", argument="shock"
        )
    budget = np.interp(shock, np.append(0, ends), np.append(0, np.cumsum(ladder.depth * ladder.length)))
    net = ladder.depth - ladder.density
    taken = np.cumsum(net * ladder.length)
    last = int(np.searchsorted(np.maximum.accumulate(taken), budget))
    if last == taken.size:
        return None, None
    inside = (budget - (taken[last - 1] if last else 0.0)) / net[last]
    passed = ladder.length[:last]
    liquidated = ladder.density[:last] @ passed + ladder.density[last] * inside
    return float(passed.sum() + inside), float(liquidated)


def _depths(prices: pl.DataFrame, depth: Depth) -> pl.Series:
    """Return the depth at each ``price``."""
    if isinstance(depth, pl.Expr):
        found = prices.with_columns(depth=depth)["depth"]
    else:
        curve = depth.sort("price")
        known = curve["price"].to_numpy(), curve["depth"].to_numpy()
        found = pl.Series("depth", np.interp(prices["price"].to_numpy(), *known))
    if not (found.is_finite() & (found > 0)).all():
        raise DataError("depth must be finite and above zero at every price used")
    return found


def _check_levels(levels: pl.DataFrame, width: float) -> None:
    _positive("width", width)
    good = (pl.col("notional") >= 0) & pl.col("notional").is_finite()
    if not levels.select(good.fill_null(False).all()).item():
        raise DataError("levels: notional must be finite and not negative")


def _positive(name: str, value: float) -> float:
    if not (np.isfinite(value) and value > 0):
        raise ArgumentError(f"must be finite and above zero, is {value!r}", argument=name)
    return float(value)
