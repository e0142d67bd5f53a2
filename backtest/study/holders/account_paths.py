"""Path of an account: equity and maintenance margin, bar by bar."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

from backtest.book.accounts import Accounts
from backtest.engine.accounts.prepare import Convention, prepare
from backtest.engine.accounts.run import followed
from backtest.market.market import Market
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Time


@checked
def account_path(
    accounts: Accounts,
    account_id: int | str,
    market: Market,
    venue: Venue,
    *,
    convention: Convention = "joint_worst",
    profit: Literal["shared", "excluded", "per_position"] | None = None,
    hedged: Literal["liquidatable", "exempt"] | None = None,
    tiers: Tiers = "strict",
) -> pl.DataFrame:
    """Return an account's equity and maintenance margin over the bars with open legs, as if never liquidated.

    Parameters
    ----------
    convention, profit, hedged, tiers
        As :func:`~backtest.sweep_accounts` takes them.

    Returns
    -------
    A row a bar: ``time`` (open time), ``equity`` and ``maintenance_margin`` at the closes, as the profit rule
    counts them, and ``worst_equity``: the equity at the convention's worst prices in the bar, against the same
    margin. The account is liquidatable where ``worst_equity`` is at most ``maintenance_margin``.

    Examples
    --------
    >>> from backtest.study import holders
    >>> path = holders.account_path(accounts, 0, market, venue)
    >>> path.columns
    ['time', 'equity', 'maintenance_margin', 'worst_equity']
    """
    prepared = prepare(
        accounts.only(account_id), market, venue, convention=convention, profit=profit, hedged=hedged,
        bracket=False, tiers=tiers, threads=1,
    )  # fmt: skip
    closes, worst, needed = followed(prepared)
    held = np.flatnonzero(~np.isnan(closes))
    return pl.DataFrame(
        {
            "time": pl.Series(prepared.bars.times[held]).cast(Time),
            "equity": (closes + needed)[held],
            "maintenance_margin": needed[held],
            "worst_equity": (worst + needed)[held],
        }
    )
