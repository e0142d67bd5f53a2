"""What happens to one position once it is to be liquidated: orders, takeover, release, settlement."""

from __future__ import annotations

import numpy as np

from backtest.kernel import formula, place, queues, segment
from backtest.kernel.arrays import BY_LEVERAGE, LIQUIDATED, MARGINAL
from backtest.kernel.compile import helper, part
from backtest.kernel.ledger import (
    charge_liquidation_fee,
    cover,
    from_fund,
    note,
    pay_funding,
    post,
    rekey,
    share_of,
    stock_move,
    to_fund,
)
from backtest.kernel.segment import Segment
from backtest.kernel.types import FACE_VALUE, INVERSE
from backtest.kernel.waterfall import (
    ALL,
    AT_BANKRUPTCY,
    AT_MARK,
    AT_ONCE,
    BACKSTOP,
    BACKSTOP_PRICE,
    BANKRUPTCY,
    DEFICIT,
    DONE,
    DROPPED,
    FILLED,
    FRACTION,
    FUND,
    HELD,
    LOCKED,
    MARKET,
    NEED_END,
    NEED_FIRST,
    NEVER,
    OWNED_BY_BACKSTOP,
    OWNED_BY_FUND,
    RELEASED,
    RETURNED,
    SETTLED,
    SHARED,
    TAKEN_OVER,
    THEN_TAKEOVER,
    TIER,
    TO_FUND,
    TO_TAKEOVER,
    TRADERS,
    TRIGGERED,
    WAITS,
    World,
    bankruptcy_value,
    equity_at,
    price_of,
    requirement_at,
    rules_of,
    sign,
    terms,
    units,
    unrealised,
    value,
    whole,
)

#: Orders close at least this share of the quantity at the trigger: impact could make them ever smaller.
SMALLEST_STEP = 0.001


@helper
def enlist(w: World, i: int) -> None:
    """Add a position to the open ones of its symbol and side."""
    y, side = whole(w.book[i]["symbol"]), whole(w.book[i]["side"])
    count = w.symbols[y]["member_count"][side]
    at = w.symbols[y]["member_first"][side] + count
    w.members[at] = i
    w.book[i]["place"] = at
    w.symbols[y]["member_count"][side] = count + 1


@helper
def delist(w: World, i: int) -> None:
    """Take a position from the open ones; the last of them takes its place."""
    y, side = whole(w.book[i]["symbol"]), whole(w.book[i]["side"])
    count = w.symbols[y]["member_count"][side] - 1
    last = w.members[w.symbols[y]["member_first"][side] + count]
    w.members[w.book[i]["place"]] = last
    w.book[last]["place"] = w.book[i]["place"]
    w.symbols[y]["member_count"][side] = count


@helper
def withdraw_orders(w: World, i: int) -> None:
    """Take a position's stop and take-profit out of their queues."""
    count = w.book.shape[0]
    if w.settings[0]["base_nodes"] > count:
        buckets = w.settings[0]["buckets"]
        queues.pull(w.nodes, w.heads, w.queues, buckets, count + i)
        queues.pull(w.nodes, w.heads, w.queues, buckets, 2 * count + i)


@helper
def place_orders(w: World, i: int) -> None:
    """Put a position's stop and take-profit into the queues of the prices they watch."""
    count = w.book.shape[0]
    if w.settings[0]["base_nodes"] > count:
        held = w.book[i]
        buckets = w.settings[0]["buckets"]
        low, high = w.symbols[held["symbol"]]["queue"][2], w.symbols[held["symbol"]]["queue"][3]
        stop, target = held["stop_price"], held["take_profit_price"]
        if held["side"] != 0:
            stop, target = -stop, -target
        if not np.isnan(stop):
            queue = low if held["side"] == 0 else high
            queues.push(w.nodes, w.heads, w.queues, buckets, queue, count + i, stop)
        if not np.isnan(target):
            queue = high if held["side"] == 0 else low
            queues.push(w.nodes, w.heads, w.queues, buckets, queue, 2 * count + i, -target)


@part
def unqueue(w: World, i: int) -> None:
    """Take a position out of every queue."""
    queues.leave(w.book, w.nodes, w.heads, w.queues, w.counters, w.settings[0]["buckets"], i)
    withdraw_orders(w, i)


@part
def conclude(w: World, i: int, moment: int, outcome: int) -> None:
    """Note how and when a position ended; what is left in it is its holder's."""
    w.book[i]["pocket"] += w.book[i]["balance"]
    w.book[i]["balance"] = 0
    w.book[i]["outcome"] = outcome
    w.book[i]["time"] = w.bars[moment]["time"]
    w.book[i]["status"] = DONE
    delist(w, i)


