"""ADL ranking: scores of counterparties, and the candidates of a pool, best first.

While ADL is rare every open position of a side is scored. Once it is common, cells are opened in the
order of what the best score in them can be, until no cell can hold a better one than the best found: the same
candidates come out in the same order, and most are never looked at. Pro rata asks everybody, so it always scans.
"""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import AdlRank, ContractKind
from backtest.kernel.compile import helper, part
from backtest.kernel.margin import formula
from backtest.kernel.margin.position import Segment
from backtest.kernel.replay import position_index, trigger_queues
from backtest.kernel.replay.codes import HELD
from backtest.kernel.replay.records import Records
from backtest.kernel.replay.state import (
    HOPES,
    POOLS,
    World,
    equity_at,
    requirement_at,
    sign,
    terms,
    value,
    whole,
)

#: Ranks whose scores a cell bounds. The others' candidates are looked at one by one: pro rata asks everybody, and
#: what a table of tiers may ask of a cell bounds the rank of Binance too loosely.
BOUNDED = (
    AdlRank.PROFIT_LEVERAGE,
    AdlRank.BITMEX,
    AdlRank.SIZE,
    AdlRank.RANDOM,
    AdlRank.TOP_TEN,
    AdlRank.WATER_FILLING,
)

#: Counterparties that one turn of ``TOP_TEN`` shares lots among.
TEN = 10

#: Bounds give way by this share of the magnitudes they are made of, ten million times what rounding takes.
SLACK = 1e-9


@part
def score_of(w: World, i: int, own: Segment, mark: float, now: float, worst: float) -> float:
    """Return the ADL score of a counterparty, or -inf where it may not be chosen."""
    gain = own.side * (worst - value(own.kind, own.entry_price))
    profit = formula.result(own.kind, own.side, own.quantity, own.entry_price, mark)
    equity = equity_at(own, mark, now)
    paid = (own.side * own.quantity) * (now - own.entry_funding)
    if equity <= 0.0 or (own.margin + own.quantity * gain) - paid <= 0.0:
        return -np.inf
    if w.settings[0]["adl_profit_required"] != 0 and (gain <= 0.0 or profit <= 0.0):
        return -np.inf
    rank = w.settings[0]["adl_rank"]
    leverage = formula.notional(own.kind, own.quantity, mark) / equity
    share = profit / own.entry_notional
    if rank == AdlRank.PROFIT_LEVERAGE:
        return share * leverage
    if rank == AdlRank.BINANCE:
        ratio = requirement_at(w.tiers, own, mark) / equity
        return (max(0.0, profit) / max(1.0, own.margin)) * ratio
    if rank == AdlRank.BITMEX:
        return share * leverage if share >= 0.0 else share / leverage
    if rank in (AdlRank.SIZE, AdlRank.TOP_TEN):
        return formula.notional(own.kind, own.quantity, mark)
    if rank == AdlRank.RANDOM:
        return position_index.shuffled(w.book[i]["id"], w.settings[0]["seed"])
    return leverage if rank == AdlRank.WATER_FILLING else 0.0


@helper
def sharing(rank: int, found: int) -> int:
    """Return among how many candidates at a time lots are shared in proportion to what they hold."""
    if rank == AdlRank.PRO_RATA:
        return found
    return TEN if rank == AdlRank.TOP_TEN else 1


@helper
def share_of_entry(kind: int, gain: float, price: float) -> float:
    """Return a gain a unit of quantity over the notional at the entry."""
    if kind == ContractKind.INVERSE:
        return gain * price
    return gain if kind == ContractKind.FACE_VALUE else gain / price


@part
def bound_of(w: World, y: int, cell: int, s: float, mark: float, now: float) -> float:
    """Return a number that no score in a cell exceeds; -inf where no candidate is in it."""
    found, kind, rank = w.cells[cell], w.symbols[y]["kind"], w.settings[0]["adl_rank"]
    worst = w.symbols[y]["worst"]
    at, least, most = s * value(kind, mark), found["debt_low"], found["debt_high"]
    slack = SLACK * (abs(at) + abs(now) + abs(s * worst) + max(abs(least), abs(most)))
    slack += SLACK * max(abs(found["entry_low"]), abs(found["entry_high"]))
    thinnest, fattest = (at - s * now) - most - slack, (at - s * now) - least + slack
    gain = (at - found["entry_low"]) + slack
    if fattest <= 0.0 or s * (worst - now) - least + slack <= 0.0:
        return -np.inf
    if w.settings[0]["adl_profit_required"] != 0 and (
        gain <= 0.0 or s * worst - found["entry_low"] + slack <= 0.0
    ):
        return -np.inf
    if rank in (AdlRank.SIZE, AdlRank.TOP_TEN):
        return formula.notional(kind, found["own_high"], mark)
    if rank == AdlRank.RANDOM:
        return found["own_high"]
    unit = formula.notional(kind, 1.0, mark)
    leverage = unit / thinnest if thinnest > 0.0 else np.inf
    if rank == AdlRank.WATER_FILLING:
        return leverage * (1.0 + SLACK)
    entry = abs(found["entry_low"])
    share = share_of_entry(kind, gain, 1.0 / entry if kind == ContractKind.INVERSE else entry)
    if share >= 0.0:
        return (share * leverage) * (1.0 + SLACK) if thinnest > 0.0 else np.inf
    weight = unit / fattest if rank == AdlRank.PROFIT_LEVERAGE else 1.0 / leverage
    return (share * weight) * (1.0 - SLACK)


