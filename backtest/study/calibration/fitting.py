"""Leverage mix of each side fitted to recorded daily liquidations.

The loss of a mix is the mean over the days of ``(log(recorded + c) − log(book + c))²``: factors count, not
dollars, and ``c`` keeps quiet days from deciding. The opening share, the holding time and the damping are fixed
beforehand: together with the leverage they are not identified. So is the scale: the book is that of the bars' own
volume, so the records must be of the same venue, and complete (a feed that shows one order a second gives nothing
to fit amounts to).

A side has two parameters, evaluated on a grid and then refined. The loss on the grid is kept day by day, so
calendar blocks are redrawn and the fit repeated for nothing; what the profile and the bands leave open is not
identified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from backtest.amounts import plain
from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats
from backtest.market.market import Market
from backtest.population.flows import HOUR, SHARE, VolumeLaw
from backtest.population.open_interest import DAMPING
from backtest.population.side_mixes import MixBySide, SideMix
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.shown import shown
from backtest.study.calibration.model import DailyModel, one_contract
from backtest.study.calibration.plain_predictors import SIDES
from backtest.study.calibration.rank_scores import FEWEST_DAYS, WEEK
from backtest.study.calibration.records import daily_records
from backtest.study.stats.bootstrap import Resampling, Seed, blocks, resampling

#: The grid of the loss: typical leverages, and spreads.
TYPICAL = np.geomspace(1.0, 125.0, 33)
SPREADS = np.linspace(0.2, 2.6, 13)

#: Times that the grid is refined around its best point, each to a third of its width.
REFINEMENTS = 4

#: ``c`` of the loss, as a part of the median recorded day of both sides.
OFFSET = 0.1


@dataclass(frozen=True, eq=False)
@shown()
class Fit:
    """A fitted leverage mix, and how well the records identify it.

    ``bands`` has a row a side and parameter: ``side, parameter, estimate, low, high`` (95 %) and ``at_edge``,
    whether estimate or band lie at the end of the grid, so that the records do not bound the parameter.
    ``profile`` has a row a side, parameter and value: ``loss``, the least over the other parameter. ``surface``
    has the whole grid.
    """

    mix: MixBySide
    bands: pl.DataFrame
    profile: pl.DataFrame
    surface: pl.DataFrame  #: ``side, typical, spread, loss``
    daily: pl.DataFrame  #: ``time``, recorded ``long_notional, short_notional``, fitted ``long_book, short_book``
    offset: float  #: ``c`` of the loss, in quote currency
    drawn: pl.DataFrame  #: ``side, typical, spread``: the best mix of each redrawn history
    law: VolumeLaw  #: opening share, holding time and damping, fixed beforehand


@checked
def fit(
    recorded: pl.DataFrame,
    market: Market,
    venue: Venue,
    *,
    seed: Seed,
    symbol: str | None = None,
    opening_share: float = SHARE,
    mean_holding: timedelta = timedelta(hours=30),
    reopening_damping: timedelta = DAMPING,
    offset: float | None = None,
    length: timedelta = WEEK,
    draws: int = 499,
    tiers: Tiers = "strict",
    threads: int | None = None,
) -> Fit:
    """Return the leverage mix of each side whose book from volume loses what was recorded, day by day.

    Parameters
    ----------
    recorded
        As :func:`daily_records` takes it: complete liquidations of the contract on the venue whose volume the bars
        have. Keep days apart to judge the fit by: see :func:`validate`.
    market
        Bars of hours or finer with ``volume``, beginning some days before the records, so that the book is filled.
    venue, tiers, threads
        As for ``sweep``.
    seed, length, draws
        Of the bootstrap over calendar blocks.
    symbol
        The contract; the first of the market by default. Linear ones only.
    opening_share, mean_holding, reopening_damping
        Of the book from volume, fixed beforehand.
    offset
        ``c`` of the loss in quote currency; by default a tenth of the median recorded day of both sides.

    Raises
    ------
    DataError
        For fewer than 20 recorded days, days outside the bars, bars without volume, contracts that are not linear.

    Examples
    --------
    >>> from backtest.study.calibration import fit
    >>> dates = [f"2021-05-{day}" for day in range(11, 21)]
    >>> days = {"date": dates, "long_usd": [1e6] * 10, "short_usd": [1e6] * 10}
    >>> fit(days, bars.with_columns(volume=pl.lit(1_000.0)), "binance", seed=1)
    Traceback (most recent call last):
    backtest.errors.DataError: a fit needs 20 recorded days or more, has 10
    """
    days = daily_records(recorded)
    if days.height < FEWEST_DAYS:
        raise DataError(f"a fit needs {FEWEST_DAYS} recorded days or more, has {days.height}")
    own = one_contract(market, venue, symbol, days["time"])
    law = VolumeLaw(opening_share, mean_holding / HOUR, reopening_damping / HOUR, bounded=False)
    model = DailyModel.of(own, venue, days["time"], law, tiers=tiers, threads=threads)
    both = pl.concat([days["long_notional"], days["short_notional"]])
    c = OFFSET * float(both.median()) if offset is None else offset  # type: ignore[arg-type]
    if not 0 < c < np.inf:
        raise ArgumentError(f"must be above 0, is {c!r}", argument="offset")
    plan = resampling(days["time"], seed=seed, length=length, draws=draws)
    block = days.select(blocks(pl.col("time"), length)).to_series().to_numpy()
    weights = plan.counts[:, block - plan.first].astype(np.float64)
    fitted = {side: _Side.of(model, side, days[f"{side}_notional"].to_numpy(), c, weights) for side in SIDES}
    provenance = _provenance(own.symbols[0], days, law, c)
    mix = MixBySide.of(fitted["long"].best, fitted["short"].best, provenance=provenance)
    daily = days.with_columns(
        **{f"{side}_book": pl.Series(model.daily(side, fitted[side].best.shares())) for side in SIDES}
    )
    by_side = [list(one.frames(side, plan)) for side, one in fitted.items()]
    bands, profile, surface, drawn = (pl.concat(each) for each in zip(*by_side, strict=True))
    return Fit(mix, bands, profile, surface, daily, c, drawn, law)


@dataclass(frozen=True, eq=False)
class _Side:
    """The loss of one side."""

    loss: Floats  #: (typical, spreads) mean over the days
    drawn: Floats  #: (draws, 2) parameters that fit each draw best
    best: SideMix

    @classmethod
    def of(cls, model: DailyModel, side: str, recorded: Floats, offset: float, weights: Floats) -> _Side:
        """Return the losses on the grid, for the days and each draw, and the refined best.

        Parameters
        ----------
        weights : (1 + draws, days) how often each day is drawn; the first draw is the days as they were
        """
        target = np.log(recorded + offset)

        def squared(typical: float, spread: float) -> Floats:
            found = np.log(model.daily(side, SideMix(typical, spread).shares()) + offset)
            return np.asarray((target - found) ** 2)

        grid = list(product(TYPICAL.tolist(), SPREADS.tolist()))
        each = np.stack([squared(*point) for point in grid])
        totals = each @ weights.T  # (points, 1 + draws)
        drawn = np.array(grid)[totals[:, 1:].argmin(axis=0)]
        best = _refined(lambda *point: float(squared(*point).mean()), grid[int(totals[:, 0].argmin())])
        return cls(each.mean(axis=1).reshape(TYPICAL.size, SPREADS.size), drawn, SideMix(*best))

    def frames(self, side: str, plan: Resampling) -> Iterator[pl.DataFrame]:
        """Yield the bands, the profiles, the surface and the drawn mixes."""
        named = list(zip(("typical", "spread"), (TYPICAL, SPREADS), strict=True))
        rows = []
        for axis, (name, grid) in enumerate(named):
            band = plan.band(np.append(getattr(self.best, name), self.drawn[:, axis]))
            reach = (band.estimate, band.low, band.high)
            at_edge = bool(min(reach) <= grid[0] or max(reach) >= grid[-1])
            rows.append((side, name, *reach, at_edge))
        yield pl.DataFrame(rows, schema=_BANDS, orient="row")
        yield pl.concat(
            pl.DataFrame(
                {"side": side, "parameter": name, "value": values, "loss": self.loss.min(axis=1 - axis)},
            )
            for axis, (name, values) in enumerate(named)
        )
        typical, spread = np.meshgrid(TYPICAL, SPREADS, indexing="ij")
        yield pl.DataFrame(
            {"side": side, "typical": typical.ravel(), "spread": spread.ravel(), "loss": self.loss.ravel()}
        )
        yield pl.DataFrame({"side": side, "typical": self.drawn[:, 0], "spread": self.drawn[:, 1]})


_BANDS: dict[str, Any] = {
    "side": pl.String,
    "parameter": pl.String,
    **dict.fromkeys(("estimate", "low", "high"), pl.Float64),
    "at_edge": pl.Boolean,
}


def _refined(loss: Callable[[float, float], float], start: tuple[float, float]) -> tuple[float, float]:
    """Return the best point of grids that narrow around a point, a third of the width each time."""
    best, value = start, loss(*start)
    ratio, step = float(TYPICAL[1] / TYPICAL[0]), float(SPREADS[1] - SPREADS[0])
    for _ in range(REFINEMENTS):
        centre = best
        for up, across in product((-2, -1, 0, 1, 2), repeat=2):
            typical = min(max(centre[0] * ratio ** (up / 3), TYPICAL[0]), TYPICAL[-1])
            spread = min(max(centre[1] + across * step / 3, SPREADS[0]), SPREADS[-1])
            found = loss(float(typical), float(spread))
            if found < value:
                best, value = (float(typical), float(spread)), found
        ratio, step = ratio ** (1 / 3), step / 3
    return best


def _provenance(symbol: str, days: pl.DataFrame, law: VolumeLaw, offset: float) -> str:
    first, last = days["time"][0], days["time"][-1]
    return (
        f"fitted to {days.height} recorded days of {symbol}, {first:%Y-%m-%d} to {last:%Y-%m-%d}; "
        f"loss: mean squared difference of log(notional + {plain(round(offset))}); {plain(law.opening_share)} of "
        f"the volume opens, held {plain(law.holding)} h, re-opening damped for {plain(law.damping)} h"
    )
