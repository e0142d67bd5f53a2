"""Accounts as they are now: checked, with the rules of their legs and the mark prices of what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from backtest.amounts import plain
from backtest.book.accounts import Accounts
from backtest.engine.accounts.contracts import reserving
from backtest.engine.accounts.price_terms import (
    Lines,
    Positions,
    beyond,
    collateral_terms,
    positions_of,
    requirements,
    rows_of,
    sizes,
)
from backtest.engine.price_checks import check_traded
from backtest.errors import ArgumentError, DataError
from backtest.kernel.choices import ContractKind, KeyedBy
from backtest.kernel.types import Flags, Floats, Integers
from backtest.rules.contract import Contract
from backtest.rules.rulebook import Rulebook, groups_after, groups_of, rulebook
from backtest.rules.timeline import Tiers, by_symbol, not_in_force, of_symbols
from backtest.schemas.validation import offence


@dataclass(frozen=True, eq=False)
class AtMarks:
    """Accounts at mark prices: positions first, then collateral, as terms."""

    symbols: tuple[str, ...]
    rules: Rulebook
    wallet: Floats  #: (accounts,) less what is held back
    held_back: Floats  #: (accounts,) by open orders
    held: Positions
    coin_account: Integers
    coin_symbol: Integers
    coin_quantity: Floats
    mark: Floats  #: (terms,)
    needs: Lines  #: of positions
    coins: Lines

    @property
    def highest(self) -> Floats:
        """The highest factor on each term's price: face-value contracts are worth at most 1."""
        face = self.rules.rules.kind[self.held.group] == ContractKind.FACE_VALUE
        found = np.full(self.mark.size, np.inf)
        found[: face.size] = np.where(face, 1 / self.mark[: face.size], np.inf)
        return found

    @property
    def account(self) -> Integers:
        """Account of each term."""
        return np.concatenate([self.held.account, self.coin_account])

    @property
    def symbol(self) -> Integers:
        """Symbol of each term."""
        return np.concatenate([self.held.symbol, self.coin_symbol])

    @property
    def inverse(self) -> Flags:
        """Whether a term is straight in 1 / price."""
        return np.concatenate([self.held.inverse, np.zeros(self.coin_account.size, np.bool_)])


def at_marks(
    accounts: Accounts,
    contracts: list[Contract],
    symbols: tuple[str, ...],
    prices: Mapping[str, float],
    tiers: Tiers,
    *,
    always: bool,
) -> AtMarks:
    """Return accounts with their rules and the prices of what they hold.

    ``always``: new tables apply to open positions as well.
    """
    legs, coins = accounts.legs, accounts.collateral
    check_traded(legs, "legs", contracts)
    for contract in contracts:
        if contract.kind == "face_value" and prices.get(contract.symbol, 0.0) > 1:
            given = plain(prices[contract.symbol])
            sentence = f"of {contract.symbol}, a face-value contract, must be at most 1, is {given}"
            raise ArgumentError(sentence, argument="prices")
    rules = _rules(accounts, contracts, tiers, always=always)
    account, symbol = rows_of(legs["account_id"], accounts), _codes(legs["symbol"], symbols)
    held = positions_of(legs, account, symbol, _groups(rules, symbol, legs), rules.rules)
    large = beyond(held, rules.rules)
    if large.any():
        bad = np.zeros(len(accounts), np.bool_)
        bad[held.account[large]] = True
        sentence = "positions must be of a size their tiers cover"
        raise DataError(offence(accounts.accounts, "accounts", sentence, pl.lit(pl.Series(bad)), ()))
    coin_account, coin_symbol = rows_of(coins["account_id"], accounts), _codes(coins["symbol"], symbols)
    quantity = coins["quantity"].to_numpy()
    wallet, held_back = accounts.accounts["wallet"].to_numpy(), np.zeros(len(accounts))
    if "order_margin" in accounts.accounts.columns:
        held_back = accounts.accounts["order_margin"].to_numpy()
    needs = requirements(held, rules.rules)
    reserved = _reserved(held, rules, wallet - held_back)
    return AtMarks(
        symbols,
        rules,
        wallet - held_back,
        held_back,
        held,
        coin_account,
        coin_symbol,
        quantity,
        _marks(held, coin_account, coin_symbol, symbols, prices),
        replace(needs, level=needs.level - reserved),
        collateral_terms(quantity, coin_symbol, symbols, accounts.haircuts),
    )


