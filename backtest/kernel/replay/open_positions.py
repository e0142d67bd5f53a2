"""Open positions: their lists and queues, and their close."""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import OutcomeCode, Remainder
from backtest.kernel.compile import helper, part
from backtest.kernel.replay import position_index, trigger_queues
from backtest.kernel.replay.clawback import cover
from backtest.kernel.replay.codes import BACKSTOP, DONE, TRADERS
from backtest.kernel.replay.ledger import note, post, to_fund
from backtest.kernel.replay.proportions import share_of
from backtest.kernel.replay.state import ENDED, SETTLED, World, whole


@helper
def enlist(w: World, i: int) -> None:
    """Add a position to the open ones of its symbol and side."""
    y, side = whole(w.book[i]["symbol"]), whole(w.book[i]["side"])
    w.symbols[y]["members"][side] += 1
    position_index.link(w.cells, w.book, i, w.symbols[y]["cells"][side])


@helper
def delist(w: World, i: int) -> None:
    """Take a position from the open ones."""
    w.symbols[w.book[i]["symbol"]]["members"][w.book[i]["side"]] -= 1
    position_index.unlink(w.cells, w.book, i)


@helper
def withdraw_orders(w: World, i: int) -> None:
    """Take a position's stop and take-profit out of their queues."""
    buckets = w.settings[0]["buckets"]
    if w.book[i]["stop_node"] >= 0:
        trigger_queues.discard(w.nodes, w.heads, w.queues, w.counters, buckets, w.book[i]["stop_node"])
        w.book[i]["stop_node"] = -1
    if w.book[i]["target_node"] >= 0:
        trigger_queues.discard(w.nodes, w.heads, w.queues, w.counters, buckets, w.book[i]["target_node"])
        w.book[i]["target_node"] = -1


@helper
def place_order(w: World, i: int, queue: int, theta: float) -> int:
    """Put an order into a queue of watched prices, and return its node."""
    node = trigger_queues.new_node(w.nodes, w.counters)
    if node >= 0:
        w.nodes[node]["owner"] = i
        trigger_queues.push(w.nodes, w.heads, w.queues, w.settings[0]["buckets"], queue, node, theta)
    return node


@part
def place_orders(w: World, i: int) -> None:
    """Put a position's stop and take-profit into the queues of the prices they watch."""
    held = w.book[i]
    low, high = w.symbols[held["symbol"]]["queue"][2], w.symbols[held["symbol"]]["queue"][3]
    stop, target = held["stop_price"], held["take_profit_price"]
    if held["side"] != 0:
        stop, target = -stop, -target
    if not np.isnan(stop):
        w.book[i]["stop_node"] = place_order(w, i, low if held["side"] == 0 else high, stop)
    if not np.isnan(target):
        w.book[i]["target_node"] = place_order(w, i, high if held["side"] == 0 else low, -target)


@part
def unqueue(w: World, i: int) -> None:
    """Take a position out of every queue."""
    trigger_queues.leave(w.book, w.nodes, w.heads, w.queues, w.counters, w.settings[0]["buckets"], i)
    withdraw_orders(w, i)


@helper
def end(w: World, i: int) -> None:
    """Put a position behind those that have ended in this bar."""
    w.book[i]["status"] = DONE
    w.book[i]["following"] = w.counters[ENDED]
    w.counters[ENDED] = i


@helper
def conclude(w: World, i: int, moment: int, outcome: int) -> None:
    """Note the outcome and time of a position; its remaining equity is its holder's."""
    w.book[i]["pocket"] += w.book[i]["balance"]
    w.book[i]["balance"] = 0
    w.book[i]["outcome"] = outcome
    w.book[i]["time"] = w.bars[moment]["time"]
    delist(w, i)
    end(w, i)


@part
def settle(w: World, i: int, row: int, moment: int, bearable: int) -> None:
    """Settle a closed position: cover its shortfall, or pay out its remaining margin."""
    left = w.book[i]["balance"]
    rule = w.settings[0]["remainder"]
    if left < 0:
        cover(w, i, row, -left, bearable)
    elif left > 0 and rule != Remainder.RETURNED:
        own = left if rule == Remainder.FUND else share_of(left, w.settings[0]["remainder_fund_share"])
        to_fund(w, row, TRADERS, own)
        if rule == Remainder.SHARED:
            post(w.cash, TRADERS, BACKSTOP, left - own)
        w.book[i]["fund_effect"] += own
        w.book[i]["balance"] = 0
    conclude(w, i, moment, OutcomeCode.LIQUIDATED)
    if i == w.settings[0]["trace"]:
        note(w, i, row, SETTLED, w.book[i]["fill_price"], 0.0, w.book[i]["entry_funding"], w.book[i]["fill_price"])
