"""Holdings of an account in a bar as terms of a search: positions under their tiers, collateral, debts.

A position of an inverse contract is a linear one of the other side in x = 1 / price, with funding sums of the
other sign: with s its own side, s Q (1 / E - 1 / P) = (-s) Q (x - x_E), and s Q F = (-s) Q (-F). Kernels of
accounts see such positions so, and their "prices" are these x.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel.accounts.search import Terms
from backtest.kernel.arrays import Rules
from backtest.kernel.choices import ContractKind
from backtest.kernel.compile import helper
from backtest.kernel.margin import formula, tiers
from backtest.kernel.types import Floats, Integers

LONG, SHORT, COIN = range(3)
EVERY, NONE = -1, -2  # whose profit counts: every position's, or none's; else the number of one position


class Holdings(NamedTuple):
    """Legs and collateral of each account by symbol; in it longs, shorts, collateral, each as given."""

    first: Integers  #: (accounts + 1,)
    wallet: Floats  #: (accounts,)
    since: Integers  #: (accounts,) bar an account is followed from: what took effect before is in the wallet
    kind: Integers  #: LONG, SHORT, COIN; (rows,) like all that follow
    symbol: Integers
    start: Integers  #: bar from which a leg is held
    end: Integers  #: bar at whose opening it exits; all bars where it does not
    quantity: Floats
    entry_price: Floats
    entry_funding: Floats
    exit_price: Floats
    exit_funding: Floats
    group: Integers  #: rules by the entry
    leverage: Floats  #: selected; 0 where none is given
    table_bar: Integers  #: (groups,) bar from which a group's table applies to open positions
    transfer_first: Integers  #: (accounts + 1,)
    transfer_bar: Integers
    transfer: Floats
    haircut_first: Integers  #: (symbols + 1,)
    share: Floats  #: of the value that counts
    credit: Floats  #: what the parts below add


class Gathered(NamedTuple):
    """What was written into the terms of an account."""

    terms: int
    positions: int
    constant: float
    beyond: bool  #: a position is larger than its table covers
    hedged: bool  #: in every symbol long and short are equal
    usable: bool  #: the profit of the last position counts
    group: int  #: of the last position
    tier: int  #: the first its requirement is taken from


def scratch(terms: int, pieces: int) -> Terms:
    """Return room for the terms of one account."""
    return Terms(
        symbol=np.empty(terms, np.int64),
        side=np.empty(terms),
        quantity=np.empty(terms),
        cost=np.empty(terms),
        anchor=np.empty(terms),
        piece=np.empty(terms + 1, np.int64),
        slope=np.empty(pieces),
        level=np.empty(pieces),
        need_slope=np.empty(pieces),
        need_level=np.empty(pieces),
    )


@helper
def add_piece(terms: Terms, piece: int, slope: float, level: float, need_slope: float, need_level: float) -> int:
    """Write a piece and return the place of the next."""
    terms.slope[piece], terms.level[piece] = slope, level
    terms.need_slope[piece], terms.need_level[piece] = need_slope, need_level
    return piece + 1


@helper
def add_need(terms: Terms, t: int, piece: int, usable: bool, need_slope: float, need_level: float) -> int:
    """Write the pieces of a position for one straight part of its maintenance margin."""
    side, quantity, cost = terms.side[t], terms.quantity[t], terms.cost[t]
    slope = side * quantity - need_slope
    if usable:
        return add_piece(terms, piece, slope, -need_level, need_slope, need_level)
    piece = add_piece(terms, piece, slope, -need_level - side * cost, need_slope, need_level)
    return add_piece(terms, piece, -need_slope, -need_level, need_slope, need_level)


@helper
def size_of(rules: Rules, group: int, quantity: float, cost: float) -> float:
    """Return a position's size in settlement currency, as its tiers count it."""
    return quantity if rules.kind[group] == ContractKind.FACE_VALUE else cost


@helper
def reserved_fee(
    rules: Rules, group: int, side: float, quantity: float, cost: float, leverage: float, wallet: float
) -> float:
    """Return the closing fee reserved at the bankruptcy price of a position's margin.

    The margin is the initial one of its leverage; without a leverage, of an account of one position, the wallet.
    """
    fee = rules.reserved_fee[group]
    if fee == 0.0:
        return 0.0
    included = 0.0 if leverage > 0.0 else rules.included_fee[group]
    margin = size_of(rules, group, quantity, cost) / leverage if leverage > 0.0 else wallet
    return formula.reserved_fee(rules.kind[group], side, quantity, side * cost - margin, fee, included)


