"""Predictive distributions of a day's liquidations, and how often they held what was recorded.

Given the prices and the volume of a day, a draw is: one of the fits (made under other opening shares, holding
times or dampings, so that these are uncertain too), one of its redrawn mixes, and one of its residuals, the
logarithm of recorded + c over book + c on a day of the fit. Residuals are drawn as whole calendar blocks, the
same ones for both sides. Nothing here knows a price before it happens: it is the amount that is predicted, not
the move.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats, Integers
from backtest.market.market import Market
from backtest.population.side_mixes import SIDES, SideMix
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.study.calibration.fitting import Fit
from backtest.study.calibration.model import DailyModel, one_contract
from backtest.study.calibration.rank_scores import FEWEST_DAYS, WEEK
from backtest.study.calibration.records import daily_records
from backtest.study.stats.bootstrap import Seed, blocks, resampling

#: Mixes that are evaluated of each fit.
MIXES = 40


@checked
def predict(
    fits: Sequence[Fit],
    days: Sequence[datetime],
    market: Market,
    venue: Venue,
    *,
    seed: Seed,
    symbol: str | None = None,
    inside: float = 0.8,
    throttled_from: datetime | None = None,
    length: timedelta = WEEK,
    draws: int = 1_000,
    tiers: Tiers = "strict",
    threads: int | None = None,
) -> pl.DataFrame:
    """Return the predictive distribution of the liquidations of some days, given their prices and volume.

    Parameters
    ----------
    fits
        One or more, under different opening shares, holding times or dampings; each is drawn as often.
    days
        Starts of UTC days within the bars, rising.
    market, venue, symbol, tiers, threads
        As for :func:`fit`.
    inside
        Probability that the band is to hold.
    throttled_from
        From when on the feed is throttled: no amounts are claimed of later days, only ranks.
    length
        Of the blocks that residuals are drawn in.

    Returns
    -------
    A row a day and side: ``time``, ``side``, ``median``, ``low``, ``high`` in quote currency (null where
    throttled) and ``rank`` of the median among the days, 1 the heaviest.

    Raises
    ------
    DataError
        As :func:`fit`.
    ArgumentError
        For no fits, no rising days, a probability outside (0, 1).

    Examples
    --------
    >>> from datetime import datetime
    >>> from backtest.study.calibration import predict
    >>> predict([], [datetime(2021, 5, 19)], bars.with_columns(volume=pl.lit(1.0)), "binance", seed=1)
    Traceback (most recent call last):
    backtest.errors.ArgumentError: fits must hold one or more
    """
    if not fits:
        raise ArgumentError("must hold one or more", argument="fits")
    if not 0 < inside < 1:
        raise ArgumentError(f"must lie between 0 and 1, is {inside!r}", argument="inside")
    times = daily_records(
        pl.DataFrame({"time": list(days), "long_usd": [0.0] * len(days), "short_usd": [0.0] * len(days)})
    )["time"]
    if times.len() != len(days) or not times.is_sorted():
        raise ArgumentError("must be starts of days, rising, each once", argument="days")
    own = one_contract(market, venue, symbol, times)
    rng = np.random.default_rng(seed)
    samples: dict[str, list[Floats]] = {side: [] for side in SIDES}
    for one in fits:
        model = DailyModel.of(own, venue, times, one.law, tiers=tiers, threads=threads)
        share = -(-draws // len(fits))
        which = rng.integers(0, one.drawn.height // len(SIDES), MIXES)[rng.integers(0, MIXES, share)]
        for side in SIDES:
            residuals, fitted = _residuals(one, side)
            rows = _residual_rows(fitted, times, length, share, rng)
            samples[side].append(_sampled(one, model, side, which, residuals[rows]))
    frames = [_summarised(times, side, np.concatenate(samples[side]), inside) for side in SIDES]
    if throttled_from is None:
        return pl.concat(frames)
    clear = pl.col("time") < throttled_from
    return pl.concat(frames).with_columns(pl.when(clear).then(pl.col("median", "low", "high")))


@checked
def coverage(
    predicted: pl.DataFrame, recorded: pl.DataFrame, *, seed: Seed, length: timedelta = WEEK
) -> pl.DataFrame:
    """Return how often bands held what was recorded, with the error of that share itself.

    Days of one week are not independent, so few weeks say little: 60 to 95 % is no contradiction to 80 %.

    Parameters
    ----------
    predicted
        As :func:`predict` returns it; days without amounts are left out.
    recorded
        As :func:`daily_records` takes it.
    length, seed
        Of the redrawn blocks.

    Returns
    -------
    A row a side: ``side``, ``days``, ``effective_blocks``; ``inside``, the share of days within the band, with
    ``low`` and ``high`` (95 %); ``below``, ``above``, the shares of days recorded below and above the band.

    Raises
    ------
    DataError
        For no day in common, or days of one block only.

    Examples
    --------
    >>> from backtest.study.calibration import coverage
    >>> days = {"date": ["2021-05-12", "2021-05-19"], "long_usd": [1.0, 5.0], "short_usd": [1.0, 1.0]}
    >>> times = pl.Series(["2021-05-12", "2021-05-19"]).str.to_datetime(time_zone="UTC")
    >>> bands = pl.DataFrame({"time": times, "side": "long", "median": 1.0, "low": 0.5, "high": 2.0})
    >>> coverage(bands, days, seed=1).select("side", "days", "inside", "above").rows()
    [('long', 2, 0.5, 0.5)]
    """
    known = predicted.drop_nulls(["low", "high"]).with_columns(pl.col("side").cast(pl.String))
    longer = daily_records(recorded).unpivot(
        [f"{side}_notional" for side in SIDES], index="time", variable_name="side", value_name="recorded"
    )
    sides = longer.with_columns(pl.col("side").str.strip_suffix("_notional"))
    both = known.with_columns(pl.col("time").cast(pl.Datetime("ms", "UTC"))).join(sides, on=["time", "side"])
    if both.is_empty():
        raise DataError("predicted and recorded have no day in common")
    rows = []
    for side in SIDES:
        own = both.filter(pl.col("side") == side).sort("time")
        if own.is_empty():
            continue
        plan = resampling(own["time"], seed=seed, length=length)
        low, high, amount = pl.col("low"), pl.col("high"), pl.col("recorded")
        own = own.select("time", held=amount.is_between(low, high), below=amount < low, above=amount > high)
        band = plan.band(plan.of_frame(own, lambda days: days.select(pl.mean("held")).item(), time="time"))
        below, above = own.select(pl.mean("below", "above")).row(0)
        shares = (band.estimate, max(band.low, 0.0), min(band.high, 1.0))
        rows.append((side, own.height, band.effective_blocks, *shares, below, above))
    return pl.DataFrame(rows, schema=_COVERAGE, orient="row")


_COVERAGE: dict[str, Any] = {
    "side": pl.String,
    "days": pl.Int64,
    **dict.fromkeys(("effective_blocks", "inside", "low", "high", "below", "above"), pl.Float64),
}


def _residual_rows(
    fitted: pl.Series, times: pl.Series, length: timedelta, draws: int, rng: np.random.Generator
) -> Integers:
    """Return (draws, days) the day of the fit whose residual each predicted day is given: blocks stay together."""
    source = pl.select(blocks(pl.lit(fitted), length)).to_series().to_numpy()
    target = pl.select(blocks(pl.lit(times), length)).to_series().to_numpy()
    whole = [np.flatnonzero(source == block) for block in np.unique(source)]
    found = np.empty((draws, times.len()), dtype=np.int64)
    for block in np.unique(target):
        days = np.flatnonzero(target == block)
        chosen = rng.integers(0, len(whole), draws)
        for row, number in enumerate(chosen):
            found[row, days] = np.resize(rng.permutation(whole[number]), days.size)
    return found


def _residuals(one: Fit, side: str) -> tuple[Floats, pl.Series]:
    """Return the residuals of a side, and their days; of all days where hardly any is heavy enough."""
    amounts = [one.daily[f"{side}_{name}"].to_numpy() for name in ("notional", "book")]
    heavy = np.add(*amounts) > 2 * one.offset
    if heavy.sum() < FEWEST_DAYS:
        heavy[:] = True
    recorded, book = (np.log(each[heavy] + one.offset) for each in amounts)
    return recorded - book, one.daily["time"].filter(pl.Series(heavy))


def _sampled(one: Fit, model: DailyModel, side: str, which: Integers, residuals: Floats) -> Floats:
    """Return (draws, days) drawn amounts."""
    mixes = one.drawn.filter(pl.col("side") == side)
    books = {}
    for number in np.unique(which).tolist():
        mix = SideMix(mixes["typical"][number], mixes["spread"][number])
        books[number] = model.daily(side, mix.shares())
    drawn = np.stack([books[number] for number in which.tolist()])
    return np.asarray(np.maximum((drawn + one.offset) * np.exp(residuals) - one.offset, 0.0))


def _summarised(times: pl.Series, side: str, samples: Floats, inside: float) -> pl.DataFrame:
    low, median, high = np.quantile(samples, [(1 - inside) / 2, 0.5, (1 + inside) / 2], axis=0)
    frame = pl.DataFrame({"time": times, "side": side, "median": median, "low": low, "high": high})
    return frame.with_columns(rank=pl.col("median").rank("min", descending=True))
