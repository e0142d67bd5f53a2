"""Accounts as the arrays their kernels take: holdings with their bars and entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from backtest.book.accounts import Accounts
from backtest.engine.accounts.bar_grid import GridBars
from backtest.errors import DataError
from backtest.kernel.accounts.terms import COIN, SHORT, Holdings
from backtest.kernel.arrays import Funding
from backtest.kernel.choices import KeyedBy
from backtest.kernel.types import Floats, Integers, readonly
from backtest.market.market import Market
from backtest.rules.rulebook import Rulebook, groups_of
from backtest.rules.timeline import not_in_force
from backtest.schemas.symbols import parts_of
from backtest.schemas.validation import offence


@dataclass(frozen=True, eq=False)
class Held:
    """Holdings and where their rows come from."""

    arrays: Holdings
    account: Integers  #: (rows,) row of the account
    leg: Integers  #: (rows,) row of the leg, -1 for collateral
    coin: Integers  #: (rows,) row of the collateral, -1 for legs
    exit_mark: Floats  #: (rows,) mark price at which a leg exits

    @property
    def leg_groups(self) -> Integers:
        """Contract and tier table of each leg, as groups of the rules."""
        return self.arrays.group[self.leg >= 0]


@dataclass(frozen=True, eq=False)
class Exits:
    """Where legs exit, (legs,) each."""

    bar: Integers  #: all bars where they do not
    price: Floats
    funding: Floats


def hold(accounts: Accounts, market: Market, bars: GridBars, funding: Funding, rules: Rulebook) -> Held:
    """Return the holdings of accounts, by account, symbol and side, longs first.

    Legs of inverse contracts are linear ones of the other side in 1 / price, as their bars are.

    Raises
    ------
    DataError
        For legs and collateral held before the first bar of their symbol, leverage missing where rates need it.
    TiersError
        For legs entered when no table was in force.
    """
    legs, coins = accounts.legs, accounts.collateral
    symbol = _codes(legs["symbol"], market.symbols)
    entry_time = _milliseconds(legs["entry_time"])
    start = _first_opening(bars.times, entry_time)
    own_first = np.array([own[0] for own in bars.own])
    early = entry_time < bars.times[own_first[symbol]]
    _refuse(legs, "legs", "entry_time must not lie before the first bar of the symbol", early, ("entry_time",))
    group = _groups(rules, symbol, entry_time, legs)
    leverage = _leverages(legs, rules, group)
    exits = _exits(legs, market, bars, funding, symbol)
    owner = _rows_of(legs["account_id"], accounts)
    coin_owner, coin_symbol = _rows_of(coins["account_id"], accounts), _codes(coins["symbol"], market.symbols)
    early = _first_starts(owner, start, len(accounts), bars)[coin_owner] < own_first[coin_symbol]
    _refuse(coins, "collateral", "a symbol must have a bar when the first leg is opened", early, ())
    account = np.concatenate([owner, coin_owner])
    side = legs["side"].to_physical().to_numpy().astype(np.int64)
    order = np.lexsort(
        (np.append(side, np.full(coins.height, COIN)), np.concatenate([symbol, coin_symbol]), account)
    )
    inverse = np.isin(symbol, list(bars.marks))
    kind = np.concatenate([np.where(inverse, SHORT - side, side), np.full(coins.height, COIN)])

    def valued(prices: Floats) -> Floats:
        return np.divide(1.0, prices, out=prices.copy(), where=inverse & (prices > 0))

    def charged(sums: Floats) -> Floats:
        return np.where(inverse, -sums, sums)

    def arranged(values: Any, of_coins: float) -> Any:
        return readonly(np.concatenate([values, np.full(coins.height, of_coins, values.dtype)])[order])

    transfer_first, transfer_bar, transfer = _transfers(accounts, bars)
    haircut_first, share, credit = _haircuts(accounts, market)
    quantity = np.concatenate([legs["quantity"].to_numpy(), coins["quantity"].to_numpy()])
    arrays = Holdings(
        first=readonly(np.searchsorted(account[order], np.arange(len(accounts) + 1))),
        wallet=readonly(_wallets(accounts)),
        since=readonly(np.zeros(len(accounts), np.int64)),
        kind=readonly(kind[order]),
        symbol=readonly(np.concatenate([symbol, coin_symbol])[order]),
        start=arranged(start, 0),
        end=arranged(exits.bar, bars.times.size),
        quantity=readonly(quantity[order]),
        entry_price=arranged(valued(legs["entry_price"].to_numpy()), 0.0),
        entry_funding=arranged(charged(_funding_at(funding, symbol, entry_time)), 0.0),
        exit_price=arranged(valued(exits.price), 0.0),
        exit_funding=arranged(charged(exits.funding), 0.0),
        group=arranged(group, 0),
        table_bar=readonly(_first_opening(bars.times, rules.rules.start)),
        leverage=arranged(leverage, 1.0),
        transfer_first=transfer_first,
        transfer_bar=transfer_bar,
        transfer=transfer,
        haircut_first=haircut_first,
        share=share,
        credit=credit,
    )
    leg = arranged(np.arange(legs.height), -1)
    coin = np.concatenate([np.full(legs.height, -1), np.arange(coins.height)])[order]
    exit_mark = arranged(exits.price, 0.0)
    return Held(arrays, readonly(account[order]), leg.astype(np.int64), readonly(coin), exit_mark)


def _wallets(accounts: Accounts) -> Floats:
    """Return the wallets less what open orders reserve."""
    wallet = accounts.accounts["wallet"].to_numpy()
    if "order_margin" in accounts.accounts.columns:
        return np.asarray(wallet - accounts.accounts["order_margin"].to_numpy())
    return wallet


def _first_starts(owner: Integers, start: Integers, accounts: int, bars: GridBars) -> Integers:
    """Return the bar in which the first leg of each account is opened; after the last bar where it has none."""
    begin = np.full(accounts, bars.times.size)
    np.minimum.at(begin, owner, start)
    return begin


def _first_opening(times: Integers, moments: Integers) -> Integers:
    """Return the first bar of the grid that opens at or after each moment; all bars where none does."""
    return np.searchsorted(times, moments, side="left").astype(np.int64)


def _exits(legs: pl.DataFrame, market: Market, bars: GridBars, funding: Funding, symbol: Integers) -> Exits:
    """Return where each leg exits: its symbol's own first opening at or after the exit time."""
    bar, price, paid = np.full(legs.height, bars.times.size), np.zeros(legs.height), np.zeros(legs.height)
    if "exit_time" not in legs.columns:
        return Exits(bar, price, paid)
    times = legs["exit_time"].to_physical().fill_null(np.iinfo(np.int64).max).to_numpy()
    opening = market.prices("mark", "open")
    for number, own in enumerate(bars.own):
        rows = np.flatnonzero(symbol == number)
        first, stop = market.firsts[number], market.firsts[number + 1]
        found = np.searchsorted(market.times[first:stop], times[rows], side="left")
        rows, found = rows[found < own.size], found[found < own.size]
        bar[rows], price[rows] = own[found], opening[first + found]
        paid[rows] = _funding_at(funding, symbol[rows], times[rows])
    return Exits(bar, price, paid)