@part
def settle(w: World, i: int, row: int, moment: int, bearable: int) -> None:
    """Settle a position of which nothing is held any more: shortfall covered, remainder given to whom it goes."""
    left = w.book[i]["balance"]
    rule = w.settings[0]["remainder"]
    if left < 0:
        cover(w, i, row, -left, bearable)
    elif left > 0 and rule != RETURNED:
        own = left if rule == TO_FUND else share_of(left, w.settings[0]["remainder_fund_share"])
        to_fund(w, row, TRADERS, own)
        if rule == SHARED:
            post(w.cash, TRADERS, BACKSTOP, left - own)
        w.book[i]["fund_effect"] += own
        w.book[i]["balance"] = 0
    conclude(w, i, moment, LIQUIDATED)
    if i == w.settings[0]["trace"]:
        note(w, i, row, SETTLED, w.book[i]["fill_price"], 0.0, w.book[i]["entry_funding"], w.book[i]["fill_price"])


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


@part
def release(w: World, i: int, row: int, bar: int, tau: float, now: float) -> None:
    """Give a position back to its holder."""
    w.book[i]["status"] = HELD
    w.book[i]["start"] = bar
    rekey(w, i)
    if w.settings[0]["restore_orders"] != 0:
        place_orders(w, i)
    else:
        w.book[i]["stop_price"] = np.nan
        w.book[i]["take_profit_price"] = np.nan
    if i == w.settings[0]["trace"]:
        note(w, i, row, RELEASED, tau, 0.0, now, tau)


@part
def wait(w: World, i: int, row: int, tau: float, now: float) -> None:
    """Leave a position's orders for the next opening, behind those that wait already."""
    y, side = whole(w.book[i]["symbol"]), whole(w.book[i]["side"])
    w.nodes[i]["next"] = -1
    if w.symbols[y]["waiting_first"][side] < 0:
        w.symbols[y]["waiting_first"][side] = i
    else:
        w.nodes[w.symbols[y]["waiting_last"][side]]["next"] = i
    w.symbols[y]["waiting_last"][side] = i
    if i == w.settings[0]["trace"]:
        note(w, i, row, WAITS, tau, 0.0, now, tau)


@part
def step_lots(w: World, i: int, partial: bool, tau: float, base: float, now: float) -> int:
    """Return how many lots the next order is to close."""
    lots = w.book[i]["lots"]
    step = w.settings[0]["step"]
    if not partial or step == ALL:
        return lots
    if step == FRACTION:
        wanted = whole(np.ceil(w.book[i]["begun"] * w.settings[0]["step_fraction"]))
        return min(lots, max(whole(1), wanted))
    own = terms(w.groups, w.tiers, w.book, i)
    wanted = tier_lots(w, own, lots, tau) if step == TIER else enough_lots(w, own, lots, tau, base, now)
    least = whole(np.ceil(w.book[i]["begun"] * SMALLEST_STEP))
    return min(lots, max(wanted, least))


@part
def tier_lots(w: World, own: Segment, lots: int, tau: float) -> int:
    """Return how many lots lead down one tier; all in the lowest."""
    rules, group = rules_of(w.groups, w.tiers), own.group
    keyed = rules.keyed_by[group]
    if keyed == BY_LEVERAGE:
        return lots
    size = place.table_size(rules, group, own.quantity, own.entry_notional)
    if keyed == MARGINAL and not own.constant:
        size = formula.notional(own.kind, own.quantity, tau)
    tier = place.flat_tier(rules, group, size)
    if tier == rules.tier_first[group]:
        return lots
    kept = whole(np.floor(lots * (rules.floor[tier] / size)))
    if rules.higher[group]:
        kept -= 1
    return min(lots, max(whole(1), lots - max(kept, whole(0))))


@part
def healthy(w: World, own: Segment, tau: float, now: float) -> bool:
    """Return whether equity at the mark exceeds what ends a procedure."""
    equity = equity_at(own, tau, now)
    needed = requirement_at(w.tiers, own, tau)
    if w.settings[0]["until"] != 0:
        needed = max(needed, formula.notional(own.kind, own.quantity, tau) / own.leverage)
    return equity > needed


