"""The sweep of accounts: which are liquidated in cross margin, when, and what each leg came to."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from backtest.book.accounts import Accounts
from backtest.engine import account_outcomes, history
from backtest.engine.account_outcomes import AccountOutcomes
from backtest.engine.arguments import require_choice, require_kinds
from backtest.engine.grid import GridBars, grid_of
from backtest.engine.holdings import Held, hold
from backtest.engine.rulebook import Rulebook, rulebook
from backtest.engine.shortcuts import plant
from backtest.errors import DataError, RulesError
from backtest.kernel import accounts as kernel
from backtest.kernel.account_search import BOX, CLOSES, COMMON_MOVE, Terms
from backtest.kernel.account_terms import Holdings, scratch
from backtest.kernel.arrays import Funding
from backtest.kernel.compile import in_chunks, readonly
from backtest.kernel.types import Floats, Integers
from backtest.market.market import Market
from backtest.rules.contract import Contract
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas import offence

CONVENTIONS = {"A": BOX, "C": COMMON_MOVE, "B": CLOSES}
PROFIT = {"usable": kernel.USABLE, "unusable": kernel.UNUSABLE, "own": kernel.OWN}
HEDGED = ("tested", "spared")


def sweep_accounts(
    accounts: Accounts,
    market: Market,
    venue: Venue,
    *,
    convention: Literal["A", "C", "B"] = "C",
    profit: Literal["usable", "unusable", "own"] | None = None,
    hedged: Literal["tested", "spared"] | None = None,
    bracket: bool = True,
    tiers: Tiers = "strict",
    threads: int | None = None,
) -> AccountOutcomes:
    """Return what became of accounts in cross margin, and of each of their legs, under a venue's rules.

    Parameters
    ----------
    accounts, market, venue
        Wallets and what they stand behind, the mark prices and funding they live through, and the rules.
    convention
        Where the symbols stand inside a bar, of which only low, high and close are known: each at its own worst
        (A, liquidates too many hedges), the worst of all lows, all highs, all closes (C), all closes (B, misses
        some).
    profit
        Whether a position's unrealised profit is margin: for all, ``unusable`` until settled, or only for its
        ``own`` position; None: as the venue says.
    hedged
        Whether an account whose longs and shorts are equal in every symbol is ``tested`` or ``spared``; None:
        as the venue says.
    bracket
        Whether conventions A and B are followed too, for ``earliest_liquidation``, ``latest_liquidation`` and
        ``ambiguous``, which are null otherwise.
    tiers
        Legs entered when no table was in force: as in :func:`~backtest.sweep`.
    threads
        How many to use; None: one a core. Results do not depend on it.

    Returns
    -------
    Frames of accounts and legs in the order given. See ``docs/accounts.md`` for what each column means.

    Raises
    ------
    ArgumentError
        For unknown choices.
    DataError
        For accounts the market or the venue cannot take: unknown symbols, bars off a common grid, legs before
        their symbol's first bar, positions beyond their tiers.
    RulesError
        For contracts an account cannot hold: inverse ones, fees reserved at bankruptcy, mixed triggers.
    TiersError
        For legs entered when no table was in force.
    """
    prepared = prepare(
        accounts, market, venue, convention=convention, profit=profit, hedged=hedged, bracket=bracket, tiers=tiers,
        threads=threads,
    )  # fmt: skip
    ends = run(prepared, threads)
    return account_outcomes.named(accounts, prepared.bars, prepared.held, ends, bracket=bracket)


@dataclass(frozen=True, eq=False)
class Prepared:
    """Accounts, a market and a venue's rules as arrays."""

    accounts: Accounts
    market: Market  #: of the symbols held alone
    bars: GridBars
    funding: Funding
    rules: Rulebook
    held: Held
    options: kernel.Options


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
    """Return everything a sweep of accounts needs, checked."""
    require_kinds(
        market, venue, tiers, threads, accounts=(accounts, Accounts, "Accounts(accounts, legs)")
    )
    require_choice("convention", convention, CONVENTIONS)
    profit, hedged = profit or venue.cross.profit, hedged or venue.cross.hedged
    require_choice("profit", profit, PROFIT)
    require_choice("hedged", hedged, HEDGED)
    _check_symbols(accounts, market)
    held_market = _of_symbols(market, accounts)
    contracts = _contracts(held_market, accounts, venue)
    traded = [contract for contract in contracts if contract.symbol in accounts.symbols]
    strict = _check_contracts(traded, venue)
    history.check_prices_positive(held_market, traded, "mark")
    funding, bars = _grid(held_market, contracts, market)
    rules = rulebook(
        replace(venue, contracts={contract.symbol: contract for contract in contracts}),
        held_market.symbols,
        tiers=tiers,
        first_time=[int(bars.times[0])] * len(contracts),
        last_time=[int(bars.times[-1]) + 1] * len(contracts),
        leverages=_distinct_leverages(accounts, traded),
    )
    held = hold(accounts, held_market, bars, funding, rules)
    options = kernel.Options(CONVENTIONS[convention], bracket, PROFIT[profit], strict, hedged == "spared", 1.0)
    return Prepared(accounts, held_market, bars, funding, rules, held, options)