@helper
def rise(ranking: Records, at: int) -> None:
    """Let the last entry of a heap rise until none above it comes after it."""
    while at > 0 and trigger_queues.comes_before(ranking, at, (at - 1) >> 1):
        trigger_queues.swap(ranking, at, (at - 1) >> 1)
        at = (at - 1) >> 1


@part
def look_through(w: World, cell: int, found: int, mark: float, now: float, worst: float, bounded: bool) -> int:
    """Add the new candidates of a cell to the ranking, and return its size."""
    pool = w.counters[POOLS]
    if bounded:
        position_index.empty(w.cells, cell)
    i = whole(w.cells[cell]["head"])
    while i >= 0:
        if bounded or w.book[i]["status"] == HELD:
            own = terms(w.groups, w.tiers, w.book, i)
            if bounded:
                position_index.widen(w, cell, i, own)
            if w.book[i]["status"] == HELD and w.book[i]["asked"] != pool:
                w.book[i]["asked"] = pool
                score = score_of(w, i, own, mark, now, worst)
                if score > -np.inf:
                    w.ranking[found]["i"], w.ranking[found]["key"], w.ranking[found]["id"] = (
                        i,
                        score,
                        w.book[i]["id"],
                    )
                    rise(w.ranking, found)
                    found += 1
        i = whole(w.book[i]["next_member"])
    return found


@part
def best(w: World, y: int, side: int, found: int, mark: float, now: float) -> int:
    """Open cells until the best candidate left is on top of the ranking; return how many it holds."""
    while w.counters[HOPES] > 0 and (found == 0 or w.hopes[0]["key"] >= w.ranking[0]["key"]):
        cell = whole(w.hopes[0]["i"])
        trigger_queues.pop(w.hopes, w.counters[HOPES])
        w.counters[HOPES] -= 1
        bounded = cell != w.symbols[y]["cells"][side]
        found = look_through(w, cell, found, mark, now, w.symbols[y]["worst"], bounded)
    return found


@part
def take_best(w: World, found: int, at: int) -> None:
    """Move the candidate on top of the ranking to a place behind it, which holds one fewer then."""
    trigger_queues.pop(w.ranking, found)
    w.ranking[at]["i"] = w.ranking[found - 1]["i"]
    w.ranking[at]["key"], w.ranking[at]["id"] = w.ranking[found - 1]["key"], w.ranking[found - 1]["id"]


@part
def is_indexed(w: World, y: int, side: int, now: float) -> bool:
    """Return whether the positions of a side lie in cells, after spreading them where that has become worth it."""
    members = w.symbols[y]["members"][side]
    if w.settings[0]["cell_rows"] == 0 or members <= w.settings[0]["index_least"]:
        return w.symbols[y]["indexed"][side] != 0
    if w.symbols[y]["indexed"][side] == 0:
        w.symbols[y]["asked"][side] += members
        if w.symbols[y]["asked"][side] <= w.settings[0]["index_after"] * members:
            return False
        position_index.spread(w, y, side, now)
    elif w.symbols[y]["placed"][side] > 2 * (members + w.settings[0]["index_least"]):
        position_index.spread(w, y, side, now)
    return True


@part
def candidates(w: World, y: int, side: int, mark: float, now: float, worst: float) -> int:
    """Rank the ADL candidates of a side, at least the best; return how many are ranked."""
    w.counters[POOLS] += 1
    w.counters[HOPES] = 0
    w.symbols[y]["worst"] = worst
    loose, found = w.symbols[y]["cells"][side], 0
    if not is_indexed(w, y, side, now):
        return look_through(w, loose, found, mark, now, worst, False)
    hopes = 0
    for cell in range(loose, position_index.end_of(w, y, side)):
        if w.cells[cell]["head"] >= 0:
            bound = np.inf if cell == loose else bound_of(w, y, cell, sign(side), mark, now)
            if bound > -np.inf:
                w.hopes[hopes]["i"], w.hopes[hopes]["id"], w.hopes[hopes]["key"] = cell, cell, bound
                hopes += 1
    trigger_queues.heapify(w.hopes, hopes)
    w.counters[HOPES] = hopes
    return best(w, y, side, found, mark, now)
