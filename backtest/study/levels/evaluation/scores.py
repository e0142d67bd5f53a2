"""Score of a level map: how well it predicts where liquidations will be.

At each sample time the bins within reach of the price are ranked by the notional that the map holds in them. The
ranks are compared with the liquidations over the horizon that follows, from an *independent source*
(:class:`~.labels.MapLabels`). Two measures, both weighted by notional:

- ``area``: the share of the bins that the map held emptier than the one where a dollar was liquidated (ties half);
  0.5 is no information;
- ``captured``: the share of the dollars liquidated in the fullest tenth of the bins; 0.1 is none.

Most of the skill of any map is that price stays near where it is. So each measure is taken twice: over all bins
within reach, and over the bins that the price *touched*, where only the crowding can help. The map is compared
with predictors that know no positions:

- ``uniform``: all bins alike;
- ``volatility``: the chance that a random walk of the recent volatility touches the bin;
- ``round``: nearness to a round price;
- ``shifted``: the map itself, moved up and down by a few per cent: the same shape, at the wrong prices;

and ``map x volatility``, the map times the chance that its bins are touched. Bands draw calendar blocks again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from math import erfc, log10

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Flags, Floats, Integers
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Time
from backtest.study.levels.cells import SIDES
from backtest.study.levels.clusters import DAY
from backtest.study.levels.evaluation.labels import MapLabels
from backtest.study.levels.evaluation.times import sample_times
from backtest.study.levels.grid import LevelGrid
from backtest.study.levels.levels import Levels
from backtest.study.prediction.labels import fingerprint
from backtest.study.stats.bootstrap import Resampling, Seed, resampling
from backtest.study.units import countable

MAP = "map"
PREDICTORS = (MAP, "map x volatility", "uniform", "volatility", "round", "shifted")
BINS = ("all", "touched")
MEASURES = ("area", "captured")

CENT = 0.01
WEEK = timedelta(days=7)
GIVEN = {"reach": pl.Float64, "confidence": pl.Float64}


@dataclass(frozen=True)
class Trial:
    """Settings of a score: sample times, horizon, reach and baselines.

    Raises
    ------
    ArgumentError
        For times of zero or less, and parts outside 0 to 1.

    Examples
    --------
    >>> from backtest.study.levels.evaluation import Trial
    >>> Trial(every=timedelta(hours=9)).ahead
    datetime.timedelta(seconds=32400)
    """

    every: timedelta = timedelta(hours=4)  #: between samples
    horizon: timedelta | None = None  #: that liquidations are counted over; None: until the next sample
    reach: float = 0.15  #: around the price, as a part of it
    top: float = 0.1  #: of the bins, for ``captured``
    shift: float = 0.03  #: of the price, that the map is moved by
    window: timedelta = WEEK  #: before the sample, that volatility is measured over

    def __post_init__(self) -> None:
        spans = (self.every, self.window, self.every if self.horizon is None else self.horizon)
        if min(spans) <= timedelta(0):
            raise ArgumentError(f"every, horizon and window must be above zero: {self}")
        if not all(0 < part < 1 for part in (self.reach, self.top, self.shift)):
            raise ArgumentError(f"reach, top and shift must lie between 0 and 1: {self}")

    @property
    def ahead(self) -> timedelta:
        """The horizon."""
        return self.every if self.horizon is None else self.horizon


USUAL = Trial()


@dataclass(frozen=True, eq=False)
class Look:
    """One sample: the bins at a moment, and the liquidations over the horizon."""

    moment: datetime
    price: float
    daily: float  #: volatility by then
    inside: Flags  #: (bins,) within reach
    touched: Flags  #: (bins,) of these, that the price came through
    labels: Integers  #: (bins,) cents liquidated


@checked
def score(
    levels: Levels,
    market: Market,
    labels: MapLabels,
    *,
    seed: Seed,
    trial: Trial = USUAL,
    length: timedelta = DAY,
    draws: int = 999,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Return how well a map and its baselines predict where liquidations will be.

    Parameters
    ----------
    levels, market : of one symbol
    labels : liquidations of the same symbol, from an independent source
    seed, length, draws, confidence : as in ``bootstrap.resampling``; a block should be longer than what ties
        liquidations together

    Returns
    -------
    A row a predictor and set of ``bins`` (all, touched): ``area``, ``captured``, and ``lead`` (the map's area less
    its own), each with ``_low`` and ``_high``; ``looks``, ``notional`` labelled within the bins, ``horizon``,
    ``reach``, ``labels`` (their source), ``block``, ``blocks``, ``effective_blocks``, ``draws``, ``confidence``.
    Measures are NaN where nothing was liquidated.

    Raises
    ------
    ArgumentError
        For labels of the book that the map was made of, or a map without its ``book``.
    DataError
        Where no sample has both a known volatility and liquidations after it.

    Examples
    --------
    >>> from backtest import population
    >>> from backtest.study.levels.evaluation import Trial, hidden_events, score
    >>> truth = population.synthetic(market, venue, count=1_000, seed=2)
    >>> labels = hidden_events(truth, market, venue, "BTCUSDT")
    >>> found = score(open_levels, market, labels, seed=1, trial=Trial(every=timedelta(hours=9)), draws=99)
    >>> found.filter(bins="touched").select("predictor", pl.col("area").round(2))
    shape: (6, 2)
    ┌──────────────────┬──────┐
    │ predictor        ┆ area │
    │ ---              ┆ ---  │
    │ str              ┆ f64  │
    ╞══════════════════╪══════╡
    │ map              ┆ 0.63 │
    │ map x volatility ┆ 0.71 │
    │ uniform          ┆ 0.5  │
    │ volatility       ┆ 0.46 │
    │ round            ┆ 0.45 │
    │ shifted          ┆ 0.61 │
    └──────────────────┴──────┘
    """
    _require_independence(levels, labels)
    seen = list(looks(levels, market, labels, trial))
    if not any(look.labels.any() for look in seen):
        raise DataError("labels hold no liquidation within reach after any sample of the map")
    sums = np.array([_sums(levels, look, trial) for look in seen])  # (looks, predictors, bins, 1 + measures)
    times = pl.Series([look.moment for look in seen]).cast(Time)
    weights = pl.Series([int(look.labels.sum()) for look in seen])
    plan = resampling(times, weights=weights, seed=seed, length=length, draws=draws, confidence=confidence)
    common = {
        "looks": len(seen),
        "horizon": trial.ahead,
        "reach": trial.reach,
        "labels": labels.source,
        "block": length,
        "blocks": plan.weights.size,
        "draws": draws,
        "confidence": confidence,
    }
    rows = []
    for place, which in product(range(len(PREDICTORS)), range(len(BINS))):
        rows.append({"predictor": PREDICTORS[place], "bins": BINS[which]} | _row(plan, times, sums, place, which))
    return pl.DataFrame([row | common for row in rows], schema_overrides=GIVEN)