@part
def enough_lots(w: World, own: Segment, lots: int, tau: float, base: float, now: float) -> int:
    """Return the fewest lots whose closing at the order's price leaves a position healthy; all if none does."""
    low, high = whole(1), lots
    paid = (own.side * own.quantity) * (now - own.entry_funding)
    while low < high:
        middle = (low + high) >> 1
        closed = own.quantity * (middle / lots)
        margin = (own.margin - paid) + unrealised(own.kind, own.side, closed, own.entry_price, base)
        margin -= w.settings[0]["liquidation_fee_rate"] * formula.notional(own.kind, closed, base)
        left = segment.begin(
            rules_of(w.groups, w.tiers), own.group, own.symbol, own.side, own.quantity * ((lots - middle) / lots),
            own.entry_price, margin, own.leverage, now,
        )  # fmt: skip
        if healthy(w, left, tau, now):
            high = middle
        else:
            low = middle + 1
    return low


@helper
def lots_within(w: World, y: int, lots: int, notional: float) -> int:
    """Return how many of some lots the book has room for."""
    room = w.symbols[y]["room"]
    if notional <= room:
        return lots
    return whole(np.floor(lots * (max(room, 0.0) / notional)))


@part
def liquidate(w: World, i: int, row: int, moment: int, tau: float, base: float, now: float) -> None:
    """Send a position's orders until it is closed, given back, or must wait for the next opening."""
    settings = w.settings[0]
    y = whole(w.book[i]["symbol"])
    bar = row - w.symbols[y]["first"]
    if w.book[i]["status"] != LOCKED:
        unqueue(w, i)
        w.book[i]["status"] = LOCKED
        w.book[i]["begun"] = w.book[i]["lots"]
        w.book[i]["rounds"] = 0
        w.book[i]["done"] = 0.0
        if i == settings["trace"]:
            note(w, i, row, TRIGGERED, tau, 0.0, now, tau)
    if w.book[i]["spent_bar"] != bar:
        w.book[i]["spent_bar"], w.book[i]["spent"] = bar, 0
    own = terms(w.groups, w.tiers, w.book, i)
    partial = settings["step"] != ALL and own.entry_notional >= settings["partial_from"]
    endless = settings["rounds"] == 0
    while True:
        if not endless and w.book[i]["rounds"] >= settings["rounds"]:
            own = terms(w.groups, w.tiers, w.book, i)
            if equity_at(own, tau, now) > requirement_at(w.tiers, own, tau):
                release(w, i, row, bar, tau, now)
                return
            if settings["last"] == THEN_TAKEOVER:
                last_resort(w, i, row, moment, tau, base, now)
                return
            partial, endless = False, True
        if w.book[i]["spent"] >= w.symbols[y]["rounds"]:
            wait(w, i, row, tau, now)
            return
        lots = step_lots(w, i, partial, tau, base, now)
        if partial and settings["slices"] == TO_TAKEOVER:
            if not take_over(w, i, row, moment, lots, tau, base, now):
                no_room(w, i, row, tau, base, now)
                return
        else:
            notional = formula.notional(own.kind, quantity_of(w, i, lots), base)
            if notional > settings["order_notional"]:
                lots = max(whole(1), whole(np.floor(lots * (settings["order_notional"] / notional))))
                notional = formula.notional(own.kind, quantity_of(w, i, lots), base)
            lots = lots_within(w, y, lots, notional)
            if lots > 0:
                sell(w, i, row, moment, lots, tau, base, now, True)
        w.book[i]["rounds"] += 1
        w.book[i]["spent"] += 1
        if w.book[i]["status"] == DONE or needs_counterparties(w, i):
            return
        if lots == 0 and endless:
            wait(w, i, row, tau, now)
            return
        if partial and lots > 0 and healthy(w, terms(w.groups, w.tiers, w.book, i), tau, now):
            release(w, i, row, bar, tau, now)
            return


@helper
def needs_counterparties(w: World, i: int) -> bool:
    """Return whether the newest need is this position's."""
    last = w.counters[NEED_END] - 1
    return last >= w.counters[NEED_FIRST] and w.needs[last]["who"] == i


@part
def last_resort(w: World, i: int, row: int, moment: int, tau: float, base: float, now: float) -> None:
    """Take over what is left of a position."""
    if not take_over(w, i, row, moment, w.book[i]["lots"], tau, base, now):
        no_room(w, i, row, tau, base, now)


@part
def no_room(w: World, i: int, row: int, tau: float, base: float, now: float) -> None:
    """Pass what the backstop had no room for to counterparties, or wait where there is no deleveraging."""
    if deleverages(w):
        need_of_position(w, i, w.book[i]["lots"], tau, base, now)
    else:
        wait(w, i, row, tau, now)
