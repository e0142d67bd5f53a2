"""The replay's state as one value, the codes in it, and the margin model on its records."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from backtest.kernel.arrays import Rules
from backtest.kernel.choices import ContractKind
from backtest.kernel.compile import helper, part
from backtest.kernel.margin import formula, position
from backtest.kernel.margin.position import Segment
from backtest.kernel.replay.records import Records
from backtest.kernel.types import Codes, Floats, Integers

#: Steps of a trace, by name and by code.
STEPS = (
    "entered", "triggered", "filled", "taken over", "control returned", "waits", "deleveraged",
    "deleveraged as a counterparty", "settled", "closed by its holder", "adjusted", "clawed back", "lost sight of",
)  # fmt: skip
(ENTERED, TRIGGERED, FILLED, TAKEN_OVER, RELEASED, WAITS, DELEVERAGES, COUNTERPARTY, SETTLED, HOLDER_CLOSED,
 ADJUSTED, CLAWED, LOST_SIGHT) = range(len(STEPS))  # fmt: skip

#: Counters.
COUNTERS = 20
(NODES_USED, FREE_NODE, FREE_NODES, PLACES_USED, FREE_PLACE, FREE_PLACES, ENDED, TABLE_USED, TRACE_USED, FULL,
 DROPPED, WINDOW_FIRST, WINDOW_END, NEED_FIRST, NEED_END, POOLS, HOPES, PAID, CLAWED_BACK,
 LACKED) = range(COUNTERS)  # fmt: skip


class World(NamedTuple):
    """State of a replay: all arrays it reads and writes."""

    groups: Records  #: (groups + 1,)
    tiers: Records
    settings: Records  #: (1,)
    symbols: Records
    book: Records  #: (places,) POSITION, the open ones
    places: Codes  #: (n,) int32 of each position of the book, -1 unless open
    nodes: Records
    heads: Codes  #: (queues * buckets,) int32
    queues: Records
    cells: Records  #: CELL, open positions by symbol and side
    edges: Floats  #: of the cells of a symbol and side that are indexed
    hopes: Records  #: RANKED, cells by what can be in them
    wave: Records  #: (places,) RANKED
    ranking: Records  #: (places,) RANKED
    cash: Integers  #: (accounts,) see ``codes.LEDGER``
    counters: Integers
    steps: Records  #: (rows,)
    needs: Records
    table: Records
    trace: Records
    bars: Records  #: (rows,) BAR
    charges: Records  #: CHARGE
    window: Records  #: MOMENT


@helper
def rules_of(groups: Records, tiers: Records) -> Rules:
    """Return the rules as the margin model's own kernels take them; fields that only sweeps need are empty."""
    return Rules(
        first=groups["kind"], start=groups["kind"], known=groups["constant"], successor=groups["successor"],
        kind=groups["kind"],
        constant=groups["constant"], strict=groups["strict"], fee=groups["fee"],
        reserved_fee=groups["reserved_fee"], included_fee=groups["included_fee"], keyed_by=groups["keyed_by"],
        higher=groups["higher"],
        contract_size=groups["contract_size"], rate_factor=groups["rate_factor"], cap=groups["fee"],
        tier_first=groups["tier_first"], floor=tiers["floor"], rate=tiers["rate"], amount=tiers["amount"],
        max_leverage=tiers["rate"], hurdle_long=tiers["hurdle_long"], hurdle_short=tiers["hurdle_short"],
        tree_long=tiers["queue_long"], tree_short=tiers["queue_short"], returned=False, pro_rata=False,
    )  # fmt: skip


@helper
def whole(number: Any) -> int:
    """Return a number as a whole one of 64 bits."""
    return np.int64(number)  # type: ignore[return-value]


@helper
def units(amount: float) -> int:
    """Return an amount in whole units."""
    return whole(np.rint(amount))


@helper
def value(kind: int, price: float) -> float:
    """Return what a unit of quantity is worth at a price, up to a constant."""
    return -1.0 / price if kind == ContractKind.INVERSE else price


@helper
def price_of(kind: int, value_: float) -> float:
    """Return the price a unit of quantity is worth a value at; infinite or negative where there is none."""
    if kind != ContractKind.INVERSE:
        return value_
    return -1.0 / value_ if value_ < 0.0 else np.inf


@helper
def sign(side: int) -> float:
    """Return +1 for a long (0), -1 for a short (1)."""
    return 1.0 - 2.0 * side


@part
def terms(groups: Records, tiers: Records, book: Records, i: int) -> Segment:
    """Return a position's present state."""
    held = book[i]
    return position.begin(
        rules_of(groups, tiers), whole(held["group"]), whole(held["symbol"]), sign(whole(held["side"])),
        held["quantity"], held["entry_price"], held["margin"], held["leverage"], held["entry_funding"],
    )  # fmt: skip


@part
def equity_at(held: Segment, price: float, funding: float) -> float:
    """Return a position's equity at a price and a cumulative funding."""
    return formula.equity(
        held.kind, held.side, held.quantity, held.entry_price, held.margin, held.entry_funding, price, funding
    )


@part
def requirement_at(tiers: Records, held: Segment, price: float) -> float:
    """Return the equity a position must keep at a price."""
    return position.requirement(tiers["rate"], tiers["amount"], held, price)


@part
def triggers_at(groups: Records, tiers: Records, held: Segment, price: float, funding: float) -> bool:
    """Return whether a position is liquidated at a price, by the direct formula."""
    return position.triggers(rules_of(groups, tiers), held, price, funding)


@part
def liquidation_price_at(groups: Records, tiers: Records, held: Segment, funding: float) -> float:
    """Return where equity meets the maintenance margin at a funding."""
    rules = rules_of(groups, tiers)
    low, high = position.tiers_between(rules, held, funding, funding)
    return position.liquidation_price(rules, held, low, high, funding)


@part
def rate_at(groups: Records, tiers: Records, held: Segment, funding: float) -> float:
    """Return the rate of the tier whose requirement meets equity at the liquidation price."""
    rules = rules_of(groups, tiers)
    low, high = position.tiers_between(rules, held, funding, funding)
    return position.triggering_rate(rules, held, low, high, funding)


@helper
def bankruptcy_value(held: Segment, funding: float) -> float:
    """Return the value of a unit where equity is zero; it exists even where no such price does."""
    signed = held.side * held.quantity
    return (value(held.kind, held.entry_price) - held.margin / signed) + (funding - held.entry_funding)


@helper
def bounded(kind: int, price: float) -> float:
    """Return a price inside the range a contract's prices have."""
    return min(max(price, 0.0), 1.0) if kind == ContractKind.FACE_VALUE else price


@helper
def possible(kind: int, value_: float) -> float:
    """Return a unit's value kept to prices a contract can have; those of an inverse one have no bound above."""
    if kind == ContractKind.INVERSE:
        return min(value_, 0.0)
    return bounded(kind, max(value_, 0.0))


@helper
def factor(symbols: Records, y: int) -> float:
    """Return what the history's prices are multiplied by."""
    offset = symbols[y]["permanent"] + symbols[y]["decaying"]
    return math.exp(offset) if offset != 0.0 else 1.0
