"""Orders in the book, takeovers, and the sale of what was taken over."""

from __future__ import annotations

import numpy as np

from backtest.kernel import formula
from backtest.kernel.compile import helper, part
from backtest.kernel.ledger import charge_liquidation_fee, from_fund, note, pay_funding, post, stock_move, to_fund
from backtest.kernel.segment import Segment
from backtest.kernel.standing import settle
from backtest.kernel.types import FACE_VALUE, INVERSE
from backtest.kernel.waterfall import (
    AT_BANKRUPTCY,
    AT_MARK,
    AT_ONCE,
    BACKSTOP,
    BACKSTOP_PRICE,
    BANKRUPTCY,
    DEFICIT,
    DROPPED,
    FILLED,
    FUND,
    MARKET,
    NEED_END,
    NEED_FIRST,
    NEVER,
    OWNED_BY_BACKSTOP,
    OWNED_BY_FUND,
    TAKEN_OVER,
    TRADERS,
    World,
    bankruptcy_value,
    equity_at,
    price_of,
    sign,
    terms,
    units,
    unrealised,
    value,
    whole,
)


@helper
def quantity_of(w: World, i: int, lots: int) -> float:
    """Return how much some of a position's lots are."""
    held = w.book[i]
    return held["quantity"] if lots == held["lots"] else held["quantity"] * (lots / held["lots"])


@part
def trade(w: World, i: int, lots: int, price: float, received: int, now: float, account: int) -> float:
    """Close lots of a position at a price against market or backstop, and return the notional.

    ``received`` is what the position gets for them, in units.
    """
    own = terms(w.groups, w.tiers, w.book, i)
    held_lots = w.book[i]["lots"]
    quantity = quantity_of(w, i, lots)
    paid = pay_funding(w, i, now)
    post(w.cash, account, TRADERS, received)
    w.book[i]["balance"] += received
    stock_move(w, own.symbol, 0, 1 if account == MARKET else 2, whole(own.side) * lots)
    notional = formula.notional(own.kind, quantity, price)
    done = w.book[i]["done"]
    w.book[i]["equity"] = equity_at(own, price, now)
    if done == 0.0:
        w.book[i]["fill_price"], w.book[i]["fill_notional"] = price, notional
    else:
        w.book[i]["fill_price"] = (w.book[i]["fill_price"] * done + price * quantity) / (done + quantity)
        w.book[i]["fill_notional"] += notional
    w.book[i]["done"] = done + quantity
    w.book[i]["paid"] += paid
    w.book[i]["entry_funding"] = now
    w.book[i]["lots"] = held_lots - lots
    if lots < held_lots:
        realised = unrealised(own.kind, own.side, quantity, own.entry_price, price)
        w.book[i]["margin"] = (own.margin - paid) + realised
        w.book[i]["quantity"] = own.quantity * ((held_lots - lots) / held_lots)
        w.book[i]["share"] *= (held_lots - lots) / held_lots
    return notional


@helper
def fee_base(w: World, i: int, tau: float, now: float) -> int:
    """Return the equity a liquidation fee may take, in units."""
    if w.book[i]["lots"] == 0:
        return whole(w.book[i]["balance"])
    equity = equity_at(terms(w.groups, w.tiers, w.book, i), tau, now)
    return whole(np.floor(equity * w.settings[0]["unit"]))


@part
def impacted(w: World, y: int, side: int, row: int, base: float, notional: float) -> float:
    """Return what an order of a notional gets, after those before it in the bar on its side."""
    settings = w.settings[0]
    before = w.symbols[y]["executed"][side]
    impact = settings["linear"] * (before + 0.5 * notional)
    if settings["square_root"] > 0.0 and w.bars[row]["volume"] > 0.0 and notional > 0.0:
        after = before + notional
        spread = (after * np.sqrt(after) - before * np.sqrt(before)) / (notional * np.sqrt(w.bars[row]["volume"]))
        impact += settings["square_root"] * (2.0 / 3.0) * spread
    if impact == 0.0:
        return base
    price = base * (1.0 - sign(side) * min(impact, 0.9))
    return min(max(price, 0.0), 1.0) if w.symbols[y]["kind"] == FACE_VALUE else price


@helper
def deleverages(w: World) -> bool:
    """Return whether losses beyond the fund are passed on to counterparties."""
    return w.settings[0]["adl_trigger"] != NEVER


@helper
def bearable_lots(w: World, lots: int, short: int) -> int:
    """Return how many of some lots the fund can bear, whose loss beyond bankruptcy is ``short``."""
    if w.counters[DROPPED] != 0:
        return whole(0)
    if short <= w.cash[FUND]:
        return lots
    return min(lots, whole(np.floor(lots * (w.cash[FUND] / short))))