def _reserved(held: Positions, rules: Rulebook, wallet: Floats) -> Floats:
    """Return the closing fee that each position reserves at the bankruptcy price of its margin."""
    group, rising, given = held.group, held.rising, held.leverage > 0
    size = sizes(held, rules.rules)
    margin = np.where(given, size / np.where(given, held.leverage, 1.0), wallet[held.account])
    included = np.where(given, 0.0, rules.rules.included_fee[group])
    bankrupt = (rising * held.cost - margin) / (held.quantity * (rising - included))  # x
    face = rules.rules.kind[group] == ContractKind.FACE_VALUE
    notional = np.where(face, held.quantity, held.quantity * bankrupt)
    reserved: Floats = np.where(bankrupt > 0, rules.rules.reserved_fee[group] * notional, 0.0)
    return reserved


def _marks(
    held: Positions,
    coin_account: Integers,
    coin_symbol: Integers,
    symbols: tuple[str, ...],
    prices: Mapping[str, float],
) -> Floats:
    """Return the mark price of each term: as given, else the average entry price of the account in the symbol."""
    strange = sorted(set(prices) - set(symbols))
    if strange:
        held_symbols = ", ".join(symbols)
        raise ArgumentError(f"{strange[0]!r} is held by no account: they hold {held_symbols}", argument="prices")
    for name, value in prices.items():
        if not 0 < value < np.inf:
            raise ArgumentError(f"of {name} must be a finite number above zero, is {value!r}", argument="prices")
    given = np.array([prices.get(name, np.nan) for name in symbols])
    key = held.account * len(symbols) + held.symbol
    pairs, pair = np.unique(key, return_inverse=True)
    quantity = np.bincount(pair, held.quantity, minlength=pairs.size)
    cost = np.bincount(pair, held.cost, minlength=pairs.size)
    inverse = np.zeros(pairs.size, np.bool_)
    inverse[pair] = held.inverse
    entry = np.where(inverse, quantity / cost, cost / quantity)
    coin = coin_account * len(symbols) + coin_symbol
    place = np.minimum(np.searchsorted(pairs, coin), pairs.size - 1)
    coin_entry = np.where(pairs[place] == coin, entry[place], np.nan)
    mark = np.concatenate([given[held.symbol], given[coin_symbol]])
    mark = np.where(np.isnan(mark), np.concatenate([entry[pair], coin_entry]), mark)
    if np.isnan(mark).any():
        name = symbols[coin_symbol[np.isnan(mark[held.account.size :])][0]]
        raise ArgumentError(f"must hold {name}, which an account holds as collateral alone", argument="prices")
    return mark


def _rules(accounts: Accounts, contracts: list[Contract], tiers: Tiers, *, always: bool) -> Rulebook:
    times = accounts.legs["entry_time"].to_physical().to_numpy()
    rules = rulebook(
        contracts,
        returned=False,
        pro_rata=False,
        always=always,
        tiers=of_symbols(by_symbol(tiers, contracts), accounts.symbols),
        first_time=[int(times.min())] * len(contracts),
        last_time=[int(times.max()) + 1] * len(contracts),
        leverages={},
    )
    return reserving(rules, accounts)


def _groups(rules: Rulebook, symbol: Integers, legs: pl.DataFrame) -> Integers:
    """Return the rules that each leg falls under: by its entry, or by the account's last one."""
    times = legs["entry_time"].to_physical().to_numpy()
    group = groups_of(rules.rules, symbol, times)
    keyed = rules.rules.keyed_by[group] == KeyedBy.LEVERAGE
    if keyed.any() and "leverage" not in legs.columns:
        sentence = "there must be a column leverage where rates are keyed by it"
        raise DataError(offence(legs, "legs", sentence, pl.lit(pl.Series(keyed)), ("symbol",)))
    unknown = ~rules.rules.known[group]
    if unknown.any():
        contract = rules.groups[group[np.argmax(unknown)]].contract
        sentence = "margin tiers must be in force at the entry"
        broken = offence(legs, "legs", sentence, pl.lit(pl.Series(unknown)), ("entry_time",))
        raise not_in_force(broken, contract, int(times[np.argmax(unknown)]))
    latest = legs.select(pl.col("entry_time").max().over("account_id")).to_series().to_physical().to_numpy()
    return groups_after(rules.rules, group, latest)


def require_standing(accounts: Accounts) -> None:
    """Refuse legs that exit, and transfers: accounts are as they are now."""
    legs = accounts.legs
    if "exit_time" in legs.columns and legs["exit_time"].is_not_null().any():
        leaves = pl.col("exit_time").is_not_null()
        raise DataError(
            offence(legs, "legs", "legs must be open, without an exit_time", leaves, ("symbol", "exit_time"))
        )
    if not accounts.transfers.is_empty():
        raise DataError("transfers are for sweeps: give each wallet as it is now")


def _codes(symbols: pl.Series, known: tuple[str, ...]) -> Integers:
    return symbols.cast(pl.Enum(known)).to_physical().to_numpy().astype(np.int64)
