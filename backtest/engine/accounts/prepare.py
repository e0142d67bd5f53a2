"""Accounts, a market and a venue's rules as arrays, checked: the start of every sweep of accounts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from backtest.book.accounts import Accounts
from backtest.engine import market_arrays, price_checks
from backtest.engine.accounts.bar_grid import GridBars, grid_of
from backtest.engine.accounts.contracts import check_contracts, reserving
from backtest.engine.accounts.holdings import Held, hold
from backtest.engine.arguments import require_threads
from backtest.errors import DataError, RulesError
from backtest.kernel.accounts import sweep
from backtest.kernel.arrays import Funding
from backtest.kernel.choices import AccountPrices, ContractKind, Profit
from backtest.kernel.types import Floats, readonly
from backtest.market.market import Market
from backtest.rules.contract import Contract
from backtest.rules.rulebook import Rulebook, rulebook
from backtest.rules.timeline import Tiers, by_symbol, of_symbols
from backtest.rules.venue import Venue
from backtest.schemas.symbols import parts_of
from backtest.schemas.validation import offence

Convention = Literal["own_worst", "joint_worst", "closes"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Accounts, a market and a venue's rules as arrays."""

    accounts: Accounts
    market: Market  #: of the symbols held alone
    bars: GridBars
    funding: Funding
    rules: Rulebook
    held: Held
    options: sweep.Options


def prepare(
    accounts: Accounts,
    market: Market,
    venue: Venue,
    *,
    convention: str,
    profit: str | None,
    hedged: str | None,
    bracket: bool,
    tiers: Tiers,
    threads: int | None,
) -> Prepared:
    """Return the checked inputs of a sweep of accounts."""
    require_threads(threads)
    profit, hedged = profit or venue.cross.profit, hedged or venue.cross.hedged
    _check_symbols(accounts, market)
    held_market = _of_symbols(market, accounts)
    contracts = venue.contracts_of(held_market.symbols, accounts.symbols)
    traded = [contract for contract in contracts if contract.symbol in accounts.symbols]
    _check_trigger_price(venue)
    strict = check_contracts(traded, accounts, venue)
    price_checks.check_bars(held_market, traded, "mark")
    price_checks.check_traded(accounts.legs, "legs", traded)
    inverse = [own.kind == "inverse" and own in traded for own in contracts]
    funding, bars = _grid(held_market, contracts, market, inverse)
    rules = rulebook(
        contracts,
        returned=venue.remainder == "returned",
        pro_rata=False,
        always=venue.tiers_apply == "always",
        tiers=of_symbols(by_symbol(tiers, traded or contracts), accounts.symbols),
        first_time=[int(bars.times[0])] * len(contracts),
        last_time=[max(int(bars.times[-1]), _last_entry(accounts)) + 1] * len(contracts),
        leverages=_distinct_leverages(accounts, traded),
    )
    rules = _in_values(reserving(rules, accounts), inverse)
    held = hold(accounts, held_market, bars, funding, rules)
    codes = AccountPrices.code(convention), bracket, Profit.code(profit)
    options = sweep.Options(*codes, strict, hedged == "exempt", 1.0)
    return Prepared(accounts, held_market, bars, funding, rules, held, options)


def _last_entry(accounts: Accounts) -> int:
    """Return the last time at which a leg is entered, which may lie after the last bar."""
    return int(accounts.legs["entry_time"].to_physical().to_numpy().max(initial=0))


def _of_symbols(market: Market, accounts: Accounts) -> Market:
    """Return the market of the symbols that accounts hold, in its own order; a second sweep of them reuses it."""
    held = {*accounts.symbols, *accounts.coins}
    order = tuple(symbol for symbol in market.symbols if symbol in held)
    if order == market.symbols:
        return market
    known: Market | None = market.kept("symbols", order)
    return known or market.keep("symbols", order, market.select(order))


def _in_values(rules: Rulebook, inverse: list[bool]) -> Rulebook:
    """Return rules whose arrays take inverse contracts for linear ones, which they are in the grid's values."""
    kind = rules.rules.kind.copy()
    of_symbol = np.repeat(inverse, np.diff(rules.rules.first))
    kind[of_symbol] = ContractKind.LINEAR
    return replace(rules, rules=rules.rules._replace(kind=readonly(kind)))


def _grid(
    market: Market, contracts: list[Contract], whole: Market, inverse: list[bool]
) -> tuple[Funding, GridBars]:
    kinds = tuple((own.symbol, own.kind, own_inverse) for own, own_inverse in zip(contracts, inverse, strict=True))
    key = (int(whole.times.min()), int(whole.times.max()), kinds)
    last: tuple[Funding, GridBars] | None = market.kept("grid", key)
    if last is not None:
        return last
    funding = market_arrays.funding_of(market, contracts)
    return market.keep("grid", key, (funding, grid_of(market, funding, whole, inverse)))


def _check_symbols(accounts: Accounts, market: Market) -> None:
    for argument, frame in (("legs", accounts.legs), ("collateral", accounts.collateral)):
        strange = ~pl.col("symbol").is_in(list(market.symbols))
        if frame.select(strange.any()).item():
            sentence = f"symbol must be one of the bars' ({', '.join(market.symbols)})"
            raise DataError(offence(frame, argument, sentence, strange, ("symbol",)))


def _check_trigger_price(venue: Venue) -> None:
    if venue.trigger_price != "mark":
        raise RulesError(
            f"rules.trigger_price: accounts are valued at the mark price, {venue.name!r} triggers on the "
            f"{venue.trigger_price} price (change it: venue.with_(trigger_price='mark'))"
        )


def _distinct_leverages(accounts: Accounts, contracts: list[Contract]) -> dict[str, Floats]:
    """Return the selected leverages of symbols whose varying requirement is keyed by them."""
    found = {}
    keyed = [contract for contract in contracts if contract.needs_leverages]
    if not keyed or "leverage" not in accounts.legs.columns:
        return {}
    parts, none = parts_of(accounts.legs, "symbol"), accounts.legs.clear()
    for contract in keyed:
        found[contract.symbol] = np.unique(parts.get((contract.symbol,), none)["leverage"].to_numpy())
    return found
