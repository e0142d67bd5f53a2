"""Margin-ratio alerts replayed over history: when a holder would have been warned, and how often."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import numpy as np
import polars as pl

from backtest.book.accounts import Accounts
from backtest.engine import columns
from backtest.engine.accounts.prepare import Convention, prepare
from backtest.engine.accounts.run import run, watch
from backtest.errors import ArgumentError
from backtest.kernel.choices import OutcomeCode
from backtest.kernel.types import Flags, Integers
from backtest.market.market import Market
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Outcome


@checked
def replay_alerts(
    accounts: Accounts,
    market: Market,
    venue: Venue,
    *,
    ratio: float = 0.8,
    quiet: timedelta = timedelta(minutes=30),
    convention: Convention = "joint_worst",
    profit: Literal["shared", "excluded", "per_position"] | None = None,
    hedged: Literal["liquidatable", "exempt"] | None = None,
    tiers: Tiers = "strict",
    threads: int | None = None,
) -> pl.DataFrame:
    """Return the alerts at a margin ratio, over the holding period of each account.

    Parameters
    ----------
    ratio
        Maintenance margin over equity at which the alert is given: 1 is liquidation. Under ``per_position`` profit
        the worst position decides.
    quiet
        How long after an alert none is given.
    accounts, market, venue, convention, profit, hedged, tiers, threads
        As :func:`~backtest.sweep_accounts` takes them.

    Returns
    -------
    A row an account: its columns, ``outcome, outcome_time`` of the sweep, ``alerts`` (how many),
    ``first_alert``, ``last_alert`` (openings of bars, null where there is none), ``warning``: from the end of
    the first alert's bar to the opening of the bar that liquidates, zero where they are one; null unless both
    came.

    Examples
    --------
    >>> from backtest.study import holders
    >>> found = holders.replay_alerts(accounts, market, venue, ratio=0.5)
    >>> int(found["alerts"].sum()), found["warning"].count()
    (43, 18)
    """
    if not (isinstance(ratio, (int, float)) and 0 < ratio < 1):
        raise ArgumentError(
            f"must lie between 0 and 1 (maintenance margin over equity), is {ratio!r}", argument="ratio"
        )
    if not isinstance(quiet, timedelta) or quiet <= timedelta(0):
        raise ArgumentError(f"must be a timedelta above zero, is {quiet!r}", argument="quiet")
    prepared = prepare(
        accounts, market, venue, convention=convention, profit=profit, hedged=hedged, bracket=False, tiers=tiers,
        threads=threads,
    )  # fmt: skip
    ends = run(prepared, threads)
    times, count = prepared.bars.times, prepared.bars.times.size
    interval = int(times[1] - times[0]) if count > 1 else 1
    quiet_bars = max(1, -(-int(quiet / timedelta(milliseconds=1)) // interval))
    until = np.where(
        ends.outcome == OutcomeCode.OPEN,
        count,
        np.where(ends.outcome == OutcomeCode.LIQUIDATED, ends.bar, ends.bar - 1),
    )
    first, last, number = watch(prepared, 1 / ratio, until, quiet_bars, threads)
    warned = (number > 0) & (ends.outcome == OutcomeCode.LIQUIDATED)
    warning = np.maximum(0, (ends.bar - first - 1) * interval)

    def moments(bar: Integers, there: Flags) -> pl.Series:
        return columns.times(times[np.where(there, bar, 0)], there)

    return accounts.accounts.with_columns(
        outcome=columns.categories(Outcome, ends.outcome),
        outcome_time=moments(ends.bar, ends.outcome != OutcomeCode.OPEN),
        alerts=pl.Series(number),
        first_alert=moments(first, number > 0),
        last_alert=moments(last, number > 0),
        warning=columns.where(warned, pl.Series(warning).cast(pl.Duration("ms"))),
    )
