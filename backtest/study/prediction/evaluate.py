"""Evaluation of indicators: do they predict liquidations better than realised volatility alone?

The area under the curve is the chance that the indicator was higher before an interval whose liquidations exceed
their quantile than before one whose do not: Mann-Whitney's U over the number of such pairs, ties at half. One half
is no information; below it, the indicator ranks the other way round, and is not inverted here.

Time is cut into parts, and only pairs within a part are compared: the level of an era is not mistaken for
foresight, and what is fitted is fitted outside the part it is scored on, at a distance. A band draws calendar
blocks again (:mod:`backtest.study.stats.bootstrap`), the same ones for the indicator and for the baseline, so
their difference has a band too. Splits, quantile and blocks are choices: each row of the result carries them.

References: Mann and Whitney (1947); Hanley and McNeil (1982) on U as the area; López de Prado (2018), "Advances in
Financial Machine Learning", chapter 7, on purging and embargo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Flags, Floats, Integers
from backtest.study.prediction.indicators import DAY, Indicator
from backtest.study.prediction.labels import Labels
from backtest.study.stats import logistic
from backtest.study.stats.bootstrap import FORTNIGHT, Resampling, Seed, blocks, resampling


@dataclass(frozen=True, eq=False)
class Trial:
    """Labels, the definition of an event, and the split of time.

    Raises
    ------
    ArgumentError
        For a quantile outside (0, 1), splits below one, a negative purge or embargo.

    Examples
    --------
    >>> from backtest.study.prediction import Trial, indicators, labels
    >>> truth = labels.hidden_truth(book, market, venue)
    >>> trial = Trial(truth, quantile=0.9)
    >>> trial.events["exceeds"].sum(), trial.events.height
    (40, 408)
    """

    labels: Labels
    quantile: float = 0.95  #: of the notionals of all intervals; an event exceeds it
    splits: int = 5  #: parts of as many intervals each, in order of time
    purge: timedelta = DAY  #: least gap between training before a part and the part
    embargo: timedelta = DAY  #: least gap between the part and training after it

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1:
            raise ArgumentError(f"must lie between 0 and 1, is {self.quantile!r}", argument="quantile")
        if not 1 <= self.splits <= self.labels.flow.height:
            raise ArgumentError(
                f"must lie between 1 and the intervals labelled, is {self.splits!r}", argument="splits"
            )
        if min(self.purge, self.embargo) < timedelta(0):
            raise ArgumentError(f"purge and embargo must not be negative, are {self.purge} and {self.embargo}")

    @cached_property
    def events(self) -> pl.DataFrame:
        """The intervals: ``known_at`` (their opening), ``exceeds`` the quantile, ``split`` it belongs to."""
        notional, number = pl.col("notional"), pl.int_range(pl.len())
        return self.labels.flow.select(
            known_at="time",
            exceeds=notional > notional.quantile(self.quantile, interpolation="higher"),
            split=number * self.splits // pl.len(),
        )

    def training(self, split: int) -> pl.Expr:
        """Return whether an interval may be learned from for a part: none of it reaches near the part."""
        part = self.events.filter(pl.col("split") == split)["known_at"]
        first, last = pl.lit(part[0]), pl.lit(part[-1])
        opening, every = pl.col("known_at"), self.labels.every
        return (opening + every + self.purge <= first) | (opening >= last + every + self.embargo)

    def combined(self, name: str, indicators: Sequence[Indicator]) -> Indicator:
        """Return a logistic combination, fitted for each part on the others, purged and embargoed.

        Only for this trial: values of one part have another scale than those of the next, and a trial of other
        parts would score them on what they were fitted to. The training of an early part lies in its future: the
        *weights* are not strictly from the past.

        Raises
        ------
        ArgumentError
            For a trial of one part, and training that holds no event, or nothing else.
        """
        rows = self._beside(indicators)
        features, exceeds = _columns(rows, indicators), rows["exceeds"].to_numpy()
        scores = np.empty(rows.height)
        for split in range(self.splits):
            train = rows.select(self.training(split)).to_series().to_numpy()
            test = (rows["split"] == split).to_numpy()
            if exceeds[train].all() or not exceeds[train].any():
                raise ArgumentError(f"combined: training for part {split} needs events and others: fewer splits")
            scores[test] = logistic.fitted(features[train], exceeds[train], features[test])
        books = frozenset().union(*(indicator.books for indicator in indicators))
        return Indicator(name, rows.select("known_at", value=pl.Series(scores)), books)

    def scores(
        self,
        indicators: Sequence[Indicator],
        *,
        baseline: Indicator,
        seed: Seed,
        length: timedelta = FORTNIGHT,
        draws: int = 999,
        confidence: float = 0.95,
    ) -> pl.DataFrame:
        """Return the area under the curve of each indicator, and its difference from the baseline.

        Parameters
        ----------
        baseline : realised volatility, or another indicator to outdo
        seed, length, draws, confidence : as in ``bootstrap.resampling``

        Returns
        -------
        A row an indicator, in the order given: ``indicator``; ``area, area_low, area_high`` under the curve; those
        of the ``baseline``, ``baseline_area`` and its band; ``difference`` of the two, and its band;
        ``intervals`` all of them know, ``exceeding`` of these; ``quantile, horizon, labels``; ``splits, purge,
        embargo``; ``block, blocks, effective_blocks`` (by events), ``draws, confidence``. An area is NaN where no
        part has both kinds; a band is where any draw has none.

        Raises
        ------
        ArgumentError
            For an indicator computed from the book behind the labels.
        DataError
            For indicators and labels with no interval in common.
        """
        compared = [*indicators, baseline]
        rows = self._beside(compared)
        exceeds = rows["exceeds"].cast(pl.Int64)
        plan = resampling(
            rows["known_at"], weights=exceeds, seed=seed, length=length, draws=draws, confidence=confidence
        )
        *areas, beside = (_areas(rows, column, plan) for column in _columns(rows, compared).T)
        base = _named("baseline_area", plan, beside)
        common = {
            "intervals": rows.height,
            "exceeding": int(exceeds.sum()),
            "quantile": self.quantile,
            "horizon": self.labels.every,
            "labels": self.labels.source,
            "splits": self.splits,
            "purge": self.purge,
            "embargo": self.embargo,
            "block": length,
            "blocks": plan.weights.size,
            "effective_blocks": plan.band(beside).effective_blocks,
            "draws": draws,
            "confidence": confidence,
        }
        table = [
            {"indicator": indicator.name, **_named("area", plan, area), "baseline": baseline.name, **base}
            | _named("difference", plan, area - beside)
            | common
            for indicator, area in zip(indicators, areas, strict=True)
        ]
        return pl.DataFrame(table, schema_overrides={"quantile": pl.Float64, "confidence": pl.Float64})

    def _beside(self, indicators: Sequence[Indicator]) -> pl.DataFrame:
        """Return the intervals that every indicator has a value for at their opening, with these values."""
        for indicator in indicators:
            if self.labels.book in indicator.books:
                raise ArgumentError(
                    f"{indicator.name} was computed from the book behind the labels ({self.labels.source}): "
                    "it would predict itself. Use recorded liquidations, or a hidden truth of another mix, "
                    "entries and seed"
                )
        rows = self.events.lazy()
        for number, indicator in enumerate(indicators):
            known = indicator.values.lazy().filter(pl.col("value").is_not_nan()).rename({"value": str(number)})
            rows = rows.join(known, on="known_at", maintain_order="left")
        found = rows.collect()
        if found.is_empty():
            raise DataError(
                f"labels and indicators have no interval in common: {', '.join(each.name for each in indicators)}"
            )
        return found


def area_under_curve(value: Floats, exceeds: Flags) -> float:
    """Return the chance that a value of an event exceeds one of another row; NaN where either kind is missing.

    Examples
    --------
    >>> from backtest.study.prediction import area_under_curve
    >>> area_under_curve(np.array([0.1, 0.4, 0.3, 0.9]), np.array([False, True, False, True]))
    1.0
    """
    won, pairs = _won(value, exceeds, np.zeros(value.size, np.int64), 1)
    return float(won[0, 0]) / (2 * float(pairs[0, 0])) if pairs[0, 0] else float("nan")


def _areas(rows: pl.DataFrame, value: Floats, plan: Resampling) -> Floats:
    """Return (1 + draws,) the area under the curve over pairs within parts, of history and of each draw.

    A pair of rows appears in a draw as often as the product of its two blocks' counts.
    """
    size = plan.weights.size
    block = rows.select(blocks(pl.col("known_at"), plan.length) - plan.first).to_series().to_numpy()
    exceeds, split = rows["exceeds"].to_numpy(), rows["split"].to_numpy()
    won, pairs = np.zeros((size, size), np.int64), np.zeros((size, size), np.int64)
    for part in np.unique(split):
        inside = split == part
        won_inside, pairs_inside = _won(value[inside], exceeds[inside], block[inside], size)
        won += won_inside
        pairs += pairs_inside
    wins, chances = (np.einsum("da,ab,db->d", plan.counts, each, plan.counts) for each in (won, pairs))
    with np.errstate(invalid="ignore"):  # a draw without pairs is NaN
        return np.asarray(wins / (2 * chances))


def _won(value: Floats, exceeds: Flags, block: Integers, size: int) -> tuple[Integers, Integers]:
    """Return (blocks, blocks) twice the pairs that events of one win over other rows of another, and all pairs.

    A tie is half a win, so that twice is whole.
    """
    won = np.zeros((size, size), np.int64)
    high, at = value[exceeds], block[exceeds]
    low, beside = value[~exceeds], block[~exceeds]
    for other in np.unique(beside):
        ordered = np.sort(low[beside == other])
        twice = np.searchsorted(ordered, high, "left") + np.searchsorted(ordered, high, "right")
        np.add.at(won[:, other], at, twice)
    pairs = np.outer(np.bincount(at, minlength=size), np.bincount(beside, minlength=size))
    return won, pairs


def _columns(rows: pl.DataFrame, indicators: Sequence[Indicator]) -> Floats:
    return rows.select(str(number) for number in range(len(indicators))).to_numpy()


def _named(name: str, plan: Resampling, values: Floats) -> dict[str, float]:
    band = plan.band(values)
    return {name: band.estimate, f"{name}_low": band.low, f"{name}_high": band.high}
