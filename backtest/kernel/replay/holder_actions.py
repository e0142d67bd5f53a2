"""Actions of holders: stops, take-profits, exits, adjustments; and positions lost in data gaps."""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import ContractKind, OutcomeCode
from backtest.kernel.compile import helper, part
from backtest.kernel.margin import formula, position
from backtest.kernel.margin.position import Segment
from backtest.kernel.replay import position_index
from backtest.kernel.replay.clawback import cover
from backtest.kernel.replay.codes import HELD, LOCKED, MARKET, TRADERS
from backtest.kernel.replay.ledger import charge_trading_fee, note, pay_funding, post, stock_move
from backtest.kernel.replay.open_positions import conclude, delist, end, unqueue
from backtest.kernel.replay.requeue import rekey
from backtest.kernel.replay.state import (
    ADJUSTED,
    HOLDER_CLOSED,
    LOST_SIGHT,
    World,
    factor,
    liquidation_price_at,
    rules_of,
    sign,
    terms,
    units,
    value,
    whole,
)
from backtest.kernel.sweep.adjustments import margin_added


@helper
def tested_funding(w: World, i: int, row: int) -> float:
    """Return cumulative funding at the last tested bar before a row, at the segment's start if there is none."""
    held = w.book[i]
    y = whole(held["symbol"])
    bar = row - w.symbols[y]["first"]
    if bar - 1 < held["start"]:
        return held["entry_funding"]
    return w.charges[w.symbols[y]["funding_first"] + w.bars[row - 1]["charged"]]["cumulative"]


@part
def funding_until(w: World, y: int, made: int) -> float:
    """Return cumulative funding with so many charges of a symbol, those that the next opening makes among them."""
    done = w.symbols[y]["funding_now"]
    if made <= done:
        return w.charges[made]["cumulative"]
    found, g = w.charges[done]["cumulative"], factor(w.symbols, y)
    for charge in range(done, made):
        amount = w.charges[charge + 1]["amount"]
        found += amount / g if w.symbols[y]["kind"] == ContractKind.INVERSE else amount * g
    return found


@part
def price_columns(w: World, i: int, now: float) -> float:
    """Note liquidation and bankruptcy price at a funding, and return the first."""
    own = terms(w.groups, w.tiers, w.book, i)
    price = liquidation_price_at(w.groups, w.tiers, own, now)
    w.book[i]["liquidation_price"] = price
    w.book[i]["bankruptcy_price"] = position.bankruptcy_price(own, now)
    return price


@part
def close_by_holder(w: World, i: int, row: int, moment: int, outcome: int, price: float, now: float) -> None:
    """Close a position at its holder's wish."""
    own = terms(w.groups, w.tiers, w.book, i)
    unit = w.settings[0]["unit"]
    unqueue(w, i)
    paid = pay_funding(w, i, now)
    received = units((own.side * own.quantity) * value(own.kind, price) * unit)
    post(w.cash, MARKET, TRADERS, received)
    stock_move(w, own.symbol, 0, 1, whole(own.side) * w.book[i]["lots"])
    w.book[i]["balance"] += received
    w.book[i]["lots"] = 0
    w.book[i]["paid"] += paid
    w.book[i]["equity"] = formula.equity(
        own.kind, own.side, own.quantity, own.entry_price, own.margin, own.entry_funding, price, now
    )
    w.book[i]["fill_price"] = price
    w.book[i]["fill_notional"] = formula.notional(own.kind, own.quantity, price)
    charge_trading_fee(w, i, row, w.book[i]["fill_notional"])
    if w.book[i]["balance"] < 0:
        cover(w, i, row, -w.book[i]["balance"], whole(0))
    if i == w.settings[0]["trace"]:
        note(w, i, row, HOLDER_CLOSED, price, own.quantity, now, price)
    conclude(w, i, moment, outcome)


@part
def lose_sight(w: World, i: int, row: int) -> None:
    """End a position whose further life cannot be known."""
    now = tested_funding(w, i, row)
    if w.book[i]["status"] != LOCKED:
        unqueue(w, i)
    price_columns(w, i, now)
    if i == w.settings[0]["trace"]:
        note(w, i, row, LOST_SIGHT, w.bars[row]["open"], 0.0, now, w.bars[row]["open"])
    own = w.book[i]
    signed = sign(whole(own["side"])) * own["quantity"]
    w.book[i]["paid"] += signed * (now - own["entry_funding"])
    pay_funding(w, i, now)
    w.book[i]["entry_funding"] = now
    w.book[i]["outcome"] = OutcomeCode.UNKNOWN
    w.book[i]["time"] = w.bars[row]["time"]
    delist(w, i)
    end(w, i)


