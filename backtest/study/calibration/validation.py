"""A leverage mix judged on days that it was not fitted to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from backtest.errors import DataError
from backtest.market.market import Market
from backtest.population.flows import HOUR, SHARE, VolumeLaw
from backtest.population.open_interest import DAMPING
from backtest.population.side_mixes import MixBySide
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.study.calibration.model import DailyModel, one_contract
from backtest.study.calibration.plain_predictors import SIDES, baselines
from backtest.study.calibration.rank_scores import BASELINE, FEWEST_DAYS, WEEK, drawn_correlations
from backtest.study.calibration.records import daily_records
from backtest.study.stats.bootstrap import Seed, resampling


@checked
def validate(
    mix: MixBySide,
    recorded: pl.DataFrame,
    market: Market,
    venue: Venue,
    *,
    seed: Seed,
    symbol: str | None = None,
    opening_share: float = SHARE,
    mean_holding: timedelta = timedelta(hours=30),
    reopening_damping: timedelta = DAMPING,
    length: timedelta = WEEK,
    draws: int = 999,
    tiers: Tiers = "strict",
    threads: int | None = None,
) -> pl.DataFrame:
    """Return how well a book with a leverage mix ranks and sizes recorded days, beside the hourly product.

    Parameters
    ----------
    mix
        As :func:`fit` or ``load_mix`` gives it. Judge it on days, or a contract, that it was not fitted to.
    recorded, market, venue, symbol, opening_share, mean_holding, reopening_damping, tiers, threads
        As for :func:`fit`.
    length, draws, seed
        Of the bands.

    Returns
    -------
    A row a side: ``side``, ``days``; ``correlation`` of the book with the records, ``baseline`` that of the
    hourly product, ``lead`` of the book over it with ``lead_low`` and ``lead_high`` (95 %, over the same drawn
    blocks); ``recorded`` and ``book``, the sums in quote currency; ``within_two``, the share of days on which the
    book is within a factor of two; ``typical_factor``, the exponential of the mean absolute difference of
    logarithms, of days on which both are above zero.

    Raises
    ------
    DataError
        As :func:`fit`.

    Examples
    --------
    >>> from backtest.population import MixBySide, SideMix
    >>> from backtest.study.calibration import validate
    >>> mix, traded = MixBySide.of(SideMix(10, 1), SideMix(5, 1)), bars.with_columns(volume=pl.lit(1_000.0))
    >>> validate(mix, {"date": ["2021-05-19"], "long_usd": [1e6], "short_usd": [1e6]}, traded, "binance", seed=1)
    Traceback (most recent call last):
    backtest.errors.DataError: a mix is judged on 20 recorded days or more, there is 1
    """
    days = daily_records(recorded)
    if days.height < FEWEST_DAYS:
        there = "is" if days.height == 1 else "are"
        raise DataError(f"a mix is judged on {FEWEST_DAYS} recorded days or more, there {there} {days.height}")
    own = one_contract(market, venue, symbol, days["time"])
    law = VolumeLaw(opening_share, mean_holding / HOUR, reopening_damping / HOUR, bounded=False)
    model = DailyModel.of(own, venue, days["time"], law, tiers=tiers, threads=threads)
    ends = own.times + int(own.intervals[0])
    days = days.join(baselines(own), on="time", how="left", maintain_order="left").with_columns(
        **{f"{side}_book": pl.Series(model.daily(side, mix.shares(side, ends))) for side in SIDES}
    )
    plan = resampling(days["time"], seed=seed, length=length, draws=draws)
    rows = []
    for side in SIDES:
        book, plain = (drawn_correlations(days, side, name, plan) for name in ("book", BASELINE))
        lead = plan.band(book - plain)
        recorded_usd, lost = days[f"{side}_notional"].to_numpy(), days[f"{side}_book"].to_numpy()
        both = (recorded_usd > 0) & (lost > 0)
        factors = np.abs(np.log(lost[both] / recorded_usd[both]))
        factor = float(np.exp(factors.mean())) if both.any() else np.nan
        rows.append(
            (
                *(side, days.height, book[0], plain[0], lead.estimate, lead.low, lead.high),
                *(recorded_usd.sum(), lost.sum(), (factors <= np.log(2)).sum() / days.height, factor),
            )
        )
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


_SCHEMA: dict[str, Any] = {
    "side": pl.String,
    "days": pl.Int64,
    **dict.fromkeys(("correlation", "baseline", "lead", "lead_low", "lead_high"), pl.Float64),
    **dict.fromkeys(("recorded", "book", "within_two", "typical_factor"), pl.Float64),
}
