"""Bands of a policy's shares, from calendar blocks of entry time: the same draws for every policy of a book."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.kernel.types import Integers
from backtest.schemas.arguments import checked
from backtest.study.liquidations.exact_sums import weight
from backtest.study.policy.settlement import Run
from backtest.study.stats.bootstrap import FORTNIGHT, Resampling, blocks, drawn_sums, resampling
from backtest.study.units import WEIGHT_UNIT, countable, total, whole_units

#: Each share and the columns of block sums it is the ratio of.
SHARES = {"liquidated_share": (1, 0), "notional_share": (3, 2), "shortfall_share": (4, 2)}


@dataclass(frozen=True)
class Bands:
    """Settings of the bands: seed, length of a block, draws, confidence.

    Examples
    --------
    >>> from backtest.study import policy
    >>> policy.Bands(seed=1).draws
    499
    """

    seed: int
    length: timedelta = FORTNIGHT
    draws: int = 499
    confidence: float = 0.95


@checked
def share_bands(run: Run, intended: Book, bands: Bands) -> dict[str, float]:
    """Return the low and high end of each share, and the effective number of blocks of the intended book."""
    plan = resampling(
        intended.positions["entry_time"],
        seed=bands.seed,
        length=bands.length,
        draws=bands.draws,
        confidence=bands.confidence,
    )
    drawn = drawn_sums(plan.counts, _block_sums(run, plan))
    found: dict[str, float] = {}
    for name, (part, whole) in SHARES.items():
        values = np.full(len(drawn), np.nan)
        np.divide(drawn[:, part], drawn[:, whole], out=values, where=drawn[:, whole] > 0)
        band = plan.band(values)
        found |= {f"{name}_low": band.low, f"{name}_high": band.high, "effective_blocks": band.effective_blocks}
    return found


def _block_sums(run: Run, plan: Resampling) -> Integers:
    """Return (blocks, 5) count, liquidated count, notional, liquidated notional, shortfall, in units."""
    opened = weight(run.outcomes)
    left = pl.col("surviving_weight") if "surviving_weight" in run.outcomes.columns else opened
    notional, liquidated = pl.col("entry_notional"), pl.col("liquidated")
    columns = [
        whole_units(opened, WEIGHT_UNIT),
        pl.when(liquidated).then(whole_units(left, WEIGHT_UNIT)).otherwise(0),
        whole_units(notional * opened, run.unit),
        pl.when(liquidated).then(whole_units(notional * left, run.unit)).otherwise(0),
        pl.when(liquidated).then(whole_units(pl.col("shortfall") * left, run.unit)).otherwise(0),
    ]
    rows = run.outcomes.select(
        (blocks(pl.col("entry_time"), plan.length) - plan.first).alias("block"),
        *(column.alias(f"{number}") for number, column in enumerate(columns)),
    )
    sums = np.zeros((plan.weights.size, len(columns)), np.int64)
    added = rows.group_by("block").agg(total(pl.exclude("block")))
    sums[added["block"].to_numpy()] = countable(added.drop("block")).to_numpy()
    return sums