@helper
def add_position(
    rules: Rules,
    terms: Terms,
    t: int,
    piece: int,
    group: int,
    leverage: float,
    wallet: float,
    usable: bool,
    demand: float,
) -> tuple[int, int]:
    """Write the pieces of a position under its tiers; return the first tier and the place of the next piece.

    The maintenance margin is taken ``demand`` times.
    """
    quantity, fee = terms.quantity[t], rules.fee[group]
    size = size_of(rules, group, quantity, terms.cost[t])
    first, last = tiers.own_tiers(rules, group, quantity, size, leverage)
    kept = reserved_fee(rules, group, terms.side[t], quantity, terms.cost[t], leverage, wallet)
    if rules.constant[group]:
        base = tiers.constant_requirement(rules, group, first, last, size, leverage) + kept
        if rules.kind[group] == ContractKind.FACE_VALUE:
            return first, add_need(terms, t, piece, usable, 0.0, (base + fee * quantity) * demand)
        return first, add_need(terms, t, piece, usable, (fee * quantity) * demand, base * demand)
    for k in range(first, last + 1):
        slope, level = (rules.rate[k] + fee) * quantity, -rules.amount[k] + kept
        piece = add_need(terms, t, piece, usable, slope * demand, level * demand)
    return first, piece


@helper
def add_coin(holdings: Holdings, terms: Terms, t: int, piece: int, symbol: int) -> int:
    """Write the pieces of collateral under its haircuts, or of a debt."""
    units = terms.quantity[t]
    first, last = holdings.haircut_first[symbol], holdings.haircut_first[symbol + 1]
    if units < 0.0 or first == last:
        return add_piece(terms, piece, units, 0.0, 0.0, 0.0)
    for k in range(first, last):
        piece = add_piece(terms, piece, units * holdings.share[k], holdings.credit[k], 0.0, 0.0)
    return piece


@helper
def group_at(holdings: Holdings, rules: Rules, group: int, bar: int) -> int:
    """Return the group that a position entered under one comes under in a bar."""
    following = rules.successor[group]
    while following >= 0 and holdings.table_bar[following] <= bar:
        group = following
        following = rules.successor[group]
    return group


@helper
def gather(
    holdings: Holdings, rules: Rules, terms: Terms, i: int, bar: int, wallet: float, counted: int, demand: float
) -> Gathered:
    """Write the terms held in a bar; ``counted`` says whose profit counts, ``demand`` what is needed."""
    t, piece, positions, constant, beyond = 0, 0, 0, wallet, False
    usable, group, tier = False, 0, 0
    terms.piece[0] = 0
    row, stop = holdings.first[i], holdings.first[i + 1]
    while row < stop:
        kind, symbol, leader = holdings.kind[row], holdings.symbol[row], -1
        quantity, cost, anchor = 0.0, 0.0, 0.0
        while row < stop and holdings.kind[row] == kind and holdings.symbol[row] == symbol:
            if holdings.start[row] <= bar < holdings.end[row]:
                leader = row if leader < 0 else leader
                quantity += holdings.quantity[row]
                cost += holdings.quantity[row] * holdings.entry_price[row]
                anchor += holdings.quantity[row] * holdings.entry_funding[row]
            row += 1
        if leader < 0:
            continue
        terms.symbol[t], terms.quantity[t] = symbol, quantity
        if kind == COIN:
            terms.side[t], terms.cost[t], terms.anchor[t] = 0.0, 0.0, 0.0
            piece = add_coin(holdings, terms, t, piece, symbol)
        else:
            side = 1.0 - 2.0 * kind
            terms.side[t], terms.cost[t], terms.anchor[t] = side, cost, anchor
            usable = counted in (EVERY, positions)
            entered = holdings.group[leader]
            group = group_at(holdings, rules, entered, bar)
            tier, piece = add_position(
                rules, terms, t, piece, group, holdings.leverage[leader], wallet, usable, demand
            )
            constant = constant + (side * (anchor - cost) if usable else side * anchor)
            size = tiers.size_at_entry(rules, entered, quantity, size_of(rules, entered, quantity, cost))
            beyond = beyond or size > rules.cap[entered]
            positions += 1
        t += 1
        terms.piece[t] = piece
    return Gathered(t, positions, constant, beyond, is_hedged(terms, t), usable, group, tier)


@helper
def is_hedged(terms: Terms, count: int) -> bool:
    """Whether every position has an opposite one of equal size in its symbol."""
    for t in range(count):
        if terms.side[t] != 0.0:
            other = t + 1
            if other >= count or terms.side[other] != -terms.side[t] or terms.symbol[other] != terms.symbol[t]:
                other = t - 1
            if other < 0 or terms.side[other] != -terms.side[t] or terms.symbol[other] != terms.symbol[t]:
                return False
            if terms.quantity[other] != terms.quantity[t]:
                return False
    return True
