"""Sweep of accounts: one search per stretch between two events, until the account closes.

Three searches an account, from the convention that liquidates earliest to the one that does so last: each begins
where the one before found its bar, so that the bracket costs little more than one answer.
"""

from __future__ import annotations

from typing import NamedTuple

from backtest.kernel.accounts import search as account_search
from backtest.kernel.accounts import single_position
from backtest.kernel.accounts.search import CLOSE, FUNDING, HIGH, LEAF, LOW, OWN_WORST, Grid, Terms
from backtest.kernel.accounts.single_position import Shortcuts
from backtest.kernel.accounts.terms import COIN, EVERY, LONG, NONE, SHORT, Gathered, Holdings, gather, group_at
from backtest.kernel.arrays import Rules
from backtest.kernel.choices import AccountPrices, OutcomeCode, Profit
from backtest.kernel.compile import helper, kernel
from backtest.kernel.types import Bytes, Flags, Floats, Integers


class Options(NamedTuple):
    """What the caller of a sweep decides."""

    convention: int
    bracket: bool  #: the first and the last convention are followed too
    profit: int  #: ``Profit``
    strict: bool  #: liquidated below, not at, the maintenance margin
    exempt: bool  #: accounts hedged in every symbol are not liquidated
    demand: float  #: the maintenance margin counts so many times: 1, but for alerts


class Ends(NamedTuple):
    """Outcome of each account, and the closing price of each holding."""

    outcome: Bytes
    bar: Integers
    earliest: Integers  #: bar of liquidation at each position's own worst price, -1 where there is none
    latest: Integers  #: at the closes
    left_over: Floats  #: V in the bar that liquidates
    maintenance_margin: Floats
    equity_at_fill: Floats
    wallet: Floats  #: when liquidated
    beyond: Flags  #: a position grew larger than its table covers
    fill_price: Floats  #: (rows,)
    triggered: Flags  #: (rows,)


class World(NamedTuple):
    """Market, rules and options that accounts are swept in."""

    grid: Grid
    rules: Rules
    shortcuts: Shortcuts
    options: Options


@helper
def close_out(
    world: World,
    holdings: Holdings,
    terms: Terms,
    held: Gathered,
    i: int,
    bar: int,
    wallet: float,
    convention: int,
    counted: int,
    out: Ends,
) -> None:
    """Write what the account is at the prices that liquidate it, and close its holdings there."""
    grid, count = world.grid, held.terms
    out.left_over[i], column = account_search.left_over(grid, terms, count, held.constant, bar, convention)
    needed, at_fill, t, position = 0.0, wallet, 0, 0
    row, stop = holdings.first[i], holdings.first[i + 1]
    while t < count:
        symbol, begin = terms.symbol[t], t
        leaf = (symbol * grid.bars + bar) * LEAF
        at_low, at_high, at_close = 0.0, 0.0, 0.0
        while t < count and terms.symbol[t] == symbol:
            at_low += account_search.worth(terms, t, grid.leaf[leaf + LOW])
            at_high += account_search.worth(terms, t, grid.leaf[leaf + HIGH])
            at_close += account_search.worth(terms, t, grid.leaf[leaf + CLOSE])
            t += 1
        chosen = column
        if column == OWN_WORST:
            chosen = LOW if at_low <= at_high and at_low <= at_close else (HIGH if at_high <= at_close else CLOSE)
        price, funding = grid.leaf[leaf + chosen], grid.leaf[leaf + FUNDING]
        for u in range(begin, t):
            side, quantity = terms.side[u], terms.quantity[u]
            if side == 0.0:
                at_fill = at_fill + quantity * price
            else:
                needed = needed + account_search.need(terms, u, price)
                value = side * (quantity * price - terms.cost[u])
                at_fill = at_fill + (value - side * (quantity * funding - terms.anchor[u]))
            kind = COIN if side == 0.0 else (LONG if side > 0.0 else SHORT)
            for r in range(row, stop):
                if holdings.symbol[r] == symbol and holdings.kind[r] == kind:
                    out.fill_price[r] = price
                    out.triggered[r] = kind != COIN and (counted < 0 or counted == position)
            position += 1 if side != 0.0 else 0
    out.maintenance_margin[i], out.equity_at_fill[i], out.wallet[i] = needed, at_fill, wallet


@helper
def happen(
    holdings: Holdings, rules: Rules, i: int, before: int, bar: int, bars: int, wallet: float, transfer: int
) -> tuple[float, int, int, bool, bool]:
    """Return wallet and transfers after an opening, the next that matters, whether legs are held, and over."""
    following, is_held, is_over = bars, False, True
    for row in range(holdings.first[i], holdings.first[i + 1]):
        if holdings.kind[row] == COIN:
            continue
        start, end = holdings.start[row], holdings.end[row]
        if before < end <= bar:
            amount = (1.0 - 2.0 * holdings.kind[row]) * holdings.quantity[row]
            result = amount * (holdings.exit_price[row] - holdings.entry_price[row])
            wallet = wallet + (result - amount * (holdings.exit_funding[row] - holdings.entry_funding[row]))
        is_held = is_held or start <= bar < end
        is_over = is_over and end <= bar
        following = min(following, start if start > bar else bars)
        following = min(following, end if end > bar else bars)
        if start <= bar < end:
            later = rules.successor[group_at(holdings, rules, holdings.group[row], bar)]
            following = min(following, holdings.table_bar[later] if later >= 0 else bars)
    last = holdings.transfer_first[i + 1]
    while transfer < last and holdings.transfer_bar[transfer] <= bar:
        wallet = wallet + holdings.transfer[transfer]
        transfer += 1
    if transfer < last:
        following = min(following, holdings.transfer_bar[transfer])
    return wallet, transfer, following, is_held, is_over


