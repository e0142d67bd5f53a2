"""Liquidation prices of accounts in cross margin, without bars: per symbol, and of a common factor on prices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backtest.book.accounts import Accounts
from backtest.engine.accounts.account_view import AccountPrices, Solved, frames_of
from backtest.engine.accounts.at_marks import AtMarks, at_marks, require_standing
from backtest.engine.accounts.contracts import check_contracts
from backtest.engine.accounts.nearest_roots import Curves, nearest
from backtest.engine.accounts.price_terms import Lines, results, slices
from backtest.errors import ArgumentError
from backtest.kernel.types import Flags, Floats, Integers
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked

#: Rules that say which unrealised profit is margin.
PROFITS = ("shared", "excluded", "per_position")


@checked
def account_prices(
    accounts: Accounts,
    venue: Venue,
    prices: Mapping[str, float] | None = None,
    *,
    profit: str | None = None,
    hedged: str | None = None,
    tiers: Tiers = "strict",
    daily_volatility: Mapping[str, float] | None = None,
) -> AccountPrices:
    """Return equity, maintenance margin and liquidation prices of accounts in cross margin, as they are now.

    Equity less maintenance margin is a line with kinks in every price, and in a common factor on all prices: it is
    solved exactly, piece by piece. ``sweep_accounts`` liquidates at the same prices. Funding is not counted.

    Parameters
    ----------
    accounts
        Wallets with their legs, linear or inverse, and collateral; legs that exit and transfers are refused.
    venue
        A venue, its name, or the path of its file.
    prices : quote per base, by symbol
        Mark prices, or those that the venue triggers on. A symbol left out is at the account's average entry
        price; one held as collateral alone must be given.
    profit
        Unrealised profit is margin for the whole account (``shared``), for none until settled (``excluded``) or
        for its own position (``per_position``); None: the venue's rule.
    hedged
        Accounts whose longs and shorts are equal in every symbol are ``liquidatable`` or ``exempt``; None: the
        venue's rule.
    tiers
        Legs entered when no table was in force: as in :func:`~backtest.sweep`.
    daily_volatility
        Standard deviations of a day's log returns by symbol, and of a common factor as ``"common"``; adds
        distances in days of volatility.

    Returns
    -------
    AccountPrices
        ``accounts``, ``symbols`` and ``positions``, a frame each.

    Raises
    ------
    ArgumentError
        For unknown choices, prices that are missing or not above zero.
    DataError
        For legs that exit, transfers, positions beyond their tiers, leverages missing where they are needed.
    RulesError
        For contracts that an account cannot hold together.
    TiersError
        For legs entered when no table was in force.

    Examples
    --------
    >>> from backtest import Accounts, account_prices
    >>> legs = {"account_id": ["A", "A"], "symbol": ["BTCUSDT", "ETHUSDT"], "side": ["long", "short"],
    ...         "entry_time": [noon, noon], "entry_price": [38_000.0, 2_500.0], "quantity": [1.0, 10.0]}
    >>> held = Accounts({"account_id": ["A"], "wallet": [5_000.0]}, legs)
    >>> found = account_prices(held, "binance", {"BTCUSDT": 38_000, "ETHUSDT": 2_500}, tiers="nearest")
    >>> found.symbols.select("symbol", pl.col("price_below", "price_above").round(2)).rows()
    [('BTCUSDT', 33280.62, None), ('ETHUSDT', None, 2967.01)]
    >>> found.accounts.select("equity", "maintenance_margin").rows()
    [(5000.0, 299.5)]
    """
    profit, hedged = profit or venue.cross.profit, hedged or venue.cross.hedged
    if profit not in PROFITS:
        raise ArgumentError(f"must be one of {', '.join(PROFITS)}, is {profit!r}", argument="profit")
    if hedged not in ("liquidatable", "exempt"):
        raise ArgumentError(f"must be liquidatable or exempt, is {hedged!r}", argument="hedged")
    require_standing(accounts)
    symbols = tuple(dict.fromkeys([*accounts.symbols, *accounts.coins]))
    contracts = venue.contracts_of(accounts.symbols)
    strict = check_contracts(contracts, accounts, venue)
    now = at_marks(accounts, contracts, symbols, prices or {}, tiers, always=venue.tiers_apply == "always")
    return frames_of(accounts, venue, now, _solve(now, profit, strict, hedged == "exempt"), daily_volatility)


def _solve(now: AtMarks, profit: str, strict: bool, exempt: bool) -> Solved:
    """Return the nearest liquidations; under ``per_position`` an account is looked at once for each position."""
    view_account, source, view, terms = _views(now, profit)
    symbol, inverse, mark = now.symbol[source], now.inverse[source], now.mark[source]
    x = np.where(inverse, 1 / mark, mark)
    value = terms.at(x)
    left_over = now.wallet[view_account] + np.bincount(view, value, minlength=view_account.size)
    pairs, pair = np.unique(view * len(now.symbols) + symbol, return_inverse=True)
    pair_view, pair_symbol = np.divmod(pairs, len(now.symbols))
    still = left_over[pair_view] - np.bincount(pair, value, minlength=pairs.size)
    common = nearest(_curves(terms, view, x, inverse, now.wallet[view_account]))
    alone = nearest(_curves(terms, pair, x, inverse, still))
    liquidated = left_over < 0 if strict else left_over <= 0
    spared = _hedged(now)[view_account] if exempt else np.zeros(view_account.size, np.bool_)
    gone = liquidated | spared
    most, own_most = np.full(gone.size, np.inf), np.full(pairs.size, np.inf)
    np.minimum.at(most, view, now.highest[source])
    np.minimum.at(own_most, pair, now.highest[source])
    below, above = (np.where(gone | (found > most), np.nan, found) for found in common)
    own_below, own_above = (np.where(gone[pair_view] | (found > own_most), np.nan, found) for found in alone)
    first = np.searchsorted(view_account, np.arange(now.wallet.size))
    own_pair, of_pair = np.unique(view_account[pair_view] * len(now.symbols) + pair_symbol, return_inverse=True)
    order = np.argsort(of_pair, kind="stable")
    begin = np.searchsorted(of_pair[order], np.arange(own_pair.size))
    return Solved(
        np.minimum.reduceat(left_over, first),
        np.logical_or.reduceat(liquidated & ~spared, first),
        np.fmax.reduceat(below, first),
        np.fmin.reduceat(above, first),
        own_pair // len(now.symbols),
        own_pair % len(now.symbols),
        np.fmax.reduceat(own_below[order], begin),
        np.fmin.reduceat(own_above[order], begin),
    )


def _views(now: AtMarks, profit: str) -> tuple[Integers, Integers, Integers, Lines]:
    """Return the account of each view, and the terms of all views: where each comes from, its view, the lines."""
    accounts, count = now.wallet.size, now.held.account.size
    positions = np.bincount(now.held.account, minlength=accounts)
    many = positions if profit == "per_position" else np.ones(accounts, np.int64)
    view_account = np.repeat(np.arange(accounts), many)
    order = np.argsort(now.account, kind="stable")
    each = np.bincount(now.account, minlength=accounts)
    first = np.cumsum(each) - each
    source = order[slices(first, each, view_account)]
    view = np.repeat(np.arange(view_account.size), each[view_account])
    counted = results(now.held, usable=True).plus(now.needs).joined(now.coins)
    if profit == "shared":
        return view_account, source, view, counted.of(source)
    losses = results(now.held, usable=False).plus(now.needs).joined(now.coins)
    own = np.arange(view_account.size) - (np.cumsum(many) - many)[view_account]
    number = np.arange(count) - (np.cumsum(positions) - positions)[now.held.account]
    number = np.concatenate([number, np.full(now.coin_account.size, -1)])[source]
    usable = (number == own[view]) & (profit == "per_position")
    both = counted.joined(losses)
    return view_account, source, view, both.of(np.where(usable, source, source + now.mark.size))


def _curves(terms: Lines, curve: Integers, x: Floats, inverse: Flags, constant: Floats) -> Curves:
    """Return sums of terms as curves of a factor on their prices."""
    slope = terms.slope * x
    start = np.zeros((constant.size, 3))
    start[:, 0] = np.bincount(curve, np.where(inverse, 0.0, slope), minlength=constant.size)
    start[:, 1] = np.bincount(curve, terms.level, minlength=constant.size) + constant
    start[:, 2] = np.bincount(curve, np.where(inverse, slope, 0.0), minlength=constant.size)
    own, bent = curve[terms.term], terms.drop * x[terms.term]
    back, raised = inverse[terms.term], terms.drop * terms.kink
    start[:, 1] += np.bincount(own, np.where(back, raised, 0.0), minlength=constant.size)
    start[:, 2] -= np.bincount(own, np.where(back, bent, 0.0), minlength=constant.size)
    edge = np.where(back, x[terms.term] / terms.kink, terms.kink / x[terms.term])
    jump = np.stack(
        [np.where(back, 0.0, -bent), np.where(back, -raised, raised), np.where(back, bent, 0.0)], axis=1
    )
    return Curves(start, own, edge, jump)


def _hedged(now: AtMarks) -> Flags:
    """Return which accounts hold of every symbol as much long as short."""
    held = now.held
    key = held.account * len(now.symbols) + held.symbol
    pairs, pair = np.unique(key, return_inverse=True)
    longs = np.bincount(pair, np.where(held.side > 0, held.quantity, 0.0), minlength=pairs.size)
    shorts = np.bincount(pair, np.where(held.side < 0, held.quantity, 0.0), minlength=pairs.size)
    open_pairs = np.bincount(pairs // len(now.symbols), longs != shorts, minlength=now.wallet.size)
    hedged: Flags = open_pairs == 0
    return hedged
