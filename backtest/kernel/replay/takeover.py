"""Takeovers, and the sale of positions taken over."""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import Inventory, Unwind
from backtest.kernel.compile import helper, part
from backtest.kernel.margin import formula
from backtest.kernel.replay.codes import BACKSTOP, DEFICIT, FUND, MARKET
from backtest.kernel.replay.execution import fee_base, impacted, lots_within, quantity_of, trade
from backtest.kernel.replay.ledger import charge_liquidation_fee, from_fund, note, post, stock_move, to_fund
from backtest.kernel.replay.open_positions import settle
from backtest.kernel.replay.proportions import rounded_part
from backtest.kernel.replay.residual import bearable_lots, deleverages, need, takeover_value
from backtest.kernel.replay.state import (
    LACKED,
    TAKEN_OVER,
    World,
    bankruptcy_value,
    price_of,
    sign,
    terms,
    units,
    value,
    whole,
)


@part
def unwind(w: World, y: int, side: int, row: int, lots: int, base: float) -> None:
    """Sell lots that were taken over, as there is room; what the fund cannot bear is residual for ADL."""
    held, cost = w.symbols[y]["inventory"][side], w.symbols[y]["cost"][side]
    lots = min(lots, lots_within(w, y, held, notional_of(w, y, held, base)))
    if lots <= 0:
        return
    price = impacted(w, y, side, row, base, notional_of(w, y, lots, base))
    sold = lots
    if w.settings[0]["inventory"] == Inventory.FUND and deleverages(w):
        loss = rounded_part(cost, lots, held) - proceeds_of(w, y, side, lots, price)
        sold = bearable_lots(w, lots, loss) if loss > 0 else lots
    if sold < lots:
        at = (cost / (sign(side) * (held * w.symbols[y]["lot"]))) / w.settings[0]["unit"]
        need(w, -1 - side, lots - sold, at, base, False)
    if sold > 0:
        sell_inventory(w, y, side, row, sold, base, price)


@part
def sell_inventory(w: World, y: int, side: int, row: int, lots: int, base: float, price: float) -> None:
    """Sell lots that were taken over at a price; the result against their cost is the fund's or the backstop's."""
    held, cost = w.symbols[y]["inventory"][side], w.symbols[y]["cost"][side]
    proceeds, cost_part = proceeds_of(w, y, side, lots, price), rounded_part(cost, lots, held)
    post(w.cash, MARKET, BACKSTOP, proceeds)
    stock_move(w, y, 2, 1, whole(sign(side)) * lots)
    w.symbols[y]["inventory"][side] = held - lots
    w.symbols[y]["cost"][side] = cost - cost_part
    settle_inventory(w, row, proceeds - cost_part)
    notional = notional_of(w, y, lots, price)
    w.symbols[y]["executed"][side] += notional
    w.symbols[y]["room"] -= notional_of(w, y, lots, base)
    w.steps[row]["executed"][side] += units(notional * w.settings[0]["unit"])


@helper
def notional_of(w: World, y: int, lots: int, price: float) -> float:
    """Return the notional of lots of a symbol at a price."""
    return formula.notional(whole(w.symbols[y]["kind"]), lots * w.symbols[y]["lot"], price)


@helper
def proceeds_of(w: World, y: int, side: int, lots: int, price: float) -> int:
    """Return what lots of a side bring at a price, in units."""
    worth = value(whole(w.symbols[y]["kind"]), price)
    return units((sign(side) * (lots * w.symbols[y]["lot"])) * worth * w.settings[0]["unit"])


@helper
def settle_inventory(w: World, row: int, gain: int) -> None:
    """Give the result of what was taken over to whom it belongs."""
    if w.settings[0]["inventory"] == Inventory.FUND:
        if gain >= 0:
            to_fund(w, row, BACKSTOP, gain)
            w.steps[row]["inventory"] += gain
        else:
            paid = min(-gain, w.cash[FUND])
            from_fund(w, row, BACKSTOP, paid)
            w.steps[row]["inventory"] -= paid
            post(w.cash, DEFICIT, BACKSTOP, -gain - paid)
            if paid < -gain:
                w.counters[LACKED] = 1


@part
def take_over(w: World, i: int, row: int, moment: int, lots: int, tau: float, base: float, now: float) -> bool:
    """Pass lots to the fund or backstop, and return whether there was room for all of them."""
    own = terms(w.groups, w.tiers, w.book, i)
    y, side, unit = own.symbol, whole(w.book[i]["side"]), w.settings[0]["unit"]
    bankrupt = bankruptcy_value(own, now)
    at = takeover_value(w, own, bankrupt, tau)
    price = price_of(own.kind, at)
    taken = lots
    if w.settings[0]["inventory"] == Inventory.BACKSTOP:
        worth = formula.notional(own.kind, quantity_of(w, i, lots), tau)
        room = w.symbols[y]["backstop_room"]
        if worth > room:
            taken = whole(np.floor(lots * (max(room, 0.0) / worth)))
        w.symbols[y]["backstop_room"] = room - worth * (taken / lots)
    if taken > 0:
        quantity = quantity_of(w, i, taken)
        received = units((own.side * quantity) * at * unit)
        if taken == w.book[i]["lots"] and at == bankrupt:  # leaves exactly nothing
            received = units((own.side * own.quantity) * (now - own.entry_funding) * unit) - w.book[i]["balance"]
        notional = trade(w, i, taken, price, received, now, BACKSTOP)
        w.book[i]["taken"] += quantity
        w.symbols[y]["inventory"][side] += taken
        w.symbols[y]["cost"][side] += received
        w.steps[row]["taken_over"][side] += units(notional * unit)
        charge_liquidation_fee(w, i, row, notional, fee_base(w, i, tau, price, now))
        if i == w.settings[0]["trace"]:
            note(w, i, row, TAKEN_OVER, price, quantity, now, tau)
        if w.book[i]["lots"] == 0:
            bearable = whole(0)
            if w.settings[0]["inventory"] == Inventory.BACKSTOP:
                bearable = units(w.settings[0]["backstop_deviation"] * notional * unit)
            settle(w, i, row, moment, bearable)
        if w.settings[0]["unwind"] == Unwind.AT_ONCE:
            unwind(w, y, side, row, taken, base)
    return taken == lots
