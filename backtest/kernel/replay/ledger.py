"""Ledger postings: each moves whole units from one account to another, so that the sum is always zero."""

from __future__ import annotations

from backtest.kernel.compile import helper, part
from backtest.kernel.margin import formula
from backtest.kernel.replay.codes import FEES, FUND, MARKET, TRADERS
from backtest.kernel.replay.proportions import share_of
from backtest.kernel.replay.state import (
    TRACE_USED,
    World,
    equity_at,
    requirement_at,
    sign,
    terms,
    units,
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
        w.book[i]["fund_effect"] += own
        w.book[i]["fees"] += fee


@helper
def charge_liquidation_fee(w: World, i: int, row: int, notional: float, available: int) -> None:
    """Take the liquidation fee out of the position: at most what equity there is, or all of it by rule."""
    rate, beyond = w.settings[0]["liquidation_fee_rate"], w.settings[0]["liquidation_fee_beyond_margin"] != 0
    if rate > 0.0 and (available > 0 or beyond):
        fee = units(rate * notional * w.settings[0]["unit"])
        if not beyond:
            fee = min(fee, available)
        own = share_of(fee, w.settings[0]["fee_fund_share"])
        to_fund(w, row, TRADERS, own)
        post(w.cash, TRADERS, FEES, fee - own)
        w.book[i]["balance"] -= fee
        w.book[i]["fees"] += fee
        w.book[i]["fund_effect"] += own
        w.book[i]["margin"] -= fee / w.settings[0]["unit"]


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