def run(prepared: Prepared, threads: int | None, held: Holdings | None = None) -> kernel.Ends:
    """Return how accounts end; ``held``: what is left of some of them, where not what they were prepared with.

    Raises
    ------
    DataError
        For positions that grow beyond what their tables cover.
    """
    held = prepared.held.arrays if held is None else held
    world, ends = world_of(prepared, held), _empty_ends(held.wallet.size, held.kind.size)
    order = readonly(np.argsort(held.start[held.first[:-1]]))  # by first entry: neighbours read the same blocks

    def part(begin: int, stop: int) -> None:
        kernel.live(world, held, room_of(prepared, held), ends, order, begin, stop)

    in_chunks(part, held.wallet.size, threads)
    require_covered(prepared, ends)
    return ends


def watch(
    prepared: Prepared, demand: float, until: Integers, quiet: int, threads: int | None
) -> tuple[Integers, Integers, Integers]:
    """Return the first and the last bar until each account's end in which it has less than it is asked for, and how many.

    It is asked for its maintenance margin ``demand`` times; bars counted lie at least ``quiet`` apart.
    """
    options = prepared.options._replace(demand=demand, strict=False)
    prepared, held = replace(prepared, options=options), prepared.held.arrays
    world, ends = world_of(prepared, held), _empty_ends(held.wallet.size, held.kind.size)
    first, last, count = (np.empty(held.wallet.size, np.int64) for _ in range(3))

    def part(begin: int, stop: int) -> None:
        room = room_of(prepared, held)
        kernel.alert(world, held, room, ends, readonly(until), quiet, first, last, count, begin, stop)

    in_chunks(part, held.wallet.size, threads)
    require_covered(prepared, ends)
    return first, last, count


def followed(prepared: Prepared) -> tuple[Floats, Floats, Floats]:
    """Return V of the first account by bar, at closes and under the convention, and its maintenance margin at closes.

    NaN where it holds no leg.
    """
    held = prepared.held.arrays
    closes, worst, needed = (np.full(prepared.bars.times.size, np.nan) for _ in range(3))
    kernel.trace(world_of(prepared, held), held, room_of(prepared, held), 0, closes, worst, needed)
    return closes, worst, needed


def world_of(prepared: Prepared, held: Holdings) -> kernel.World:
    """Return what accounts live in, with short ways planted for those that hold one position."""
    shortcuts = plant(prepared.bars, prepared.rules, held, allowed=prepared.options.demand == 1.0)
    return kernel.World(prepared.bars.arrays, prepared.rules.rules, shortcuts, prepared.options)


def room_of(prepared: Prepared, held: Holdings) -> Terms:
    """Return room for the terms of the largest account."""
    terms = int(np.diff(held.first).max(initial=1))
    tiers = int(np.diff(prepared.rules.rules.tier_first).max(initial=1))
    haircuts = int(np.diff(held.haircut_first).max(initial=1))
    return scratch(terms, terms * max(2 * tiers, haircuts))


def require_covered(prepared: Prepared, ends: kernel.Ends) -> None:
    """Refuse accounts with positions larger than their tables cover."""
    if ends.beyond.any():
        frame = prepared.accounts.accounts  # parts that are left of positions are no larger than they were
        bad = pl.lit(pl.Series(ends.beyond))
        raise DataError(offence(frame, "accounts", "positions must be of a size their tiers cover", bad, ()))


def _empty_ends(accounts: int, rows: int) -> kernel.Ends:
    def money() -> Floats:
        return np.full(accounts, np.nan)

    return kernel.Ends(
        outcome=np.empty(accounts, np.uint8),
        bar=np.empty(accounts, np.int64),
        earliest=np.empty(accounts, np.int64),
        latest=np.empty(accounts, np.int64),
        left_over=money(),
        maintenance_margin=money(),
        equity_at_fill=money(),
        wallet=money(),
        beyond=np.zeros(accounts, np.bool_),
        fill_price=np.full(rows, np.nan),
        triggered=np.zeros(rows, np.bool_),
    )