@checked
def looks(levels: Levels, market: Market, labels: MapLabels, trial: Trial = USUAL) -> Iterator[Look]:
    """Yield each sample: the moments with a known volatility, and bars over the whole horizon."""
    grid, edges = levels.grid, levels.grid.price_edges
    events = labels.events
    moments = events["time"].to_physical().to_numpy()
    whole = pl.DataFrame({"notional": np.rint(events["notional"].to_numpy() / CENT)})
    cents = countable(whole, "events")["notional"].to_numpy()
    places = np.searchsorted(edges, events["price"].to_numpy(), side="right") - 1
    ahead = trial.ahead // timedelta(milliseconds=1)
    for at in sample_times(grid, market, every=trial.every, horizon=trial.ahead, window=trial.window):
        inside = (edges[:-1] >= at.price * (1 - trial.reach)) & (edges[1:] <= at.price * (1 + trial.reach))
        came = (edges[:-1] <= at.high) & (edges[1:] > at.low)
        rows = slice(*np.searchsorted(moments, [at.start, at.start + ahead]))
        found, kept = np.zeros(grid.bins, np.int64), (places[rows] >= 0) & (places[rows] < grid.bins)
        np.add.at(found, places[rows][kept], cents[rows][kept])
        yield Look(at.moment, at.price, at.daily, inside, inside & came, np.where(inside, found, 0))


def predictions(levels: Levels, look: Look, trial: Trial = USUAL) -> dict[str, Floats]:
    """Return the value of each predictor in each bin at a sample, (bins,) each; only the order matters."""
    grid, column = levels.grid, levels.grid.column_at(look.moment)
    middle = np.sqrt(grid.price_edges[:-1] * grid.price_edges[1:])
    away = np.log(middle / look.price)
    sigma = look.daily * (trial.ahead / DAY) ** 0.5
    touch = np.array([erfc(abs(each) / (sigma * 2**0.5)) for each in away])
    held = {side: levels.at(column, side) for side in SIDES}
    own = held["long"] + held["short"]
    step = round_step(look.price)
    return {
        MAP: own,
        "map x volatility": own * touch,
        "uniform": np.ones(grid.bins),
        "volatility": touch,
        "round": -np.abs(middle - np.rint(middle / step) * step),
        "shifted": _shifted(grid, held, away, trial.shift),
    }


