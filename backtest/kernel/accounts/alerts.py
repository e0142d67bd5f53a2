"""Margin alerts of accounts, and their equity and maintenance margin bar by bar."""

from __future__ import annotations

from backtest.kernel.accounts import search
from backtest.kernel.accounts.search import CLOSE, LEAF, Terms
from backtest.kernel.accounts.sweep import Ends, World, happen, life
from backtest.kernel.accounts.terms import EVERY, NONE, Holdings, gather
from backtest.kernel.choices import AccountPrices, OutcomeCode, Profit
from backtest.kernel.compile import kernel
from backtest.kernel.types import Floats, Integers


@kernel
def alert(
    world: World,
    holdings: Holdings,
    terms: Terms,
    out: Ends,
    ends: Integers,
    quiet: int,
    first: Integers,
    last: Integers,
    count: Integers,
    begin: int,
    stop: int,
) -> None:
    """Write the first and last bar to its end in which each account is below an alert's margin, and how many.

    After one the next comes ``quiet`` bars later at the earliest.
    """
    for i in range(begin, stop):
        first[i], last[i], count[i], bar = -1, -1, 0, 0
        out.beyond[i] = False
        outcome = OutcomeCode.LIQUIDATED
        while outcome == OutcomeCode.LIQUIDATED and bar <= ends[i]:
            outcome, bar = life(world, holdings, terms, world.options.convention, bar, i, out)
            if outcome == OutcomeCode.LIQUIDATED and bar <= ends[i]:
                first[i] = bar if count[i] == 0 else first[i]
                last[i] = bar
                count[i] += 1
                bar += quiet


@kernel
def trace(
    world: World, holdings: Holdings, terms: Terms, i: int, closes: Floats, worst: Floats, needed: Floats
) -> None:
    """Write V of an account at each bar's closes and under a convention, and its maintenance margin at the closes.

    Bars in which it holds no leg stay unchanged; the account is never liquidated.
    """
    grid, options = world.grid, world.options
    bar, before = 0, -1
    wallet, transfer = holdings.wallet[i], holdings.transfer_first[i]
    while bar < grid.bars:
        wallet, transfer, following, is_held, is_over = happen(
            holdings, world.rules, i, before, bar, grid.bars, wallet, transfer
        )
        if is_over:
            return
        views, view = 1, 0
        while is_held and view < views:
            counted = (
                EVERY if options.profit == Profit.SHARED else (NONE if options.profit == Profit.EXCLUDED else view)
            )
            held = gather(holdings, world.rules, terms, i, bar, wallet, counted, options.demand)
            for b in range(bar, following):
                at_worst, _ = search.left_over(grid, terms, held.terms, held.constant, b, options.convention)
                at_close, _ = search.left_over(grid, terms, held.terms, held.constant, b, AccountPrices.CLOSES)
                closes[b] = at_close if view == 0 else min(closes[b], at_close)
                worst[b] = at_worst if view == 0 else min(worst[b], at_worst)
                needed[b] = 0.0
                for t in range(held.terms):
                    price = grid.leaf[(terms.symbol[t] * grid.bars + b) * LEAF + CLOSE]
                    needed[b] += search.need(terms, t, price)
            views = held.positions if options.profit == Profit.PER_POSITION else 1
            view += 1
        before, bar = bar, following
