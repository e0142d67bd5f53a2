"""Block bootstrap: variation of a statistic when history is drawn again from its own calendar blocks.

All positions of a run share one price path, so rows near in time are not independent. Drawn again, with
replacement, are whole calendar blocks: [k L, (k + 1) L) since 1970, k an integer, L the stated
length. Within a block everything stays as it was; between blocks independence is assumed, so a block should be
several times longer than any dependence between rows. A calendar block without rows, between the first
and the last, is drawn as an empty one: nothing happened in it. Edge blocks may be shorter than the rest.

A :class:`Resampling` holds the blocks drawn, and serves any number of statistics, so that differences between two
of them get a band too::

    plan = resampling(outcomes["entry_time"], seed=1)
    before, after = (plan.of_frame(run, share, time="entry_time") for run in (facts, capped))
    plan.band(after - before)

How often bands of 95 % held the true mean, of 1,000 simulated histories in blocks of 336 hours: 93 to 95 % where
neighbouring hours correlate by 0.9 or 0.97 (6, 13, 26 or 52 blocks), 90 to 91 % at 0.99, where correlation lasts a
third of a block; of ratios over blocks with common shocks and different weights, 95 to 97 %. Bands from
independent errors held it 10 to 40 % of the time.

References: Künsch (1989), Carlstein (1986) on blocks; of the width of bands, see ``stats.bands``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import timedelta

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats, Integers
from backtest.shown import shown
from backtest.study.stats.bands import Band, effective_number, in_days, tail
from backtest.study.units import MOST_UNITS, countable, total

FORTNIGHT = timedelta(days=14)
MILLISECOND = timedelta(milliseconds=1)

Seed = int | np.random.Generator
Statistic = Callable[[pl.DataFrame], float]
FunctionOfSums = Callable[[Floats], Floats]


def blocks(times: pl.Expr, length: timedelta = FORTNIGHT) -> pl.Expr:
    """Return the calendar block [k length, (k + 1) length) since 1970 that each time falls in, as ``block``.

    Examples
    --------
    >>> from backtest.study import stats
    >>> outcomes.select(stats.blocks(pl.col("entry_time"), timedelta(days=2)))["block"].n_unique()
    9
    """
    return times.dt.epoch("ms").floordiv(_milliseconds(length)).alias("block")


@dataclass(frozen=True, eq=False)
@shown()
class Resampling:
    """Draws of calendar blocks: the same ones for every statistic.

    Raises
    ------
    DataError
        For fewer than two blocks, and weights that are negative, not finite, or zero throughout.
    ArgumentError
        For a length that is not positive, a confidence outside (0, 1), no draws.

    Examples
    --------
    >>> from backtest.study import stats
    >>> plan = stats.Resampling(np.array([3.0, 1.0, 2.0]), seed=1, draws=99)
    >>> plan.counts.shape
    (100, 3)
    """

    weights: Floats  #: (blocks,) weight of each block: rows, or notional
    _: KW_ONLY
    seed: Seed
    first: int = 0  #: number of the first block, as :func:`blocks` counts
    length: timedelta = FORTNIGHT
    draws: int = 999
    confidence: float = 0.95
    counts: Integers = field(init=False, repr=False)
    """(1 + draws, blocks) how often each draw holds each block; the first is history as it was"""

    def __post_init__(self) -> None:
        _milliseconds(self.length)
        if not (0 < self.confidence < 1 and self.draws >= 1):
            raise ArgumentError(
                f"a band needs 0 < confidence < 1 and draws of 1 or more: {self.confidence:g} and {self.draws}"
            )
        weights = np.array(self.weights, np.float64)
        _check_weights(weights, self.length)
        many = weights.size
        drawn = np.random.default_rng(self.seed).multinomial(many, np.full(many, 1 / many), size=self.draws)
        counts = np.concatenate([np.ones((1, many), np.int64), drawn.astype(np.int64, copy=False)])
        for name, array in (("weights", weights), ("counts", counts)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def block_sums(self, frame: pl.DataFrame, columns: Sequence[pl.Expr], *, time: str) -> Integers:
        """Return the sums of some columns over the rows of each block.

        Parameters
        ----------
        frame : rows in the time these blocks cover
        columns : expressions of whole numbers or flags, a value a row: counts, amounts in units
        time : column that decides the block

        Returns
        -------
        (blocks, columns), for :meth:`of_sums`.

        Raises
        ------
        ArgumentError
            For columns of fractions: their sums depend on the order of rows and the number of threads.
        DataError
            For times that are null or outside the blocks.
        """
        names = [str(number) for number in range(len(columns))]
        block = blocks(pl.col(time), self.length) - self.first
        values = frame.select(block, *(column.alias(name) for name, column in zip(names, columns, strict=True)))
        self._check_blocks(values["block"], time)
        for column, name in zip(columns, names, strict=True):
            _check_whole(values[name], str(column))
        added = values.group_by("block").agg(total(pl.col(names)))
        sums = np.zeros((self.weights.size, len(names)), np.int64)
        sums[added["block"]] = countable(added.select(names), "frame").to_numpy()
        return sums

    def of_sums(self, sums: Floats | Integers, function: FunctionOfSums) -> Floats:
        """Return a function of block sums, for history and for each draw.

        Parameters
        ----------
        sums : (blocks, k) sums of each block; add columns to compare two runs in the same blocks
        function : takes sums over drawn blocks, (1 + draws, k), and returns (1 + draws,)

        Returns
        -------
        (1 + draws,) the first of them history's own, for :meth:`band`.
        """
        if sums.ndim != 2 or len(sums) != self.weights.size:
            raise ArgumentError(f"of_sums: sums must be ({self.weights.size} blocks, k), are {sums.shape}")
        return np.asarray(function(drawn_sums(self.counts, sums)), np.float64)

    def of_frame(self, frame: pl.DataFrame, statistic: Statistic, *, time: str) -> Floats:
        """Return a statistic of a frame, for history and for each draw.

        Rows come in order of block, and as often as their block was drawn: a statistic must not take rows with
        equal times for the same event.

        Returns
        -------
        (1 + draws,) the first of them history's own, for :meth:`band`.
        """
        return np.array([statistic(drawn) for drawn in self.frames(frame, time=time)])

    def frames(self, frame: pl.DataFrame, *, time: str) -> Iterator[pl.DataFrame]:
        """Yield a frame as it was, then the rows of each draw in order of block, as often as it was drawn."""
        block = frame.select(blocks(pl.col(time), self.length) - self.first).to_series()
        self._check_blocks(block, time)
        ends = np.cumsum(np.bincount(block, minlength=self.weights.size))
        rows = np.split(np.argsort(block, kind="stable"), ends[:-1])
        for count in self.counts:
            drawn = np.repeat(np.arange(self.weights.size), count)
            yield frame[np.concatenate([rows[at] for at in drawn])]

    def band(self, values: Floats) -> Band:
        """Return the band of a statistic.

        Parameters
        ----------
        values : (1 + draws,) history's own and each draw's, or a difference of two such

        Returns
        -------
        Percentiles of the draws, widened for few blocks: at probability Φ(−√(b / (b − 1)) t(b − 1)), b the
        effective number of blocks, as a normal percentile band is too narrow by just that (Hesterberg 2015).
        """
        effective = effective_number(self.weights)
        below = tail((1 - self.confidence) / 2, effective)
        low, high = np.quantile(values[1:], [below, 1 - below], method="weibull")
        return Band(
            estimate=float(values[0]),
            low=float(low),
            high=float(high),
            confidence=self.confidence,
            draws=self.draws,
            length=self.length,
            blocks=self.weights.size,
            effective_blocks=effective,
        )

    def _check_blocks(self, block: pl.Series, time: str) -> None:
        outside = block.null_count() + int((~block.is_between(0, self.weights.size - 1)).sum())
        if outside:
            raise DataError(f"{time}: {outside:,} of {block.len():,} rows lie in none of the blocks drawn from")


def resampling(
    times: pl.Series,
    *,
    seed: Seed,
    weights: pl.Series | None = None,
    length: timedelta = FORTNIGHT,
    draws: int = 999,
    confidence: float = 0.95,
) -> Resampling:
    """Return draws of the calendar blocks that the rows span.

    Parameters
    ----------
    times : of the rows; of all frames together, if several are compared
    weights : whole numbers, weight of each row in the effective number of blocks; one by default

    Examples
    --------
    >>> from backtest.study import stats
    >>> plan = stats.resampling(outcomes["entry_time"], seed=1, length=timedelta(days=2), draws=99)
    >>> plan.weights.size
    9
    """
    if times.is_empty() or times.null_count():
        raise DataError(f"a band needs rows with times: {times.null_count():,} of {times.len():,} are null")
    each = pl.repeat(1, times.len(), dtype=pl.Int64, eager=True) if weights is None else weights
    _check_whole(each, "weights")
    block = pl.select(blocks(pl.lit(times), length)).to_series().to_numpy()
    first = block.min()
    added = np.zeros(block.max() - first + 1, np.int64)
    np.add.at(added, block - first, each.to_numpy())
    return Resampling(added, seed=seed, first=int(first), length=length, draws=draws, confidence=confidence)


def band(
    frame: pl.DataFrame,
    statistic: Statistic,
    *,
    time: str,
    seed: Seed,
    length: timedelta = FORTNIGHT,
    draws: int = 999,
    confidence: float = 0.95,
) -> Band:
    """Return the band of one statistic of a frame; see :class:`Resampling` for several, and for sums.

    Examples
    --------
    >>> from backtest.study import stats
    >>> share, days = lambda frame: frame["liquidated"].mean(), timedelta(days=2)
    >>> found = stats.band(outcomes, share, time="entry_time", length=days, seed=1)
    >>> round(found.low, 2), round(found.high, 2)
    (0.23, 0.43)
    """
    plan = resampling(frame[time], seed=seed, length=length, draws=draws, confidence=confidence)
    return plan.band(plan.of_frame(frame, statistic, time=time))


def _milliseconds(length: timedelta) -> int:
    if length < MILLISECOND:
        raise ArgumentError(f"the length of a block must be positive, in whole milliseconds: {length}")
    return length // MILLISECOND


def drawn_sums(counts: Integers, sums: Floats | Integers) -> Floats:
    """Return (draws, k) the sums over the blocks of each draw; of whole numbers exact where int64 holds them."""
    largest = float(np.abs(sums).max(initial=0)) * float(counts.sum(axis=1).max(initial=0))
    # einsum adds in a fixed order on one thread; a matrix product may split its sums among threads
    drawn = np.einsum("db,bk->dk", counts, sums if largest < MOST_UNITS else sums.astype(np.float64))
    return np.asarray(drawn, np.float64)


def _check_weights(weights: Floats, length: timedelta) -> None:
    if weights.ndim != 1 or weights.size < 2:
        raise DataError(
            f"a band needs rows in 2 or more calendar blocks: all lie in one of {in_days(length)}, shorten it"
        )
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any() or not weights.any():
        raise DataError(
            f"weights of blocks must be finite, not negative and not all zero: {wrong.sum():,} of "
            f"{weights.size:,} are not (sum {weights.sum():g})"
        )


def _check_whole(values: pl.Series, name: str) -> None:
    if not (values.dtype.is_integer() or values.dtype == pl.Boolean) or values.null_count():
        raise ArgumentError(
            f"must be whole numbers without nulls, are {values.dtype}: round to a unit and cast to Int64 "
            "(sums of fractions depend on the order of rows)",
            argument=name,
        )