#: The last grid of each market: a second sweep of the same symbols need not build it again.
_LAST: weakref.WeakKeyDictionary[Market, tuple[object, Any]] = weakref.WeakKeyDictionary()


def _of_symbols(market: Market, accounts: Accounts) -> Market:
    """Return the market of the symbols that accounts hold, in its own order."""
    held = {*accounts.symbols, *accounts.coins}
    order = tuple(symbol for symbol in market.symbols if symbol in held)
    if order == market.symbols:
        return market
    last = _LAST.get(market)
    if last is not None and last[0] == order:
        known: Market = last[1]
        return known
    bars = market.bars.filter(pl.col("symbol").is_in(order))
    found = Market(bars, _funding_of_any(market, order), gap_limit=market.gap_limit, description=market.description)
    _LAST[market] = (order, found)
    return found


def _contracts(market: Market, accounts: Accounts, venue: Venue) -> list[Contract]:
    """Return the contract of each symbol; collateral alone has none, and pays no funding under another's."""
    own = {symbol: venue.contract(symbol) for symbol in market.symbols if symbol in accounts.symbols}
    any_other = next(iter(own.values()))
    return [own.get(symbol) or replace(any_other, symbol=symbol) for symbol in market.symbols]


def _funding_of_any(market: Market, symbols: tuple[str, ...]) -> pl.DataFrame | None:
    if market.funding is None:
        return None
    own = market.funding.filter(pl.col("symbol").is_in(symbols))
    return None if own.is_empty() else own


_GRIDS: weakref.WeakKeyDictionary[Market, tuple[object, tuple[Funding, GridBars]]] = weakref.WeakKeyDictionary()


def _grid(market: Market, contracts: list[Contract], whole: Market) -> tuple[Funding, GridBars]:
    key = (int(whole.times.min()), int(whole.times.max()), tuple((own.symbol, own.kind) for own in contracts))
    last = _GRIDS.get(market)
    if last is not None and last[0] == key:
        return last[1]
    funding = history.funding_of(market, contracts)
    found = (funding, grid_of(market, funding, whole))
    _GRIDS[market] = (key, found)
    return found


def _check_symbols(accounts: Accounts, market: Market) -> None:
    for argument, frame in (("legs", accounts.legs), ("collateral", accounts.collateral)):
        strange = ~pl.col("symbol").is_in(list(market.symbols))
        if frame.select(strange.any()).item():
            sentence = f"symbol must be one of the bars' ({', '.join(market.symbols)})"
            raise DataError(offence(frame, argument, sentence, strange, ("symbol",)))


def _check_contracts(contracts: list[Contract], venue: Venue) -> bool:
    """Refuse contracts an account cannot hold together; return whether they trigger below the requirement."""
    if venue.trigger_price != "mark":
        raise RulesError(
            f"rules.trigger_price: accounts are valued at the mark price, {venue.name!r} triggers on the "
            f"{venue.trigger_price} price (change it: venue.with_(trigger_price='mark'))"
        )
    for contract in contracts:
        if contract.kind == "inverse":
            raise RulesError(
                f"contracts.{contract.symbol}: an account has one settlement currency, this contract is inverse "
                "and pays in coin"
            )
        if contract.closing_fee == "at_bankruptcy":
            raise RulesError(
                f"contracts.{contract.symbol}.closing_fee: a leg of an account has no bankruptcy price of its own to "
                "reserve a fee at (change it: venue.with_(closing_fee='at_mark'))"
            )
    if len({contract.trigger for contract in contracts}) > 1:
        listed = ", ".join(f"{contract.symbol} {contract.trigger}" for contract in contracts)
        raise RulesError(f"trigger: all contracts an account may hold must trigger alike: {listed}")
    return bool(contracts) and contracts[0].trigger == "<"


def _distinct_leverages(accounts: Accounts, contracts: list[Contract]) -> dict[str, Floats]:
    """Return the selected leverages of symbols whose varying requirement is keyed by them."""
    found = {}
    for contract in contracts:
        keyed = any(table.model == "leverage" for table in contract.tables)
        if keyed and not contract.requirement_is_constant and "leverage" in accounts.legs.columns:
            own = accounts.legs.filter(pl.col("symbol") == contract.symbol)
            found[contract.symbol] = np.unique(own["leverage"].to_numpy())
    return found