def _funding_at(funding: Funding, symbol: Integers, moments: Integers) -> Floats:
    """Return F over the charges with an effective time at or before each moment."""
    found = np.zeros(moments.size)
    for number in np.unique(symbol):
        rows = symbol == number
        own = slice(int(funding.first[number]), int(funding.first[number + 1]))
        charges = np.searchsorted(funding.time[own][:-1], moments[rows], side="right")
        found[rows] = funding.cumulative[own][charges]
    return found


def _groups(rules: Rulebook, symbol: Integers, entry_time: Integers, legs: pl.DataFrame) -> Integers:
    """Return the group of rules each leg falls under."""
    group = groups_of(rules.rules, symbol, entry_time)
    unknown = ~rules.rules.known[group]
    if unknown.any():
        contract = rules.groups[group[np.argmax(unknown)]].contract
        broken = offence(legs, "legs", "margin tiers must be in force at the entry", _at(unknown), ("entry_time",))
        raise not_in_force(broken, contract, int(entry_time[np.argmax(unknown)]))
    return group


def _leverages(legs: pl.DataFrame, rules: Rulebook, group: Integers) -> Floats:
    """Return selected leverages, which legs must have where a rate is keyed by them; 0 where none is given."""
    if "leverage" in legs.columns:
        return legs["leverage"].to_numpy()
    keyed = rules.rules.keyed_by[group] == KeyedBy.LEVERAGE
    _refuse(legs, "legs", "there must be a column leverage where rates are keyed by it", keyed, ())
    return np.zeros(legs.height)


def _transfers(accounts: Accounts, bars: GridBars) -> tuple[Integers, Integers, Floats]:
    transfers = accounts.transfers
    owner = _rows_of(transfers["account_id"], accounts)
    bar = _first_opening(bars.times, _milliseconds(transfers["time"]))
    order = np.lexsort((bar, owner))
    first = np.searchsorted(owner[order], np.arange(len(accounts) + 1))
    return readonly(first), readonly(bar[order]), readonly(transfers["wallet_change"].to_numpy()[order])


def _haircuts(accounts: Accounts, market: Market) -> tuple[Integers, Floats, Floats]:
    """Return each symbol's schedule: the share of the value that counts, and what the parts below add."""
    first, share, credit = [0], [np.zeros(0)], [np.zeros(0)]
    parts, none = parts_of(accounts.haircuts, "symbol"), accounts.haircuts.clear()
    for symbol in market.symbols:
        own = parts.get((symbol,), none)
        floor, haircut = own["floor"].to_numpy(), own["haircut"].to_numpy()
        share.append(1 - haircut)
        credit.append(np.cumsum(np.append(0.0, floor[1:] * np.diff(haircut)))[: floor.size])
        first.append(first[-1] + floor.size)
    return readonly(np.array(first)), readonly(np.concatenate(share)), readonly(np.concatenate(credit))


def _rows_of(ids: pl.Series, accounts: Accounts) -> Integers:
    """Return the row of the account that each id names."""
    known = accounts.accounts.select("account_id").with_row_index("row")
    rows = ids.to_frame("account_id").join(known, on="account_id", how="left", maintain_order="left")["row"]
    return rows.cast(pl.Int64).to_numpy()


def _codes(symbols: pl.Series, known: tuple[str, ...]) -> Integers:
    return symbols.cast(pl.Enum(known)).to_physical().to_numpy().astype(np.int64)


def _milliseconds(times: pl.Series) -> Integers:
    return times.to_physical().to_numpy()


def _at(rows: np.ndarray) -> pl.Expr:
    return pl.lit(pl.Series(rows))


def _refuse(frame: pl.DataFrame, argument: str, sentence: str, bad: np.ndarray, names: tuple[str, ...]) -> None:
    if bad.any():
        raise DataError(offence(frame, argument, sentence, _at(bad), names))
