"""Auto-deleveraging (ADL): counterparties of a liquidation's residual, their quantities and prices."""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import AdlRank, OutcomeCode
from backtest.kernel.compile import part
from backtest.kernel.margin import formula
from backtest.kernel.replay.adl_ranking import best, candidates, sharing, take_best
from backtest.kernel.replay.codes import BACKSTOP, LOCKED, TRADERS
from backtest.kernel.replay.execution import impacted, quantity_of, sell, trade
from backtest.kernel.replay.ledger import note, post, stock_move
from backtest.kernel.replay.open_positions import conclude, settle, unqueue
from backtest.kernel.replay.proportions import apportioned, rounded_part
from backtest.kernel.replay.requeue import rekey
from backtest.kernel.replay.state import (
    COUNTERPARTY,
    DELEVERAGES,
    NEED_END,
    NEED_FIRST,
    TABLE_USED,
    World,
    price_of,
    sign,
    terms,
    units,
    value,
    whole,
)
from backtest.kernel.replay.takeover import notional_of, sell_inventory, settle_inventory


@part
def note_given(w: World, c: int, closed: float, at: float, paid: float) -> None:
    """Add what a counterparty gives at a value a unit to what it gave: price, notional, and its equity in it."""
    own, before = terms(w.groups, w.tiers, w.book, c), w.book[c]["deleveraged"]
    price = price_of(own.kind, at)
    mean = price
    if before > 0.0:
        mean = (w.book[c]["given_price"] * before + price * closed) / (before + closed)
    w.book[c]["given_price"] = mean
    w.book[c]["given_notional"] += formula.notional(own.kind, closed, price)
    gain = (own.side * closed) * (at - value(own.kind, own.entry_price))
    w.book[c]["given_equity"] += (own.margin * (closed / own.quantity) + gain) - paid


@part
def give_part(w: World, c: int, lots: int, at: float, paid_in: int, now: float) -> None:
    """Close lots of a counterparty: it pays ``paid_in`` units for them and takes out its margin pro rata."""
    own = terms(w.groups, w.tiers, w.book, c)
    held = w.book[c]["lots"]
    ratio = (held - lots) / held
    closed = quantity_of(w, c, lots)
    paid = (own.side * closed) * (now - own.entry_funding)
    note_given(w, c, closed, at, paid)
    funding = units(paid * w.settings[0]["unit"])
    post(w.cash, TRADERS, 1, funding)
    before = w.book[c]["balance"]
    kept = rounded_part(before, held - lots, held)
    w.book[c]["pocket"] += ((before - kept) - paid_in) - funding
    w.book[c]["balance"] = kept
    w.book[c]["paid"] += paid
    w.book[c]["deleveraged"] += closed
    w.book[c]["lots"] = held - lots
    if lots < held:
        w.book[c]["margin"] = own.margin * ratio
        w.book[c]["quantity"] = own.quantity * ratio
        w.book[c]["share"] *= ratio


@part
def record(w: World, y: int, side: int, row: int, who: int, c: int, lots: int, at: float, mark: float) -> None:
    """Record one ADL match, where there is room."""
    number = w.counters[TABLE_USED]
    w.counters[TABLE_USED] = number + 1
    if number >= w.table.shape[0]:
        return
    kind = whole(w.symbols[y]["kind"])
    quantity = lots * w.symbols[y]["lot"]
    w.table[number]["row"] = row
    w.table[number]["liquidated"] = w.book[who]["row"] if who >= 0 else who
    w.table[number]["counterparty"] = w.book[c]["row"]
    w.table[number]["symbol"] = y
    w.table[number]["side"] = 1 - side
    w.table[number]["quantity"] = quantity
    w.table[number]["price"] = price_of(kind, at)
    w.table[number]["score"] = 0.0
    w.table[number]["given_up"] = (-sign(side) * quantity) * (value(kind, mark) - at)