@helper
def need(w: World, who: int, lots: int, value_: float, base: float, bankrupt: bool) -> None:
    """Add lots that counterparties must take; those of one inventory in a row are one need."""
    number = w.counters[NEED_END]
    if who < 0 and number > w.counters[NEED_FIRST] and w.needs[number - 1]["who"] == who:
        w.needs[number - 1]["lots"] += lots
        w.needs[number - 1]["value"] = value_
        return
    w.needs[number]["who"] = who
    w.needs[number]["lots"] = lots
    w.needs[number]["value"] = value_
    w.needs[number]["base"] = base
    w.needs[number]["bankrupt"] = 1 if bankrupt else 0
    w.counters[NEED_END] = number + 1


@part
def need_of_position(w: World, i: int, lots: int, tau: float, base: float, now: float) -> None:
    """Add the rest of a position to what counterparties must take, at the price the venue says."""
    own = terms(w.groups, w.tiers, w.book, i)
    bankrupt = bankruptcy_value(own, now)
    rule = w.settings[0]["adl_price"]
    at = bankrupt
    if rule == AT_MARK:
        at = value(own.kind, tau)
    elif rule != AT_BANKRUPTCY:
        at = takeover_value(w, own, bankrupt, tau)
    need(w, i, lots, at, base, at == bankrupt)


@part
def sell(
    w: World, i: int, row: int, moment: int, lots: int, tau: float, base: float, now: float, limited: bool
) -> None:
    """Execute lots of a position in the book; what the fund could not bear waits for counterparties."""
    y, side = whole(w.book[i]["symbol"]), whole(w.book[i]["side"])
    kind, unit, s = whole(w.symbols[y]["kind"]), w.settings[0]["unit"], sign(whole(w.book[i]["side"]))
    quantity = quantity_of(w, i, lots)
    order = formula.notional(kind, quantity, base)
    price = impacted(w, y, side, row, base, order)
    sold = lots
    if limited and deleverages(w) and lots == w.book[i]["lots"]:
        paid = units((s * quantity) * (now - w.book[i]["entry_funding"]) * unit)
        left = w.book[i]["balance"] - paid + units((s * quantity) * value(kind, price) * unit)
        if left < 0:
            sold = bearable_lots(w, lots, -left)
            if 0 < sold < lots:
                order *= sold / lots
            if sold < lots:
                borne = min(w.cash[FUND], units(-left * (sold / lots))) if sold > 0 else whole(0)
                from_fund(w, row, TRADERS, borne)
                w.book[i]["fund_effect"] -= borne
                w.book[i]["balance"] += borne
                w.book[i]["margin"] += borne / unit
    if sold > 0:
        part_ = quantity_of(w, i, sold)
        received = units((s * part_) * value(kind, price) * unit)
        notional = trade(w, i, sold, price, received, now, MARKET)
        w.book[i]["filled"] += part_
        w.symbols[y]["executed"][side] += notional
        w.symbols[y]["room"] -= order
        w.steps[row]["executed"][side] += units(notional * unit)
        charge_liquidation_fee(w, i, row, notional, fee_base(w, i, tau, now))
        if i == w.settings[0]["trace"]:
            note(w, i, row, FILLED, price, part_, now, tau)
    if sold < lots:
        need_of_position(w, i, lots - sold, tau, base, now)
    elif w.book[i]["lots"] == 0:
        settle(w, i, row, moment, whole(0))


@part
def takeover_value(w: World, own: Segment, bankrupt: float, tau: float) -> float:
    """Return what a takeover pays a unit, as the venue says."""
    rule = w.settings[0]["takeover_price"]
    if rule == BANKRUPTCY:
        return bankrupt
    if rule == BACKSTOP_PRICE:
        return value(own.kind, tau * (1.0 - own.side * w.settings[0]["takeover_discount"]))
    fee = w.groups[own.group]["fee"] + w.groups[own.group]["reserved_fee"]
    if own.kind == INVERSE:
        return bankrupt / (1.0 + own.side * fee)
    if own.kind == FACE_VALUE:
        return bankrupt + own.side * fee
    return bankrupt / (1.0 - own.side * fee)


