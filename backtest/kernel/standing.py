"""Where a position stands: among the open ones, in the queues, and how it ends."""

from __future__ import annotations

import numpy as np

from backtest.kernel import queues
from backtest.kernel.arrays import LIQUIDATED
from backtest.kernel.compile import helper, part
from backtest.kernel.ledger import cover, note, post, share_of, to_fund
from backtest.kernel.waterfall import BACKSTOP, DONE, RETURNED, SETTLED, SHARED, TO_FUND, TRADERS, World, whole


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
