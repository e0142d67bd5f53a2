"""Crowding: notional of a book that a small move would liquidate, bar by bar, from information known then.

A position counts from the first close at or after its entry until the bar of its outcome, with the part not yet
closed by its holder. Its level is the liquidation price *at its entry*: funding, which moves
that price later (30 days at 0.01 % by about 1 %), is left out. Levels are gathered in steps of a thousandth of the
price, and a range of prices includes the whole steps at both ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import sqrt
from typing import Literal, Unpack

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import USUAL, Changes, Conventions
from backtest.engine.sweep.sweep import sweep
from backtest.errors import ArgumentError
from backtest.kernel.choices import ContractKind
from backtest.kernel.margin.sizes import notional_of
from backtest.kernel.types import Floats, Integers
from backtest.market.market import Market
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import OPENED
from backtest.shown import shown
from backtest.study.prediction.indicators import DAY, Indicator, bar_length, realised_volatility
from backtest.study.prediction.labels import HOUR, fingerprint

__all__ = ["crowding", "levels", "liquidation_at_risk"]
__dir__ = __all__.copy

#: Width of a step of levels, in the logarithm of the price.
STEP = 1e-3

#: Step of positions that no positive price liquidates.
NOWHERE = np.iinfo(np.int64).min

#: Longs cannot lose more than all of the price.
FURTHEST = 0.99

SIDES = {"long": -1.0, "short": 1.0}  # direction from the mark to the levels of a side

Measure = Literal["notional", "share"]


@dataclass(frozen=True, eq=False)
@shown()
class SideLevels:
    """One side's levels in the order they enter, and in the order they leave."""

    step: Integers  #: (n,) of the level, or ``NOWHERE``
    quantity: Floats  #: (n,) base (quote for inverse) that entered
    leaving: Floats  #: (n,) of it, the quantity left at the outcome
    enters: Integers  #: (bars + 1,) row that each bar's entries begin at
    order: Integers  #: (n,) rows in the order they leave
    leaves: Integers  #: (bars + 1,) place in ``order`` that each bar's leavers begin at
    shares: Floats  #: (bars,) share of the side not closed by its holders in each bar


@dataclass(frozen=True, eq=False)
@shown()
class Levels:
    """Liquidation levels of a book, the bars each is open in, and the fingerprint of the book."""

    market: Market
    kind: str
    sides: dict[str, SideLevels]
    book: str  #: fingerprint


@checked
def levels(
    book: Book,
    market: Market,
    venue: Venue,
    *,
    conventions: Conventions = USUAL,
    **changes: Unpack[Changes],
) -> Levels:
    """Return a book's levels.

    Parameters
    ----------
    book, market, venue, conventions, **changes : as for ``sweep``; a market of one symbol

    Raises
    ------
    ArgumentError
        For a market of several symbols, and books with adjustments: the level at entry does not include them.

    Examples
    --------
    >>> from backtest.study import prediction
    >>> held = prediction.crowding.levels(book, market, venue)
    >>> {side: found.quantity.size for side, found in held.sides.items()}
    {'long': 514, 'short': 486}
    """
    bar_length(market)
    if book.adjustments is not None:
        raise ArgumentError("levels: the book has adjustments, which move levels after the entry: leave them out")
    conventions = conventions.with_(**changes)
    unfunded = market.without_funding()
    prices = sweep(Book(book.positions), unfunded, venue, conventions=conventions)["liquidation_price"]
    rows = sweep(book, market, venue, conventions=conventions).with_columns(liquidation_price=prices)
    sides = {name: _side(rows.filter(pl.col("side") == name), name, book.survival, market) for name in SIDES}
    return Levels(market, venue.contract(market.symbols[0]).kind, sides, fingerprint(book))


def crowding(levels: Levels, within: float = 0.05, *, measure: Measure = "notional", name: str = "") -> Indicator:
    """Return the open positions whose liquidation price lies within a fraction of the mark, on either side of it.

    Parameters
    ----------
    within : fraction of each close, above 0
    measure : ``notional`` at the mark (settlement currency), or its ``share`` of all open positions

    Examples
    --------
    >>> from backtest.study import prediction
    >>> held = prediction.crowding.levels(book, market, venue)
    >>> near = prediction.crowding.crowding(held, 0.05, measure="share")
    >>> near.name, round(near.values["value"].max(), 2)
    ('crowding within 5 %', 0.59)
    """
    if not 0 < within <= FURTHEST:
        raise ArgumentError(f"must lie above 0, up to {FURTHEST:g}, is {within!r}", argument="within")
    distance = np.full(levels.market.bars.height, within)
    near, everything = _within(levels, distance)
    return _indicator(levels, near.sum(axis=0), everything, measure, name or f"crowding within {100 * within:g} %")


def liquidation_at_risk(
    levels: Levels,
    deviations: float = 2.0,
    *,
    horizon: timedelta = HOUR,
    window: timedelta = DAY,
    measure: Measure = "notional",
    name: str = "",
) -> Indicator:
    """Return what a move of some standard deviations over a horizon would liquidate, on the worse side.

    Parameters
    ----------
    deviations : of returns over the horizon: realised volatility times the root of its bars
    window : over which volatility is measured
    measure : as in :func:`crowding`

    Examples
    --------
    >>> from backtest.study import prediction
    >>> held = prediction.crowding.levels(book, market, venue)
    >>> prediction.crowding.liquidation_at_risk(held, 2).name
    'liquidation at risk, 2 deviations'
    """
    bars = sqrt(horizon / bar_length(levels.market))
    moves = levels.market.bars.select(deviations * bars * realised_volatility(window)).to_series().to_numpy()
    near, everything = _within(levels, moves)
    called = name or f"liquidation at risk, {deviations:g} deviations"
    return _indicator(levels, near.max(axis=0), everything, measure, called)


