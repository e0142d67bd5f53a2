"""Takeover price of a position that cannot be sold, and the residual for ADL."""

from __future__ import annotations

from backtest.kernel.choices import AdlPrice, AdlTrigger, ContractKind, TakeoverPrice
from backtest.kernel.compile import helper, part
from backtest.kernel.margin.position import Segment
from backtest.kernel.replay.codes import FUND
from backtest.kernel.replay.proportions import cut_part
from backtest.kernel.replay.state import (
    DROPPED,
    LACKED,
    NEED_END,
    NEED_FIRST,
    World,
    bankruptcy_value,
    possible,
    price_of,
    terms,
    value,
    whole,
)


@helper
def deleverages(w: World) -> bool:
    """Return whether losses beyond the fund are passed on to counterparties."""
    return w.settings[0]["adl_trigger"] != AdlTrigger.NEVER


@helper
def bearable_lots(w: World, lots: int, short: int) -> int:
    """Return how many of some lots the fund can bear, whose loss beyond bankruptcy is ``short``."""
    if w.counters[DROPPED] != 0:
        return whole(0)
    if short <= w.cash[FUND]:
        return lots
    w.counters[LACKED] = 1
    return cut_part(lots, w.cash[FUND], short)


@part
def takeover_value(w: World, own: Segment, bankrupt: float, tau: float) -> float:
    """Return what a takeover pays a unit, as the venue says, at a price there can be."""
    rule = w.settings[0]["takeover_price"]
    if rule == TakeoverPrice.BANKRUPTCY and w.groups[own.group]["included_fee"] == 0.0:
        return possible(own.kind, bankrupt)
    if rule == TakeoverPrice.BACKSTOP:
        return possible(own.kind, value(own.kind, tau * (1.0 - own.side * w.settings[0]["takeover_discount"])))
    fee = w.groups[own.group]["fee"] + w.groups[own.group]["reserved_fee"]
    if own.kind == ContractKind.INVERSE:
        return possible(own.kind, bankrupt / (1.0 + own.side * fee))
    if own.kind == ContractKind.FACE_VALUE:
        return possible(own.kind, bankrupt + own.side * fee)
    return possible(own.kind, bankrupt / (1.0 - own.side * fee))


@helper
def need(w: World, who: int, lots: int, value_: float, base: float, bankrupt: bool) -> None:
    """Add lots that counterparties must take; those of one inventory in a row are one need."""
    number = w.counters[NEED_END]
    if who < 0 and number > w.counters[NEED_FIRST] and w.needs[number - 1]["who"] == who:
        w.needs[number - 1]["lots"] += lots
        w.needs[number - 1]["value"], w.needs[number - 1]["base"] = value_, base
        return
    w.needs[number]["who"] = who
    w.needs[number]["lots"] = lots
    w.needs[number]["value"] = value_
    w.needs[number]["base"] = base
    w.needs[number]["bankrupt"] = 1 if bankrupt else 0
    w.counters[NEED_END] = number + 1


@helper
def inventory_needed(w: World) -> int:
    """Return the lots of inventory among the residuals of the present pool."""
    lots = whole(0)
    for number in range(w.counters[NEED_FIRST], w.counters[NEED_END]):
        if w.needs[number]["who"] < 0:
            lots += w.needs[number]["lots"]
    return lots


@part
def need_of_position(w: World, i: int, lots: int, tau: float, base: float, now: float) -> None:
    """Add the rest of a position to what counterparties must take, at the price the venue says."""
    own = terms(w.groups, w.tiers, w.book, i)
    bankrupt = bankruptcy_value(own, now)
    rule = w.settings[0]["adl_price"]
    at = possible(own.kind, bankrupt)
    if rule == AdlPrice.MARK:
        at = value(own.kind, tau)
    elif rule != AdlPrice.BANKRUPTCY:
        at = takeover_value(w, own, bankrupt, tau)
    elif abs(price_of(own.kind, at) - tau) > w.settings[0]["adl_mark_beyond"] * tau:
        at = value(own.kind, tau)
    need(w, i, lots, at, base, at == bankrupt)
