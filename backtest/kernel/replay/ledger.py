"""Postings: every amount leaves one account for another, in whole units, so that the sum is always zero."""

from __future__ import annotations

import numpy as np

from backtest.kernel.compile import helper, part
from backtest.kernel.margin import formula
from backtest.kernel.replay import position_index as cells
from backtest.kernel.replay import trigger_queues as queues
from backtest.kernel.replay.state import (
    BACKSTOP,
    CLAWED,
    CLAWED_BACK,
    DEFICIT,
    FEES,
    FUND,
    HELD,
    LACKED,
    MARKET,
    TRACE_USED,
    TRADERS,
    World,
    equity_at,
    requirement_at,
    sign,
    terms,
    units,
    unrealised,
    value,
    whole,
)
from backtest.kernel.types import Integers


@helper
def post(cash: Integers, giver: int, taker: int, amount: int) -> None:
    """Move an amount from one account to another."""
    cash[giver] -= amount
    cash[taker] += amount


@helper
def to_fund(w: World, row: int, giver: int, amount: int) -> None:
    """Pay into the fund."""
    post(w.cash, giver, FUND, amount)
    w.steps[row]["fund_in"] += amount


@helper
def from_fund(w: World, row: int, taker: int, amount: int) -> None:
    """Pay out of the fund, which must hold the amount."""
    post(w.cash, FUND, taker, amount)
    w.steps[row]["fund_out"] += amount


@helper
def stock_move(w: World, y: int, giver: int, taker: int, lots: int) -> None:
    """Move signed lots between traders (0), market (1) and backstop (2)."""
    w.symbols[y]["stock"][giver] -= lots
    w.symbols[y]["stock"][taker] += lots


@helper
def share_of(amount: int, share: float) -> int:
    """Return a share of an amount, cut to whole units, never more than all of it."""
    return min(amount, max(whole(0), whole(np.floor(amount * share))))


@part
def note(w: World, i: int, row: int, step: int, price: float, quantity: float, now: float, mark: float) -> None:
    """Write a step of the traced position down, as far as there is room."""
    number = w.counters[TRACE_USED]
    w.counters[TRACE_USED] = number + 1
    if number >= w.trace.shape[0]:
        return
    held = terms(w.groups, w.tiers, w.book, i)
    w.trace[number]["row"] = row
    w.trace[number]["step"] = step
    w.trace[number]["price"] = price
    w.trace[number]["quantity"] = quantity
    closed = w.book[i]["lots"] == 0
    w.trace[number]["held"] = 0.0 if closed else held.quantity
    w.trace[number]["equity"] = 0.0 if closed else equity_at(held, mark, now)
    w.trace[number]["maintenance_margin"] = 0.0 if closed else requirement_at(w.tiers, held, mark)
    w.trace[number]["balance"] = w.book[i]["balance"]
    w.trace[number]["fund"] = w.cash[FUND]


@helper
def pay_funding(w: World, i: int, now: float) -> float:
    """Post the funding of the present segment and return it."""
    held = w.book[i]
    signed = sign(whole(held["side"])) * held["quantity"]
    paid = signed * (now - held["entry_funding"])
    amount = units(paid * w.settings[0]["unit"])
    post(w.cash, TRADERS, MARKET, amount)
    w.book[i]["balance"] -= amount
    return paid


@helper
def charge_trading_fee(w: World, i: int, row: int, notional: float) -> None:
    """Take a holder's trading fee from outside the position."""
    rate = w.settings[0]["trading_fee_rate"]
    if rate > 0.0:
        fee = units(rate * notional * w.settings[0]["unit"])
        own = share_of(fee, w.settings[0]["trading_fee_fund_share"])
        to_fund(w, row, TRADERS, own)
        post(w.cash, TRADERS, FEES, fee - own)
        w.book[i]["pocket"] -= fee
        w.book[i]["fees"] += fee


@helper
def charge_liquidation_fee(w: World, i: int, row: int, notional: float, available: int) -> None:
    """Take the liquidation fee out of the position, at most what equity there is."""
    rate = w.settings[0]["liquidation_fee_rate"]
    if rate > 0.0 and available > 0:
        fee = min(units(rate * notional * w.settings[0]["unit"]), available)
        own = share_of(fee, w.settings[0]["fee_fund_share"])
        to_fund(w, row, TRADERS, own)
        post(w.cash, TRADERS, FEES, fee - own)
        w.book[i]["balance"] -= fee
        w.book[i]["fees"] += fee
        w.book[i]["fund_effect"] += own
        w.book[i]["margin"] -= fee / w.settings[0]["unit"]


@part
def rekey(w: World, i: int) -> None:
    """Put a position into the queues, and among its likes, by its present terms."""
    y = whole(w.book[i]["symbol"])
    buckets = w.settings[0]["buckets"]
    queues.leave(w.book, w.nodes, w.heads, w.queues, w.counters, buckets, i)
    held = terms(w.groups, w.tiers, w.book, i)
    at = w.symbols[y]["funding_now"]
    now = w.charges[at]["cumulative"]
    queues.join(
        w.groups, w.tiers, w.book, w.nodes, w.heads, w.queues, w.counters, buckets, i, held,
        now + w.charges[at]["fall"], now + w.charges[at]["rise"],
    )  # fmt: skip
    if w.symbols[y]["indexed"][w.book[i]["side"]] != 0:
        cells.relist(w, i, now)


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
        for cell in range(w.symbols[y]["cells"][0], cells.end_of(w, y, 1)):
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
    queues.in_order(w.ranking, found)
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
    profit = unrealised(kind, sign(whole(held["side"])), held["quantity"], held["entry_price"], mark)
    return whole(np.floor(profit * unit))


@helper
def apportioned(left: int, own: int, total: int) -> int:
    """Return one's share of what is left to give out, so that the shares of all add up to it.

    ``total`` is what this one and all later ones have; never more than one's own, and never so little that the
    later ones could not take the rest.
    """
    share = whole(np.rint(left * (own / total))) if total > 0 else whole(0)
    return max(min(share, own, left), min(left, left - (total - own)), whole(0))


@part
def cover(w: World, i: int, row: int, amount: int, bearable: int) -> None:
    """Make up a position's negative balance: backstop, fund, clawback, and what nobody covers."""
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


@helper
def open_trade(w: World, i: int, row: int) -> None:
    """Post a position's margin and its entry against the market."""
    held = w.book[i]
    unit = w.settings[0]["unit"]
    y, kind, side = held["symbol"], w.groups[held["group"]]["kind"], sign(whole(held["side"]))
    margin = units(held["margin"] * unit)
    cost = units((side * held["quantity"]) * value(kind, held["entry_price"]) * unit)
    w.book[i]["pocket"] -= margin
    w.book[i]["balance"] += margin - cost
    post(w.cash, TRADERS, MARKET, cost)
    stock_move(w, y, 1, 0, whole(side) * held["lots"])
    charge_trading_fee(w, i, row, formula.notional(kind, held["quantity"], held["entry_price"]))
