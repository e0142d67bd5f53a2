"""Clawback: the last losses taken pro rata from positive unrealised profit."""

from __future__ import annotations

import numpy as np

from backtest.kernel.compile import helper, part
from backtest.kernel.margin import formula
from backtest.kernel.replay import position_index, trigger_queues
from backtest.kernel.replay.codes import BACKSTOP, DEFICIT, FUND, HELD, TRADERS
from backtest.kernel.replay.ledger import from_fund, note, post
from backtest.kernel.replay.proportions import apportioned
from backtest.kernel.replay.requeue import rekey
from backtest.kernel.replay.state import (
    CLAWED,
    CLAWED_BACK,
    LACKED,
    World,
    sign,
    whole,
)


@part
def claw_back(w: World, loser: int, row: int, amount: int) -> int:
    """Take an amount from the others' unrealised profits pro rata, and return what they do not cover."""
    found = 0
    total = whole(0)
    unit = w.settings[0]["unit"]
    for y in range(w.symbols.shape[0]):
        mark = w.symbols[y]["mark"]
        if mark < 0.0:
            continue
        for cell in range(w.symbols[y]["cells"][0], position_index.end_of(w, y, 1)):
            i = whole(w.cells[cell]["head"])
            while i >= 0:
                if w.book[i]["status"] == HELD and i != loser:
                    profit = profit_units(w, i, mark, unit)
                    if profit > 0:
                        w.ranking[found]["i"], w.ranking[found]["key"], w.ranking[found]["id"] = (
                            i,
                            0.0,
                            w.book[i]["id"],
                        )
                        found += 1
                        total += profit
                i = whole(w.book[i]["next_member"])
    trigger_queues.in_order(w.ranking, found)
    left = amount
    for number in range(found):
        i = whole(w.ranking[number]["i"])
        profit = profit_units(w, i, w.symbols[w.book[i]["symbol"]]["mark"], unit)
        taken = apportioned(left, profit, total)
        total -= profit
        left -= taken
        if taken > 0:
            post(w.cash, TRADERS, TRADERS, taken)
            w.book[i]["balance"] -= taken
            w.book[i]["clawed"] += taken
            w.counters[CLAWED_BACK] += taken
            w.book[i]["margin"] -= taken / unit
            rekey(w, i)
            if i == w.settings[0]["trace"]:
                y = w.book[i]["symbol"]
                now, mark = w.charges[w.symbols[y]["funding_now"]]["cumulative"], w.symbols[y]["mark"]
                note(w, i, row, CLAWED, mark, taken / unit, now, mark)
    return left


@helper
def profit_units(w: World, i: int, mark: float, unit: float) -> int:
    """Return a position's unrealised profit, in whole units cut down."""
    held = w.book[i]
    kind = w.groups[held["group"]]["kind"]
    profit = formula.result(kind, sign(whole(held["side"])), held["quantity"], held["entry_price"], mark)
    return whole(np.floor(profit * unit))


@part
def cover(w: World, i: int, row: int, amount: int, bearable: int) -> None:
    """Cover a position's negative balance: backstop, fund, clawback, uncovered deficit."""
    borne = min(amount, bearable)
    post(w.cash, BACKSTOP, TRADERS, borne)
    left = amount - borne
    paid = min(left, w.cash[FUND])
    from_fund(w, row, TRADERS, paid)
    w.book[i]["fund_effect"] -= paid
    left -= paid
    if left > 0:
        w.counters[LACKED] = 1
        if w.settings[0]["clawback"] != 0:
            left = claw_back(w, i, row, left)
    post(w.cash, DEFICIT, TRADERS, left)
    w.book[i]["balance"] += amount