@part
def unwind(w: World, y: int, side: int, row: int, lots: int, base: float) -> None:
    """Sell lots that were taken over; the result against their cost is the fund's or the backstop's."""
    kind, unit, s = whole(w.symbols[y]["kind"]), w.settings[0]["unit"], sign(side)
    held = w.symbols[y]["inventory"][side]
    cost = w.symbols[y]["cost"][side]
    worth = formula.notional(kind, held * w.symbols[y]["lot"], base)
    lots = min(lots, lots_within(w, y, held, worth))
    if lots <= 0:
        return
    order = formula.notional(kind, lots * w.symbols[y]["lot"], base)
    price = impacted(w, y, side, row, base, order)
    proceeds = units((s * (lots * w.symbols[y]["lot"])) * value(kind, price) * unit)
    cost_part = cost if lots == held else units(cost * (lots / held))
    owned = w.settings[0]["inventory"] == OWNED_BY_FUND
    if owned and deleverages(w) and proceeds < cost_part:
        sold = bearable_lots(w, lots, cost_part - proceeds)
        if sold < lots:
            at = (cost / (s * (held * w.symbols[y]["lot"]))) / unit
            need(w, -1 - side, lots - sold, at, base, False)
            lots = sold
            proceeds = units((s * (lots * w.symbols[y]["lot"])) * value(kind, price) * unit)
            cost_part = units(cost * (lots / held))
    if lots <= 0:
        return
    post(w.cash, MARKET, BACKSTOP, proceeds)
    stock_move(w, y, 2, 1, whole(s) * lots)
    w.symbols[y]["inventory"][side] = held - lots
    w.symbols[y]["cost"][side] = cost - cost_part
    settle_inventory(w, row, proceeds - cost_part)
    notional = formula.notional(kind, lots * w.symbols[y]["lot"], price)
    w.symbols[y]["executed"][side] += notional
    w.symbols[y]["room"] -= order
    w.steps[row]["executed"][side] += units(notional * unit)


@helper
def settle_inventory(w: World, row: int, gain: int) -> None:
    """Give the result of what was taken over to whom it belongs."""
    if w.settings[0]["inventory"] == OWNED_BY_FUND:
        if gain >= 0:
            to_fund(w, row, BACKSTOP, gain)
        else:
            paid = min(-gain, w.cash[FUND])
            from_fund(w, row, BACKSTOP, paid)
            post(w.cash, DEFICIT, BACKSTOP, -gain - paid)


@part
def take_over(w: World, i: int, row: int, moment: int, lots: int, tau: float, base: float, now: float) -> bool:
    """Pass lots to whoever takes over, and return whether there was room for all of them."""
    own = terms(w.groups, w.tiers, w.book, i)
    y, side, unit = own.symbol, whole(w.book[i]["side"]), w.settings[0]["unit"]
    bankrupt = bankruptcy_value(own, now)
    at = takeover_value(w, own, bankrupt, tau)
    price = price_of(own.kind, at)
    taken = lots
    if w.settings[0]["inventory"] == OWNED_BY_BACKSTOP:
        worth = formula.notional(own.kind, quantity_of(w, i, lots), tau)
        room = w.symbols[y]["backstop_room"]
        if worth > room:
            taken = whole(np.floor(lots * (max(room, 0.0) / worth)))
        w.symbols[y]["backstop_room"] = room - worth * (taken / lots)
    if taken > 0:
        quantity = quantity_of(w, i, taken)
        received = units((own.side * quantity) * at * unit)
        if taken == w.book[i]["lots"] and at == bankrupt:  # exactly what leaves nothing
            received = units((own.side * own.quantity) * (now - own.entry_funding) * unit) - w.book[i]["balance"]
        notional = trade(w, i, taken, price, received, now, BACKSTOP)
        w.book[i]["taken"] += quantity
        w.symbols[y]["inventory"][side] += taken
        w.symbols[y]["cost"][side] += received
        w.steps[row]["taken_over"][side] += units(notional * unit)
        charge_liquidation_fee(w, i, row, notional, fee_base(w, i, tau, now))
        if i == w.settings[0]["trace"]:
            note(w, i, row, TAKEN_OVER, price, quantity, now, tau)
        if w.book[i]["lots"] == 0:
            bearable = whole(0)
            if w.settings[0]["inventory"] == OWNED_BY_BACKSTOP:
                bearable = units(w.settings[0]["backstop_deviation"] * notional * unit)
            settle(w, i, row, moment, bearable)
        if w.settings[0]["unwind"] == AT_ONCE:
            unwind(w, y, side, row, taken, base)
    return taken == lots


@helper
def lots_within(w: World, y: int, lots: int, notional: float) -> int:
    """Return how many of some lots the book has room for."""
    room = w.symbols[y]["room"]
    if notional <= room:
        return lots
    return whole(np.floor(lots * (max(room, 0.0) / notional)))
