"""Wealth over leverage and over the share of it that each trade's margin is.

With a share f of wealth as the margin of each trade, one after the other, wealth is multiplied by 1 + f r, with r
the trade's return on its margin at a leverage. With everything on one isolated trade (f = 1) a single liquidation
is ruin, so leverage and share are chosen together. The share that makes wealth grow fastest solves
sum r / (1 + f r) = 0 (Kelly 1956; Breiman 1961); trades that win b or lose all, with probability p of winning,
have f = p - (1 - p) / b.

Trades that overlap are taken one after the other, in order of their ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats, Integers
from backtest.schemas.arguments import checked

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

#: Trades of all draws that are multiplied at a time, so that memory does not grow with the list.
AT_A_TIME = 4_000_000


@checked
def curve(
    returns: pl.DataFrame,
    shares: Sequence[float] = SHARES,
    *,
    ruin: float = 0.5,
    length: int | None = None,
    draws: int = 999,
    confidence: float = 0.95,
    seed: int = 1,
) -> pl.DataFrame:
    """Return what becomes of wealth, over leverage and share.

    Parameters
    ----------
    returns
        As :func:`returns` makes them: ``leverage, return, liquidated``, in order within each leverage.
    shares
        Of wealth, each trade's margin; from 0 to 1.
    ruin
        Wealth, as a fraction of the first, at or below which a history counts as ruin.
    length
        Of a block of consecutive trades that are drawn together; None: the third root of their number, rounded.
    draws
        Histories of as many trades, drawn with replacement in blocks that wrap around the list's end.
    confidence, seed
        Of the bands, and of the draws, which are the same at every leverage and share.

    Returns
    -------
    A row a leverage and share: ``leverage, share, trades, liquidated_share``; ``end_wealth`` (of 1 at first) and
    ``deepest_fall`` (largest fall from a highest wealth, a fraction), each with ``_low, _high``;
    ``growth`` (mean log growth a trade, minus infinity at zero wealth), ``growth_low, growth_high``; and
    ``ruin_probability``, the share of drawn histories in which wealth was ever at or below ``ruin``.

    Raises
    ------
    ArgumentError
        For shares, a ruin or a confidence out of range.
    DataError
        Where there are no trades, or returns below -1.

    Examples
    --------
    >>> from backtest.study import leverage
    >>> coin = pl.DataFrame({"leverage": 10.0, "return": [1.2, -1.0, 1.2, 1.2, -1.0], "liquidated": False})
    >>> leverage.curve(coin, [0.1, 0.5], draws=0).select("share", pl.col("end_wealth").round(3)).rows()
    [(0.1, 1.138), (0.5, 1.024)]
    """
    _require(returns, shares, ruin, confidence, draws, length)
    rows = []
    for (leverage,), own in returns.group_by("leverage", maintain_order=True):
        r = own["return"].to_numpy()
        for share in shares:
            found = _measures(1.0 + share * r[None], ruin)
            row = {"leverage": leverage, "share": float(share), "trades": r.size}
            row["liquidated_share"] = own["liquidated"].mean()
            row |= {name: float(each[0]) for name, each in found.items()}
            row["ruin_probability"] = None
            rows.append(row | _bands(r, share, ruin, length, draws, confidence, seed))
    floats = {name for row in rows for name in row} - {"trades"}
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(floats, pl.Float64)).drop("ruined")


def _require(
    returns: pl.DataFrame, shares: Sequence[float], ruin: float, confidence: float, draws: int, length: int | None
) -> None:
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise ArgumentError(f"must lie between 0 and 1, are {list(shares)!r}", argument="shares")
    for name, value in (("ruin", ruin), ("confidence", confidence)):
        if not 0 <= value < 1:
            raise ArgumentError(f"must lie between 0 and 1, is {value!r}", argument=name)
    if draws < 0:
        raise ArgumentError(f"must not be below zero, is {draws!r}", argument="draws")
    if length is not None and length < 1:
        raise ArgumentError(f"must be at least one trade, is {length!r}", argument="length")
    absent = [name for name in ("leverage", "return", "liquidated") if name not in returns.columns]
    if absent:
        raise DataError(f"returns have no column {absent[0]}: study.leverage.returns makes them")
    if returns.is_empty():
        raise DataError("returns must hold at least one trade, there is none")
    bad = returns.filter(~(pl.col("return") >= -1) | ~pl.col("return").is_finite() | pl.col("return").is_null())
    if bad.height:
        raise DataError(
            f"return must be a number of at least -1: {bad.height:,} of {returns.height:,} rows are not, first "
            f"{bad['return'][0]!r}"
        )


def _measures(factors: Floats, ruin: float) -> dict[str, Floats]:
    """Return the measures of histories, a row each, of the factors that multiply wealth."""
    wealth = np.cumprod(factors, axis=1)
    highest = np.maximum(np.maximum.accumulate(wealth, axis=1), 1.0)
    with np.errstate(divide="ignore"):
        growth = np.log(wealth[:, -1]) / factors.shape[1]
    return {
        "end_wealth": wealth[:, -1],
        "deepest_fall": (1.0 - wealth / highest).max(axis=1),
        "growth": growth,
        "ruined": (wealth <= ruin).any(axis=1).astype(np.float64),
    }


def _bands(
    r: Floats, share: float, ruin: float, length: int | None, draws: int, confidence: float, seed: int
) -> dict[str, float]:
    """Return the band of each measure, and how often drawn histories were ruined."""
    if not draws:
        return {}
    parts = [_measures(1.0 + share * r[places], ruin) for places in _drawn(r.size, length, draws, seed)]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    edges = [(1 - confidence) / 2, (1 + confidence) / 2]
    bands: dict[str, float] = {}
    for name in ("end_wealth", "deepest_fall", "growth"):
        # an order statistic: at minus infinity there is nothing between two
        low, high = np.quantile(found[name], edges, method="nearest")
        bands |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return bands | {"ruin_probability": float(found["ruined"].mean())}


def _drawn(count: int, length: int | None, draws: int, seed: int) -> Iterator[Integers]:
    """Yield (draws, count) places of trades, some draws at a time: blocks that wrap around the end."""
    rng = np.random.default_rng(seed)
    size = min(count, length or max(1, round(count ** (1 / 3))))
    blocks = -(-count // size)
    for first in range(0, draws, max(1, AT_A_TIME // count)):
        some = min(draws - first, max(1, AT_A_TIME // count))
        starts = rng.integers(0, count, (some, blocks))
        places = (starts[:, :, None] + np.arange(size)) % count
        yield places.reshape(some, blocks * size)[:, :count]


@checked
def growth_optimal(returns: pl.DataFrame) -> pl.DataFrame:
    """Return the share of wealth that makes it grow fastest, at each leverage.

    Parameters
    ----------
    returns
        As :func:`returns` makes them.

    Returns
    -------
    ``leverage, share, growth`` (mean log growth a trade); zero where no share grows; ``best`` marks the row of the
    highest growth.

    Raises
    ------
    DataError
        As :func:`curve`.

    Examples
    --------
    >>> from backtest.study import leverage
    >>> coin = pl.DataFrame({"leverage": 10.0, "return": [1.2, -1.0, 1.2, 1.2, -1.0], "liquidated": False})
    >>> leverage.growth_optimal(coin).select(pl.col("share").round(6), "best").row(0)  # 0.6 - 0.4 / 1.2
    (0.266667, True)
    """
    _require(returns, [0.0], 0.0, 0.0, 0, None)
    rows = []
    for (leverage,), own in returns.group_by("leverage", maintain_order=True):
        r = own["return"].to_numpy()
        share = _optimal_share(r)
        with np.errstate(divide="ignore"):
            rows.append({"leverage": leverage, "share": share, "growth": float(np.log1p(share * r).mean())})
    schema = dict.fromkeys(("leverage", "share", "growth"), pl.Float64)
    return pl.DataFrame(rows, schema=schema).with_columns(best=pl.col("growth") == pl.col("growth").max())


def _optimal_share(r: Floats) -> float:
    """Return the share from 0 to 1 at which mean log growth is highest: its slope falls with the share."""

    def slope(share: float) -> float:
        with np.errstate(divide="ignore"):
            return float((r / (1.0 + share * r)).sum())

    if slope(0.0) <= 0:
        return 0.0
    low, high = 0.0, 1.0
    if slope(1.0) >= 0:
        return 1.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return low
