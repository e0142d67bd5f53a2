"""Events of a position in a bar, or in the part of a bar that it certainly lived through."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel.arrays import Bars, Forest, Rules
from backtest.kernel.choices import OutcomeCode
from backtest.kernel.compile import helper
from backtest.kernel.margin import position
from backtest.kernel.margin.position import Segment
from backtest.kernel.sweep import outcomes
from backtest.kernel.sweep.intrabar import first_event
from backtest.kernel.types import Floats

NO_EVENT = -1

#: Codes of outcomes as numbers: compiled records take no members of enumerations.
LIQUIDATED, EXITED = int(OutcomeCode.LIQUIDATED), int(OutcomeCode.EXITED)
OPEN, UNKNOWN = int(OutcomeCode.OPEN), int(OutcomeCode.UNKNOWN)


class Watched(NamedTuple):
    """The price series that stops and take-profits watch, with a tree of its lows and one of its negated highs."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    forest: Forest  #: trees 2 * symbol (lows) and 2 * symbol + 1 (negated highs)
    triggers_liquidation: bool  #: it is the series that liquidation watches, too


class Orders(NamedTuple):
    """Stop and take-profit of a position; NaN: none."""

    stop: float
    target: float


class Hidden(NamedTuple):
    """What is taken for what bars do not show."""

    entry_bar: bool  #: all of an entry bar came after the entry
    exit_bar: bool  #: all of an exit bar came before the exit
    intrabar: int
    actions_first: bool  #: what happened inside a bar came before the prices that it may have come before


class Range(NamedTuple):
    """Prices of a bar, or of a part of it: of the series that triggers, and of the one that stops watch."""

    row: int
    open: float
    low: float
    high: float
    watched_open: float
    watched_low: float
    watched_high: float


class Found(NamedTuple):
    """The first event in a range, and its prices."""

    event: int  #: ``OutcomeCode``, or ``NO_EVENT``
    ambiguous: bool  #: a rule decided the order, or what the bar hides could have made it another
    price: float  #: liquidation price
    fill: float


NOTHING = Found(NO_EVENT, False, np.nan, np.nan)


@helper
def whole_bar(bars: Bars, watched: Watched, row: int) -> Range:
    """Return all prices of a bar."""
    return Range(
        row, bars.open[row], bars.low[row], bars.high[row], watched.open[row], watched.low[row], watched.high[row]
    )


@helper
def opening_of(bars: Bars, watched: Watched, row: int) -> Range:
    """Return the opening of a bar alone."""
    opening, seen = bars.open[row], watched.open[row]
    return Range(row, opening, opening, opening, seen, seen, seen)


@helper
def since_entry(bars: Bars, watched: Watched, row: int, entry_price: float) -> Range:
    """Return all prices of an entry bar, as if they came after the entry."""
    return Range(row, entry_price, bars.low[row], bars.high[row], entry_price, watched.low[row], watched.high[row])


@helper
def close_after_entry(bars: Bars, watched: Watched, row: int, entry_price: float) -> Range:
    """Return the close of an entry bar alone: the one price that certainly came after the entry."""
    close, seen = bars.close[row], watched.close[row]
    return Range(row, entry_price, close, close, entry_price, seen, seen)


@helper
def first_in(
    bars: Bars, rules: Rules, same_series: bool, held: Segment, orders: Orders, seen: Range, now: float,
    intrabar: int, spared: bool,
) -> Found:  # fmt: skip
    """Return the first event of a position in a range of prices; ``spared``: no liquidation."""
    side = held.side
    worst = seen.low if side > 0 else seen.high
    liquidated = position.triggers(rules, held, worst, now) and not spared
    stopped = seen.watched_low <= orders.stop if side > 0 else seen.watched_high >= orders.stop
    profited = seen.watched_high >= orders.target if side > 0 else seen.watched_low <= orders.target
    if not (liquidated or stopped or profited):
        return NOTHING
    price = position.liquidation_price(rules, held, held.first, held.last, now)
    if liquidated:
        price = outcomes.no_worse(side, price, worst)
    event, decided = first_event(
        side, liquidated, stopped, profited, price, orders.stop, orders.target, seen.open, seen.low, seen.high,
        seen.watched_open, seen.watched_low, seen.watched_high, same_series, intrabar,
    )  # fmt: skip
    if event == OutcomeCode.LIQUIDATED:
        fill = outcomes.liquidation_fill(bars, seen.row, side, seen.open, price)
    elif event == OutcomeCode.STOPPED:
        fill = seen.watched_open if side * seen.watched_open <= side * orders.stop else orders.stop
    else:
        fill = seen.watched_open if side * seen.watched_open >= side * orders.target else orders.target
    return Found(event.value, decided, price, fill)
