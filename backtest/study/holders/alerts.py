"""Value of margin-ratio alerts: warning time, alerts in vain, accounts saved by acting on them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import polars as pl

from backtest.schemas.arguments import checked

__all__ = ["saved", "vigilance", "worth"]
__dir__ = __all__.copy

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@checked
def worth(replayed: pl.DataFrame) -> pl.DataFrame:
    """Return the performance of an alert, in one row.

    Parameters
    ----------
    replayed
        As :func:`~backtest.engine.accounts.alerts.alerts` returns it.

    Returns
    -------
    ``accounts, alerts`` (given, over all holding periods), ``alerted`` (accounts with at least one),
    ``liquidated``, ``warned`` (liquidated after an alert in an earlier bar), ``in_vain`` (alerted, not
    liquidated), ``warned_share`` of the liquidated, ``in_vain_share`` of the alerted, and quantiles of the
    warning among the liquidated that were alerted, ``warning_10`` ... ``warning_90``. Shares are NaN where
    nothing was liquidated or alerted, quantiles null.

    Examples
    --------
    >>> from backtest.study import holders
    >>> alerts = holders.replay_alerts(accounts, market, venue, ratio=0.8)
    >>> holders.alerts.worth(alerts).select("liquidated", "warned", "in_vain").row(0)
    (18, 2, 1)
    """
    liquidated, alerted = pl.col("outcome") == "liquidated", pl.col("alerts") > 0
    earlier = liquidated & (pl.col("first_alert") < pl.col("outcome_time"))
    return (
        replayed.lazy()
        .select(
            accounts=pl.len(),
            alerts=pl.col("alerts").sum(),
            alerted=alerted.sum(),
            liquidated=liquidated.sum(),
            warned=earlier.sum(),
            in_vain=(alerted & ~liquidated).sum(),
            warned_share=earlier.sum() / liquidated.sum(),
            in_vain_share=(alerted & ~liquidated).sum() / alerted.sum(),
            **{f"warning_{round(100 * q)}": pl.col("warning").quantile(q, "lower") for q in QUANTILES},
        )
        .collect()
    )


@checked
def saved(replayed: pl.DataFrame, within: Iterable[timedelta]) -> pl.DataFrame:
    """Return how many liquidated accounts closing within a time of the first alert would have saved.

    An alert is assumed to come at the end of its bar, the latest possible time; an account closed by the open of
    the bar that liquidates it is saved.

    Returns
    -------
    ``within, saved, saved_share`` (of the liquidated, NaN where there are none), a row a time.

    Examples
    --------
    >>> from backtest.study import holders
    >>> alerts = holders.replay_alerts(accounts, market, venue, ratio=0.8)
    >>> holders.alerts.saved(alerts, [timedelta(hours=1), timedelta(hours=12)])
    shape: (2, 3)
    ┌──────────────┬───────┬─────────────┐
    │ within       ┆ saved ┆ saved_share │
    │ ---          ┆ ---   ┆ ---         │
    │ duration[ms] ┆ i64   ┆ f64         │
    ╞══════════════╪═══════╪═════════════╡
    │ 1h           ┆ 2     ┆ 0.111111    │
    │ 12h          ┆ 0     ┆ 0.0         │
    └──────────────┴───────┴─────────────┘
    """
    rows = [
        {"within": time, "saved": int(replayed.select((pl.col("warning") >= time).sum()).item())}
        for time in within
    ]
    liquidated = replayed.select((pl.col("outcome") == "liquidated").sum()).item()
    frame = pl.DataFrame(rows, schema={"within": pl.Duration("ms"), "saved": pl.Int64})
    return frame.with_columns(saved_share=pl.col("saved") / liquidated)


@checked
def vigilance(replays: dict[float, pl.DataFrame]) -> pl.DataFrame:
    """Return :func:`worth` of several ratios, a row each: early alerts warn longer and are more often in vain.

    Examples
    --------
    >>> from backtest.study import holders
    >>> alerts = holders.replay_alerts(accounts, market, venue, ratio=0.8)
    >>> holders.alerts.vigilance({0.8: alerts}).select("ratio", "accounts", "alerted").row(0)
    (0.8, 100, 19)
    """
    rows = [worth(replayed).select(pl.lit(ratio).alias("ratio"), pl.all()) for ratio, replayed in replays.items()]
    return pl.concat(rows)
