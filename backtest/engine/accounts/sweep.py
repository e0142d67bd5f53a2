"""Sweep of accounts in cross margin: liquidations and the outcome of each leg."""

from __future__ import annotations

from typing import Literal

from backtest.book.accounts import Accounts
from backtest.engine.accounts import frames
from backtest.engine.accounts.frames import AccountOutcomes
from backtest.engine.accounts.prepare import Convention, prepare
from backtest.engine.accounts.run import run
from backtest.engine.input_warnings import warn_of_substitutes, warn_once
from backtest.market.market import Market
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked


@checked
def sweep_accounts(
    accounts: Accounts,
    market: Market,
    venue: Venue,
    *,
    convention: Convention = "joint_worst",
    profit: Literal["shared", "excluded", "per_position"] | None = None,
    hedged: Literal["liquidatable", "exempt"] | None = None,
    bracket: bool = True,
    tiers: Tiers = "strict",
    threads: int | None = None,
) -> AccountOutcomes:
    """Return the outcomes of accounts in cross margin, and of each of their legs, under a venue's rules.

    Parameters
    ----------
    accounts, market, venue
        Wallets with their legs and collateral, mark prices and funding, and the rules.
    convention
        Where the symbols are inside a bar, of which only low, high and close are known: each at its own worst
        (``own_worst``, liquidates too many hedges), the worst of all lows, all highs, all closes
        (``joint_worst``), all closes (``closes``, misses some).
    profit
        Unrealised profit is margin for the whole account (``shared``), for none until settled (``excluded``) or
        for its own position (``per_position``); None: the venue's rule.
    hedged
        Accounts whose longs and shorts are equal in every symbol are ``liquidatable`` or ``exempt``; None: the
        venue's rule.
    bracket
        Whether ``own_worst`` and ``closes`` are followed too, for ``earliest_liquidation``,
        ``latest_liquidation`` and ``ambiguous``, which are null otherwise.
    tiers
        Legs entered when no table was in force: as in :func:`~backtest.sweep`.
    threads
        Number of threads; None: one per core. Results do not depend on it.

    Returns
    -------
    Frames of accounts and legs in the order given. See ``docs/accounts.md`` for what each column means.

    Raises
    ------
    ArgumentError
        For unknown choices.
    DataError
        For accounts the market or the venue cannot take: unknown symbols, bars off a common grid, legs before
        their symbol's first bar, positions beyond their tiers, leverages missing where they are needed.
    RulesError
        For contracts an account cannot hold: mixed settlement currencies or triggers.
    TiersError
        For legs entered when no table was in force.

    Examples
    --------
    >>> from backtest import sweep_accounts
    >>> swept = sweep_accounts(accounts, market, venue)
    >>> swept.accounts.shape, swept.legs.shape
    ((100, 13), (100, 20))
    >>> swept.accounts["outcome"].value_counts(sort=True).rows()
    [('exited', 82), ('liquidated', 18)]
    """
    warn_once(accounts, market)
    prepared = prepare(
        accounts, market, venue, convention=convention, profit=profit, hedged=hedged, bracket=bracket, tiers=tiers,
        threads=threads,
    )  # fmt: skip
    warn_of_substitutes(accounts, prepared.rules, prepared.held.leg_groups)
    ends = run(prepared, threads)
    return frames.named(prepared, ends, bracket=bracket)
