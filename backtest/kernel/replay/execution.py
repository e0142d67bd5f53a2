"""Orders in the book: their largest size, their fill price, and the loss the fund can bear."""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import ContractKind
from backtest.kernel.compile import helper, part
from backtest.kernel.margin import formula
from backtest.kernel.replay.codes import FUND, MARKET, TRADERS
from backtest.kernel.replay.ledger import charge_liquidation_fee, from_fund, note, pay_funding, post, stock_move
from backtest.kernel.replay.open_positions import settle
from backtest.kernel.replay.proportions import rounded_part
from backtest.kernel.replay.residual import bearable_lots, deleverages, need_of_position
from backtest.kernel.replay.state import (
    FILLED,
    World,
    bankruptcy_value,
    equity_at,
    sign,
    terms,
    units,
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
        realised = formula.result(own.kind, own.side, quantity, own.entry_price, price)
        w.book[i]["margin"] = (own.margin - paid) + realised
        w.book[i]["quantity"] = own.quantity * ((held_lots - lots) / held_lots)
        w.book[i]["share"] *= (held_lots - lots) / held_lots
    return notional


@helper
def fee_base(w: World, i: int, tau: float, price: float, now: float) -> int:
    """Return the equity a liquidation fee may take after a fill at a price, in units."""
    if w.book[i]["lots"] == 0:
        return whole(w.book[i]["balance"])
    own = terms(w.groups, w.tiers, w.book, i)
    return whole(np.floor(min(equity_at(own, tau, now), equity_at(own, price, now)) * w.settings[0]["unit"]))


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
    return min(max(price, 0.0), 1.0) if w.symbols[y]["kind"] == ContractKind.FACE_VALUE else price


@part
def sell(
    w: World, i: int, row: int, moment: int, lots: int, tau: float, base: float, now: float, limited: bool
) -> None:
    """Execute lots of a position in the book; the part the fund could not bear is residual for ADL."""
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
                borne = min(w.cash[FUND], rounded_part(-left, sold, lots))
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
        charge_liquidation_fee(w, i, row, notional, fee_base(w, i, tau, price, now))
        if i == w.settings[0]["trace"]:
            note(w, i, row, FILLED, price, part_, now, tau)
    if sold < lots:
        need_of_position(w, i, lots - sold, tau, base, now)
    elif w.book[i]["lots"] == 0:
        settle(w, i, row, moment, whole(0))


@helper
def lots_within(w: World, y: int, lots: int, notional: float) -> int:
    """Return how many of some lots the book has room for."""
    room = w.symbols[y]["room"]
    if notional <= room:
        return lots
    return whole(np.floor(lots * (max(room, 0.0) / notional)))


@part
def lots_in_limit(w: World, i: int, row: int, lots: int, base: float, now: float) -> int:
    """Return the most of some lots that an order closes no worse than at bankruptcy."""
    y, side, kind = (
        whole(w.book[i]["symbol"]),
        whole(w.book[i]["side"]),
        whole(w.symbols[w.book[i]["symbol"]]["kind"]),
    )
    limit = bankruptcy_value(terms(w.groups, w.tiers, w.book, i), now)
    fitting, beyond = whole(0), lots + 1
    while fitting + 1 < beyond:
        tried = lots if beyond > lots else (fitting + beyond) >> 1
        order = formula.notional(kind, quantity_of(w, i, tried), base)
        if sign(side) * value(kind, impacted(w, y, side, row, base, order)) >= sign(side) * limit:
            fitting = tried
        else:
            beyond = tried
    return fitting