@part
def match(w: World, y: int, side: int, row: int, c: int, lots: int, score: float, mark: float, now: float) -> None:
    """Match lots of the residuals with a counterparty, in order of arrival."""
    unit, s, kind = w.settings[0]["unit"], sign(side), whole(w.symbols[y]["kind"])
    while lots > 0:
        number = w.counters[NEED_FIRST]
        who, at = whole(w.needs[number]["who"]), w.needs[number]["value"]
        taken = min(lots, w.needs[number]["lots"])
        quantity = taken * w.symbols[y]["lot"]
        received = units((s * quantity) * at * unit)
        notional = formula.notional(kind, quantity, price_of(kind, at))
        if who >= 0:
            own = terms(w.groups, w.tiers, w.book, who)
            if taken == w.book[who]["lots"] and w.needs[number]["bankrupt"] != 0:
                received = units((own.side * own.quantity) * (now - own.entry_funding) * unit)
                received -= w.book[who]["balance"]
            part_ = quantity_of(w, who, taken)
            trade(w, who, taken, price_of(kind, at), received, now, TRADERS)
            w.book[who]["deleveraged"] += part_
            if who == w.settings[0]["trace"]:
                note(w, who, row, DELEVERAGES, price_of(kind, at), part_, now, mark)
            stock_move(w, y, 2, 0, whole(s) * taken)  # trade has booked them as the backstop's
        else:
            held = w.symbols[y]["inventory"][side]
            cost = w.symbols[y]["cost"][side]
            part_cost = rounded_part(cost, taken, held)
            post(w.cash, TRADERS, BACKSTOP, received)
            stock_move(w, y, 2, 0, whole(s) * taken)
            w.symbols[y]["inventory"][side] = held - taken
            w.symbols[y]["cost"][side] = cost - part_cost
            settle_inventory(w, row, received - part_cost)
        give_part(w, c, taken, at, received, now)
        record(w, y, side, row, who, c, taken, at, mark)
        if w.counters[TABLE_USED] <= w.table.shape[0]:
            w.table[w.counters[TABLE_USED] - 1]["score"] = score
        w.steps[row]["deleveraged"][side] += units(notional * unit)
        if c == w.settings[0]["trace"]:
            note(w, c, row, COUNTERPARTY, price_of(kind, at), quantity, now, mark)
        lots -= taken
        w.needs[number]["lots"] -= taken
        if w.needs[number]["lots"] == 0:
            w.counters[NEED_FIRST] = number + 1


@part
def taken_from(w: World, y: int, side: int, row: int, at: int, lots: int, mark: float, now: float) -> None:
    """Deleverage the counterparty at a place of the ranking by some lots."""
    c, score = whole(w.ranking[at]["i"]), w.ranking[at]["key"]
    if lots <= 0:
        return
    match(w, y, side, row, c, lots, score, mark, now)
    if w.book[c]["lots"] == 0:
        unqueue(w, c)
        w.book[c]["fill_price"] = w.book[c]["given_price"]
        w.book[c]["fill_notional"] = w.book[c]["given_notional"]
        w.book[c]["equity"] = w.book[c]["given_equity"]
        conclude(w, c, row, OutcomeCode.DELEVERAGED)
    else:
        rekey(w, c)


@part
def share_out(w: World, y: int, side: int, row: int, found: int, wanted: int, mark: float, now: float) -> None:
    """Give lots to the candidates by rank: one after another, by tens, all alike, or by water-filling."""
    rank = w.settings[0]["adl_rank"]
    if rank == AdlRank.WATER_FILLING:
        fill_water(w, y, side, row, found, wanted, mark, now)
        return
    group = sharing(rank, found)
    left, end = wanted, whole(w.ranking.shape[0])
    while left > 0:
        start, total = end, whole(0)
        while start - end < group:
            found = best(w, y, 1 - side, found, mark, now)
            if found == 0:
                break
            end -= 1
            take_best(w, found, end)
            found -= 1
            total += w.book[w.ranking[end]["i"]]["lots"]
        if start == end:
            return
        goal = min(left, total)
        left -= goal
        for at in range(start - 1, end - 1, -1):
            own = w.book[w.ranking[at]["i"]]["lots"]
            lots = apportioned(goal, own, total)
            total -= own
            goal -= lots
            taken_from(w, y, side, row, at, lots, mark, now)