def _indicator(levels: Levels, near: Floats, everything: Floats, measure: Measure, name: str) -> Indicator:
    if measure not in ("notional", "share"):
        raise ArgumentError(f"must be notional or share, is {measure!r}", argument="measure")
    bars = levels.market.bars
    close = bars["close"].to_numpy()
    with np.errstate(invalid="ignore"):  # a share of nothing is NaN
        value = near / everything if measure == "share" else near * _notional_of_one(levels.kind, close)
    known_at = bars["time"] + bar_length(levels.market)
    return Indicator(name, pl.DataFrame({"known_at": known_at, "value": value}), frozenset({levels.book}))


def _notional_of_one(kind: str, price: Floats) -> Floats:
    return np.broadcast_to(notional_of(ContractKind.code(kind), 1.0, price), price.shape)


def _within(levels: Levels, distance: Floats) -> tuple[Floats, Floats]:
    """Return open positions within a distance of each close, (2, bars) by side, and all open ones, (bars,)."""
    close = levels.market.bars["close"].to_numpy()
    known = np.isfinite(distance)
    near, everything = np.empty((2, close.size)), np.zeros(close.size)
    for row, (name, outward) in enumerate(SIDES.items()):
        far = close * (1 + outward * np.minimum(np.where(known, distance, 0.0), FURTHEST))
        ends = np.sort([_step_of(close), _step_of(far)], axis=0)
        near[row], own = _open_between(levels.sides[name], ends[0], ends[1])
        everything += own
    near[:, ~known] = np.nan
    return near, everything


def _open_between(side: SideLevels, low: Integers, high: Integers) -> tuple[Floats, Floats]:
    """Return (bars,) open positions between two steps at each close, both included, and all open ones.

    Bar by bar: positions with an outcome leave, a share of the others is closed, new entries are added. 0.6 s for
    43,000 bars and 300,000 levels.
    """
    somewhere = side.step > NOWHERE
    before = side.step[somewhere].min(initial=low.min()) - 1  # no range reaches it
    held = np.zeros(side.step.max(initial=high.max()) - before + 1)
    step, first, beyond = np.where(somewhere, side.step - before, 0), low - before, high - before + 1
    near, everything = np.empty(low.size), np.empty(low.size)
    total = 0.0
    for bar in range(low.size):
        left = side.order[side.leaves[bar] : side.leaves[bar + 1]]
        entered = slice(side.enters[bar], side.enters[bar + 1])
        np.subtract.at(held, step[left], side.leaving[left])
        held *= side.shares[bar]
        np.add.at(held, step[entered], side.quantity[entered])
        total = (total - side.leaving[left].sum()) * side.shares[bar] + side.quantity[entered].sum()
        near[bar], everything[bar] = held[first[bar] : beyond[bar]].sum(), total
    return np.maximum(near, 0.0), np.maximum(everything, 0.0)


def _side(rows: pl.DataFrame, name: str, survival: pl.DataFrame | None, market: Market) -> SideLevels:
    rows = rows.filter(OPENED)
    openings = market.times
    closes = openings + market.intervals[0]
    enters = np.searchsorted(closes, rows["entry_time"].to_physical().to_numpy())
    ends = rows["outcome_time"].to_physical().fill_null(np.iinfo(np.int64).max).to_numpy()
    leaves = np.searchsorted(openings, ends)
    seen = np.flatnonzero(enters < leaves)  # the others are closed before any bar closes
    seen = seen[np.argsort(enters[seen], kind="stable")]
    quantity = rows["quantity"].to_numpy()
    weight = rows["weight"].to_numpy() if "weight" in rows.columns else np.ones(rows.height)
    left = weight if survival is None else rows["surviving_weight"].to_numpy()
    order = np.argsort(leaves[seen], kind="stable")
    bars = np.arange(openings.size + 1)
    return SideLevels(
        step=_steps(rows["liquidation_price"])[seen],
        quantity=(quantity * weight)[seen],
        leaving=(quantity * left)[seen],
        enters=np.searchsorted(enters[seen], bars),
        order=order,
        leaves=np.searchsorted(leaves[seen][order], bars),
        shares=_shares(survival, name, market),
    )


def _shares(survival: pl.DataFrame | None, name: str, market: Market) -> Floats:
    """Return (bars,) the share of a side not closed by its holders in each bar."""
    ends = np.append(market.times, market.times[-1] + market.intervals[0])
    if survival is None:
        return np.ones(market.times.size)
    own = survival.filter(pl.col("symbol") == market.symbols[0])
    moments = own["time"].to_physical().to_numpy()
    at = np.minimum(np.searchsorted(moments, ends), moments.size - 1)
    return np.asarray(np.exp(np.diff(own[name].to_numpy()[at])))


def _steps(prices: pl.Series) -> Integers:
    return np.where(prices.is_not_null().to_numpy(), _step_of(prices.fill_null(1.0).to_numpy()), NOWHERE)


def _step_of(price: Floats) -> Integers:
    return np.floor(np.log(price) / STEP).astype(np.int64)