@part
def lose_all(w: World, y: int, row: int) -> None:
    """End every open position of a symbol: too much of its history is missing."""
    for cell in range(w.symbols[y]["cells"][0], position_index.end_of(w, y, 1)):
        while w.cells[cell]["head"] >= 0:
            lose_sight(w, whole(w.cells[cell]["head"]), row)
    w.symbols[y]["waiting_first"][0] = w.symbols[y]["waiting_first"][1] = -1


@helper
def move_to_pocket(w: World, i: int, amount: int) -> None:
    """Pay margin out to the holder, or take it from there."""
    w.book[i]["pocket"] += amount
    w.book[i]["added"] -= amount


@part
def adjust(
    w: World, i: int, row: int, now: float, margin_change: float, quantity_change: float, price: float, mark: float
) -> None:
    """Change margin or quantity, at ``mark`` where no price is given; prices are the history's."""
    if w.book[i]["status"] != HELD:
        return
    own = terms(w.groups, w.tiers, w.book, i)
    price = (mark if np.isnan(price) else price) * factor(w.symbols, own.symbol)
    share = w.book[i]["share"]
    part, put_in = quantity_change * share, margin_change * share
    paid = pay_funding(w, i, now)
    before = own.margin - paid
    if part > 0.0:
        put_in = margin_added(rules_of(w.groups, w.tiers), own.group, own.side, part, price, own.leverage, put_in)
        w.book[i]["entry_price"] = formula.average_entry(own.kind, own.quantity, own.entry_price, part, price)
        w.book[i]["margin"] = before + put_in
        buy(w, i, row, own, part, price)
    else:
        pro_rata, open_share = w.settings[0]["pro_rata"] != 0, (own.quantity + part) / own.quantity
        realised = formula.result(own.kind, own.side, -part, own.entry_price, price)
        w.book[i]["margin"] = formula.margin_kept(pro_rata, before, open_share, realised) + put_in
        if part < 0.0:
            reduce(w, i, row, own, -part, price, open_share)
    change = units(put_in * w.settings[0]["unit"])
    w.book[i]["balance"] += change
    move_to_pocket(w, i, -change)
    w.book[i]["paid"] += paid
    w.book[i]["quantity"] = own.quantity + part
    w.book[i]["entry_funding"] = now
    w.book[i]["start"] = row - w.symbols[own.symbol]["first"]
    rekey(w, i)
    if i == w.settings[0]["trace"]:
        note(w, i, row, ADJUSTED, price, abs(part), now, price)


@part
def reduce(w: World, i: int, row: int, own: Segment, closed: float, price: float, open_share: float) -> None:
    """Sell a part, and pay out its margin and result where the venue releases them."""
    lots, balance = w.book[i]["lots"], w.book[i]["balance"]
    sold = min(lots - 1, whole(np.rint(lots * (closed / own.quantity))))
    received = units((own.side * closed) * value(own.kind, price) * w.settings[0]["unit"])
    post(w.cash, MARKET, TRADERS, received)
    stock_move(w, own.symbol, 0, 1, whole(own.side) * sold)
    kept = units(balance * open_share) if w.settings[0]["pro_rata"] != 0 else balance + received
    move_to_pocket(w, i, (balance + received) - kept)
    w.book[i]["balance"] = kept
    w.book[i]["lots"] = lots - sold
    charge_trading_fee(w, i, row, formula.notional(own.kind, closed, price))


@part
def buy(w: World, i: int, row: int, own: Segment, added: float, price: float) -> None:
    """Add to a position, at a price paid to the market."""
    lots = whole(np.rint(added / w.symbols[own.symbol]["lot"]))
    cost = units((own.side * added) * value(own.kind, price) * w.settings[0]["unit"])
    post(w.cash, TRADERS, MARKET, cost)
    stock_move(w, own.symbol, 1, 0, whole(own.side) * lots)
    w.book[i]["balance"] -= cost
    w.book[i]["lots"] += lots
    notional = formula.notional(own.kind, added, price)
    w.book[i]["grown"] += notional
    charge_trading_fee(w, i, row, notional)