@part
def fill_water(w: World, y: int, side: int, row: int, found: int, wanted: int, mark: float, now: float) -> None:
    """Lower the highest leverages to one level that frees the required lots."""
    lots_sum, over_leverage, level = whole(0), 0.0, 0.0
    start = end = whole(w.ranking.shape[0])
    while True:
        found = best(w, y, 1 - side, found, mark, now)
        if found == 0 or (end < start and level >= w.ranking[0]["key"]):
            break
        end -= 1
        take_best(w, found, end)
        found -= 1
        lots_sum += w.book[w.ranking[end]["i"]]["lots"]
        over_leverage += w.book[w.ranking[end]["i"]]["lots"] / w.ranking[end]["key"]
        level = (lots_sum - wanted) / over_leverage
    level = max(level, 0.0)
    total = whole(0)
    for at in range(start - 1, end - 1, -1):
        total += w.book[w.ranking[at]["i"]]["lots"]
    left = min(whole(wanted), total)
    for at in range(start - 1, end - 1, -1):
        own = w.book[w.ranking[at]["i"]]["lots"]
        share = whole(np.rint(own * max(0.0, 1.0 - level / w.ranking[at]["key"])))
        lots = max(min(share, own, left), min(left, left - (total - own)), whole(0))
        total -= own
        left -= lots
        taken_from(w, y, side, row, at, lots, mark, now)


@part
def place_singly(w: World, y: int, side: int, row: int, worst: float, mark: float, now: float) -> None:
    """Pass on the rest of a pool residual by residual, the best price for counterparties first.

    Whoever may not take at the pool's worst price may at a better one. Those who may take at a price may at every
    better one: where nobody is left for a need, nobody is for those after it.
    """
    other, first = sign(1 - side), w.counters[NEED_FIRST]
    while True:
        best = -1
        for number in range(first, w.counters[NEED_END]):
            better = best < 0 or other * w.needs[number]["value"] > other * w.needs[best]["value"]
            if w.needs[number]["lots"] > 0 and better:
                best = number
        if best < 0 or w.needs[best]["value"] == worst:
            return
        found = candidates(w, y, 1 - side, mark, now, w.needs[best]["value"])
        if found == 0:
            return
        w.counters[NEED_FIRST] = best
        share_out(w, y, side, row, found, w.needs[best]["lots"], mark, now)
        if w.needs[best]["lots"] > 0:
            return


@part
def deleverage(w: World, y: int, side: int, row: int, mark: float, now: float) -> None:
    """Match the pooled residuals of a side with the other side, and sell the rest in the book."""
    count = w.counters[NEED_END]
    if count == 0:
        return
    other = sign(1 - side)
    wanted = whole(0)
    worst = w.needs[0]["value"]
    for number in range(count):
        wanted += w.needs[number]["lots"]
        if other * w.needs[number]["value"] < other * worst:
            worst = w.needs[number]["value"]
    found = candidates(w, y, 1 - side, mark, now, worst)
    if found > 0:
        share_out(w, y, side, row, found, wanted, mark, now)
    if w.counters[NEED_FIRST] < count:
        place_singly(w, y, side, row, worst, mark, now)
    for number in range(count):
        who, left, base = whole(w.needs[number]["who"]), w.needs[number]["lots"], w.needs[number]["base"]
        if who < 0:
            if left > 0:
                price = impacted(w, y, side, row, base, notional_of(w, y, left, base))
                sell_inventory(w, y, side, row, left, base, price)
        elif w.book[who]["lots"] == 0:
            settle(w, who, row, row, whole(0))
        elif w.book[who]["status"] == LOCKED:
            sell(w, who, row, row, w.book[who]["lots"], mark, base, now, False)
    w.counters[NEED_FIRST] = 0
    w.counters[NEED_END] = 0