def round_step(price: float) -> float:
    """Return the distance between round prices: 1,000 from 10,000 to 100,000, 100 below, and so on."""
    return float(10.0 ** (np.floor(log10(price)) - 1))


def ranked(values: Floats, widths: Floats, top: float) -> tuple[Floats, Floats]:
    """Return, for each bin, the share of the others' width that is emptier, and how much of it is in the top.

    Parameters
    ----------
    values, widths : (n,) what orders the bins, and how wide they are
    top : share of the width that counts as the top; a tie across its border is in it in part
    """
    _, group = np.unique(values, return_inverse=True)
    each = np.bincount(group, weights=widths) / widths.sum()
    above = np.cumsum(each)
    emptier = above - each / 2
    in_top = np.clip((top - (1 - above)) / each, 0.0, 1.0)
    return emptier[group], in_top[group]


def _sums(levels: Levels, look: Look, trial: Trial) -> Integers:
    """Return (predictors, bins, 3): cents labelled, cents times emptier bins, cents in the top."""
    sums = np.zeros((len(PREDICTORS), len(BINS), 3), np.int64)
    widths = np.diff(np.log(levels.grid.price_edges))
    for place, values in enumerate(predictions(levels, look, trial).values()):
        for which, kept in enumerate((look.inside, look.touched)):
            cents = look.labels[kept]
            if cents.any():
                emptier, in_top = ranked(values[kept], widths[kept], trial.top)
                sums[place, which] = cents.sum(), np.rint(cents @ emptier), np.rint(cents @ in_top)
    return sums


def _row(plan: Resampling, times: pl.Series, sums: Integers, place: int, which: int) -> dict[str, object]:
    """Return one predictor's measures with their bands."""

    def of(number: int, measure: int) -> Floats:
        frame = pl.DataFrame(
            {"time": times, "whole": sums[:, number, which, 0], "part": sums[:, number, which, measure]}
        )
        added = plan.block_sums(frame, [pl.col("part"), pl.col("whole")], time="time")
        with np.errstate(invalid="ignore"):  # draws without liquidations are NaN
            return plan.of_sums(added, lambda drawn: drawn[:, 0] / drawn[:, 1])

    values = {"area": of(place, 1), "captured": of(place, 2)}
    values["lead"] = of(PREDICTORS.index(MAP), 1) - values["area"]
    row: dict[str, object] = {}
    for name, drawn in values.items():
        band = plan.band(drawn)
        row |= {name: band.estimate, f"{name}_low": band.low, f"{name}_high": band.high}
    row["notional"] = int(sums[:, place, which, 0].sum()) * CENT
    row["effective_blocks"] = plan.band(values["area"]).effective_blocks
    return row


def _shifted(grid: LevelGrid, held: dict[str, Floats], away: Floats, shift: float) -> Floats:
    """Return the mean of the map moved up and down; notional moved past the price is left out."""
    moved = np.zeros(grid.bins)
    middle = np.log(grid.price_edges[:-1] * grid.price_edges[1:]) / 2
    for sign in (-1, 1):
        found = np.clip(np.searchsorted(np.log(grid.price_edges), middle + sign * shift) - 1, -1, grid.bins - 1)
        for side, ahead in (("long", away < 0), ("short", away > 0)):
            moved += np.where(ahead & (found >= 0), held[side][found], 0.0) / 2
    return moved


def _require_independence(levels: Levels, labels: MapLabels) -> None:
    if labels.symbol not in (None, levels.grid.symbol):
        raise ArgumentError(
            f"must be of the map's symbol {levels.grid.symbol!r}, are of {labels.symbol!r}", argument="labels"
        )
    if labels.book is None:
        return
    if levels.book is None:
        raise ArgumentError(
            "must carry their book to be scored on a hidden truth: give levels(book=...)", argument="levels"
        )
    if fingerprint(levels.book) == labels.book:
        raise ArgumentError(
            f"the map was made of the same book as the labels ({labels.source}): it would predict itself. "
            "Take recorded liquidations, or a hidden truth with another mix, entries and seed"
        )