@helper
def known_until(grid: Grid, holdings: Holdings, i: int, bar: int, stop: int) -> int:
    """Return the first bar of [bar, stop) in which a holding is stale; stop where none is."""
    for row in range(holdings.first[i], holdings.first[i + 1]):
        if holdings.start[row] <= bar < holdings.end[row]:
            stop = min(stop, account_search.first_stale(grid, holdings.symbol[row], bar))
    return stop


@helper
def search(
    world: World,
    holdings: Holdings,
    terms: Terms,
    convention: int,
    i: int,
    bar: int,
    begin: int,
    stop: int,
    wallet: float,
    out: Ends,
) -> tuple[int, int]:
    """Return the first bar of [begin, stop) that liquidates the account, and the position whose profit counted."""
    options = world.options
    hit, whose, views, view = -1, EVERY, 1, 0
    while view < views:
        counted = (
            EVERY if options.profit == Profit.SHARED else (NONE if options.profit == Profit.EXCLUDED else view)
        )
        held = gather(holdings, world.rules, terms, i, bar, wallet, counted, options.demand)
        out.beyond[i] = out.beyond[i] or held.beyond
        if options.exempt and held.hedged:
            return -1, EVERY
        end = stop if hit < 0 else hit
        if single_position.serves(world.rules, world.shortcuts, world.grid, terms, held, convention):
            found = single_position.first_bar_used_up(
                world.rules, world.shortcuts, world.grid, terms, held, options.strict, convention, begin, end
            )
        else:
            found = account_search.first_bar_used_up(
                world.grid, terms, held.terms, held.constant, options.strict, convention, begin, end
            )
        if found >= 0:
            hit, whose = found, counted
        views = held.positions if options.profit == Profit.PER_POSITION else 1
        view += 1
    return hit, whose


@helper
def life(
    world: World, holdings: Holdings, terms: Terms, convention: int, from_bar: int, i: int, out: Ends
) -> tuple[int, int]:
    """Return the outcome of an account under a convention, not liquidated before a bar, and its bar."""
    grid = world.grid
    bar, before = grid.bars, holdings.since[i] - 1
    for row in range(holdings.first[i], holdings.first[i + 1]):
        if holdings.kind[row] != COIN:
            bar = min(bar, max(holdings.start[row], holdings.since[i]))
    wallet, transfer = holdings.wallet[i], holdings.transfer_first[i]
    while bar < grid.bars:
        wallet, transfer, following, is_held, is_over = happen(
            holdings, world.rules, i, before, bar, grid.bars, wallet, transfer
        )
        if is_over:
            return OutcomeCode.EXITED, bar
        if is_held:
            known = known_until(grid, holdings, i, bar, following)
            begin = max(bar, from_bar)
            if begin < known:
                hit, whose = search(world, holdings, terms, convention, i, bar, begin, known, wallet, out)
                if hit >= 0:
                    if convention == world.options.convention:
                        held = gather(holdings, world.rules, terms, i, bar, wallet, whose, world.options.demand)
                        close_out(world, holdings, terms, held, i, hit, wallet, convention, whose, out)
                    return OutcomeCode.LIQUIDATED, hit
            if known < following:
                return OutcomeCode.UNKNOWN, known
        before, bar = bar, following
    return OutcomeCode.OPEN, grid.bars


@kernel
def live(
    world: World, holdings: Holdings, terms: Terms, out: Ends, order: Integers, begin: int, stop: int
) -> None:
    """Write the outcomes of accounts [begin, stop) of an order, under the requested convention and the bracket."""
    options = world.options
    for number in range(begin, stop):
        i = order[number]
        out.earliest[i], out.latest[i], out.beyond[i] = -1, -1, False
        outcome, bar, convention = (
            OutcomeCode.LIQUIDATED,
            0,
            AccountPrices.OWN_WORST if options.bracket else options.convention,
        )
        last = AccountPrices.CLOSES if options.bracket else options.convention
        while outcome == OutcomeCode.LIQUIDATED and convention <= last:
            outcome, bar = life(world, holdings, terms, convention, bar, i, out)
            if convention <= options.convention:
                out.outcome[i], out.bar[i] = outcome, bar
            if outcome == OutcomeCode.LIQUIDATED and convention == AccountPrices.OWN_WORST:
                out.earliest[i] = bar
            if outcome == OutcomeCode.LIQUIDATED and convention == AccountPrices.CLOSES:
                out.latest[i] = bar
            convention += 1
