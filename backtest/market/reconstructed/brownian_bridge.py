"""Brownian paths pinned to the open, high, low and close of each interval they run through.

Within an interval the price runs from its open to its close, reaches its high and its low in one minute each
and stays between them. The times of the two come from the best fitting of many coarse paths; what lies in
between is filled in by halves (Lévy's construction), each midpoint one of several draws, chosen in proportion
to the chance that a path through it stays inside the interval. Nodes lie half a minute apart; variance is in
price squared.

Only sums, products, quotients and square roots are taken, which every machine rounds alike: logarithms,
exponentials and matrix products it does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from backtest.kernel.types import Floats, Integers

#: Prices are rounded to it, and only the minute of an extreme comes nearer to the extreme.
TICK = 0.01

#: A Brownian path's range squared is 4 ln 2 = 2.77 times its variance (Parkinson).
RANGE_SQUARED = 2.772588722239781

#: Minutes between the knots of each layer of log volatility, and the layer's standard deviation: chosen so
#: that absolute returns are autocorrelated as in the real spot minutes (1 minute apart 0.43 here, 0.44 there;
#: 5: 0.37, 0.34; 15: 0.35, 0.33; 60: 0.28, 0.23; 240: 0.15, 0.12. BTC, 10 to 22 May).
LAYERS = ((2, 0.24), (10, 0.24), (45, 0.24), (200, 0.20))

#: Coarse paths tried for the times of high and low, and the steps of each: an interval is a multiple of them.
CANDIDATES, SLOTS = 256, 60

#: Draws tried for each midpoint.
PROPOSALS = 16

#: A pull of the other symbol beyond this many standard deviations comes from its pins, not from chance.
LARGEST_PULL = 3.0


@dataclass(frozen=True, eq=False)
class Pins:
    """Prices that one symbol's path is pinned to, an interval a row, in order of time and without gaps."""

    start: Integers  #: (i,) minutes since the first
    minutes: Integers  #: (i,) a multiple of SLOTS
    open: Floats  #: (i,)
    high: Floats  #: (i,)
    low: Floats  #: (i,)
    close: Floats  #: (i,)

    @cached_property
    def first(self) -> Integers:
        """(i,) the first node of each interval; its last is also the price after its last minute."""
        return 2 * self.start + np.arange(self.start.size)

    @cached_property
    def last(self) -> Integers:
        """(i,) the last node of each interval."""
        return self.first + 2 * self.minutes

    @cached_property
    def interval(self) -> Integers:
        """(minutes,) the interval each minute belongs to."""
        return np.repeat(np.arange(self.start.size), self.minutes)

    @cached_property
    def interval_of_node(self) -> Integers:
        """(nodes,) the interval each node belongs to."""
        return np.repeat(np.arange(self.start.size), 2 * self.minutes + 1)


@dataclass(frozen=True, eq=False)
class Path:
    """One symbol's path at its nodes, and the minutes that hold the extremes."""

    values: Floats  #: (nodes,)
    clock: Floats  #: (nodes,) variance passed since the first
    highest: Integers  #: (i,) minute since the interval's first
    lowest: Integers  #: (i,)

    def surprise(self, left: Integers, middle: Integers, right: Integers) -> Floats:
        """Return how far a node lies off the straight line between two others, in standard deviations."""
        expected, deviation = _bridge(self.values, self.clock, left, middle, right)
        return (self.values[middle] - expected) / deviation


@dataclass(frozen=True, eq=False)
class Pull:
    """The symbol another one follows, and the correlation of their steps."""

    path: Path
    correlation: float

    def mixed(self, pull: Floats, draws: Floats) -> Floats:
        """Return draws (…, n) of which a part is the other symbol's (…,)."""
        own: Floats = np.sqrt(1 - self.correlation * self.correlation) * draws
        return own + self.correlation * np.clip(pull, -LARGEST_PULL, LARGEST_PULL)[..., None]


def roughness(rng: np.random.Generator, minutes: int) -> Floats:
    """Return what to multiply each minute's volatility by: clustered, with a mean square of one."""
    log_volatility = np.zeros(minutes)
    minute = np.arange(minutes)
    for every, deviation in LAYERS:
        knots = deviation * rng.standard_normal(minutes // every + 2)
        before, share = minute // every, (minute % every) / every
        log_volatility += (1 - share) * knots[before] + share * knots[before + 1]
    squared = np.square(np.maximum(1 + log_volatility / 8, 0.5))
    volatility: Floats = np.square(np.square(squared))  # (1 + x / 8)^8: exp(x), nearly, by products alone
    volatility /= np.sqrt(np.cumsum(np.square(volatility))[-1] / minutes)
    return volatility


def pinned_path(
    pins: Pins, rough: Floats, rng: np.random.Generator, *, lowest_at: int, pull: Pull | None = None
) -> Path:
    """Return a path through the pins.

    Parameters
    ----------
    pins : what the path runs through
    rough : (minutes,) what each minute's volatility is multiplied by
    rng : where the draws come from
    lowest_at : minute since the first in which its interval's low falls
    pull : another path, through the same intervals, that this one follows
    """
    clock = _clock(pins, rough)
    highest, lowest = _extreme_minutes(pins, clock, rng, lowest_at, pull)
    values = np.empty(clock.size)
    values[pins.first], values[pins.last] = pins.open, pins.close
    values[pins.first + 2 * highest + 1] = pins.high
    values[pins.first + 2 * lowest + 1] = pins.low
    inner = pins.first + 2 * np.sort([highest, lowest], axis=0) + 1
    knots = np.stack([pins.first, *inner, pins.last])
    left, right = knots[:-1].ravel(), knots[1:].ravel()
    while left.size:
        middle = (left + right) // 2
        wide = right - left > 1
        left, middle, right = left[wide], middle[wide], right[wide]
        values[middle] = _midpoints(pins, values, clock, (left, middle, right), rng, pull)
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
    return Path(values, clock, highest, lowest)


def minute_prices(pins: Pins, path: Path, rng: np.random.Generator) -> dict[str, Floats]:
    """Return each minute's open, high, low and close, (minutes,) each, rounded to the tick.

    High and low are those of Brownian bridges over the two halves of the minute, inside the interval's.
    """
    start = pins.first[pins.interval] + 2 * (np.arange(pins.interval.size) - pins.start[pins.interval])
    ceiling, floor = pins.high[pins.interval], pins.low[pins.interval]
    prices = {
        "open": path.values[start],
        "high": np.maximum(*(_extreme(path, node, ceiling, 1, rng) for node in (start, start + 1))),
        "low": np.minimum(*(_extreme(path, node, floor, -1, rng) for node in (start, start + 1))),
        "close": path.values[start + 2],
    }
    lower, upper = np.round(floor + TICK, 2), np.round(ceiling - TICK, 2)
    prices = {name: np.clip(np.round(values, 2), lower, upper) for name, values in prices.items()}
    prices["open"][pins.start] = pins.open
    prices["high"][pins.start + path.highest] = pins.high
    prices["low"][pins.start + path.lowest] = pins.low
    prices["close"][pins.start + pins.minutes - 1] = pins.close
    return prices


def _clock(pins: Pins, rough: Floats) -> Floats:
    """Return the variance passed at each node: Parkinson's of each interval, smooth from centre to centre."""
    deviation = (pins.high - pins.low) / np.sqrt(RANGE_SQUARED * pins.minutes)
    centre = pins.start + pins.minutes / 2
    minute = np.arange(rough.size) + 0.5
    after = np.clip(np.searchsorted(centre, minute), 1, centre.size - 1)
    share = np.clip((minute - centre[after - 1]) / (centre[after] - centre[after - 1]), 0, 1)
    volatility = rough * ((1 - share) * deviation[after - 1] + share * deviation[after])
    steps = np.zeros(pins.interval_of_node.size)
    inside = np.ones(steps.size, np.bool_)
    inside[pins.first] = False
    steps[inside] = np.repeat(np.square(volatility) / 2, 2)
    return np.cumsum(steps)


def _extreme_minutes(
    pins: Pins, clock: Floats, rng: np.random.Generator, lowest_at: int, pull: Pull | None
) -> tuple[Integers, Integers]:
    """Return the minutes of high and low: those of the coarse path whose own extremes fit the pins best."""
    slot = pins.minutes // SLOTS
    edges = pins.first[:, None] + 2 * slot[:, None] * np.arange(SLOTS + 1)
    draws = rng.standard_normal((pins.start.size, SLOTS, CANDIDATES))
    if pull is not None:
        draws = pull.mixed(np.diff(pull.path.values[edges]) / np.sqrt(np.diff(pull.path.clock[edges])), draws)
    walk = np.cumsum(np.sqrt(np.diff(clock[edges]))[:, :, None] * draws, axis=1)
    passed = clock[edges[:, 1:]] - clock[edges[:, :1]]
    change = (pins.close - pins.open)[:, None] - walk[:, -1]
    walk += pins.open[:, None, None] + (passed / passed[:, -1:])[:, :, None] * change[:, None]
    misfit = np.abs(walk.max(axis=1) - pins.high[:, None]) + np.abs(walk.min(axis=1) - pins.low[:, None])
    known = np.searchsorted(pins.start, lowest_at, side="right") - 1
    lowest_minute = lowest_at - pins.start[known]
    slots_off = np.abs(walk[known].argmin(axis=0) - lowest_minute // slot[known])
    misfit[known] += slots_off * (pins.high[known] - pins.low[known]) / (SLOTS / 2)
    best = np.take_along_axis(walk, misfit.argmin(axis=1)[:, None, None], axis=2)[:, :, 0]
    within = (rng.random((2, slot.size)) * slot).astype(np.int64)
    highest, lowest = best.argmax(axis=1) * slot + within[0], best.argmin(axis=1) * slot + within[1]
    lowest[known] = lowest_minute
    return _at_ends(highest, pins, pins.high), _at_ends(lowest, pins, pins.low)


def _at_ends(minute: Integers, pins: Pins, extreme: Floats) -> Integers:
    """Return the minutes of an extreme, moved to the end of the interval where an end is the extreme."""
    moved = np.where(pins.open == extreme, 0, minute)
    return np.where(pins.close == extreme, pins.minutes - 1, moved)


def _midpoints(
    pins: Pins,
    values: Floats,
    clock: Floats,
    nodes: tuple[Integers, Integers, Integers],
    rng: np.random.Generator,
    pull: Pull | None,
) -> Floats:
    """Return the values at the middle nodes, given those left and right of them."""
    left, middle, right = nodes
    floor, ceiling = (bound[pins.interval_of_node[left]] for bound in (pins.low, pins.high))
    expected, deviation = _bridge(values, clock, left, middle, right)
    draws = rng.standard_normal((left.size, PROPOSALS))
    if pull is not None:
        draws = pull.mixed(pull.path.surprise(left, middle, right), draws)
    proposals = expected[:, None] + deviation[:, None] * draws
    above, below = np.maximum(ceiling[:, None] - proposals, 0), np.maximum(proposals - floor[:, None], 0)
    weights = np.ones(proposals.shape)
    for end in (left, right):
        variance = np.abs(clock[end] - clock[middle])
        weights *= _stays(above, ceiling - values[end], variance) * _stays(below, values[end] - floor, variance)
    total = np.cumsum(weights, axis=1)
    chosen = (total <= (rng.random(left.size) * total[:, -1])[:, None]).sum(axis=1)
    picked = np.take_along_axis(proposals, np.minimum(chosen, PROPOSALS - 1)[:, None], axis=1)[:, 0]
    margin = (ceiling - floor) / 64
    return np.where(total[:, -1] > 0, picked, np.clip(expected, floor + margin, ceiling - margin))


def _bridge(
    values: Floats, clock: Floats, left: Integers, middle: Integers, right: Integers
) -> tuple[Floats, Floats]:
    """Return mean and standard deviation at the middle of Brownian bridges."""
    before, after = clock[middle] - clock[left], clock[right] - clock[middle]
    share = before / (before + after)
    return (1 - share) * values[left] + share * values[right], np.sqrt(share * after)


def _stays(room: Floats, room_at_end: Floats, variance: Floats) -> Floats:
    """Return the chance that bridges which begin and end so far from a bound stay short of it, roughly.

    The chance is 1 - exp(-x) with x = 2 room room_at_end / variance; x / (1 + x) agrees with it at both ends
    and needs no exponential. A bridge that begins on the bound is taken to begin one tick off it.
    """
    exponent = room * (2 * (room_at_end + TICK) / variance)[:, None]
    return exponent / (1 + exponent)


def _extreme(path: Path, node: Integers, bound: Floats, sign: int, rng: np.random.Generator) -> Floats:
    """Return the highest (sign 1) or lowest (-1) price of bridges from each node to the next, inside a bound.

    The extreme of a bridge from a to b is (a + b ± √((a - b)² + 2 v E)) / 2 with E exponential. It would
    reach the bound at E = 2 (bound - a) (bound - b) / v, a limit that E is bent to stay under.
    """
    a, b = path.values[node], path.values[node + 1]
    variance = path.clock[node + 1] - path.clock[node]
    drawn = rng.standard_exponential(node.size)
    limit = 2 * (bound - a) * (bound - b) / variance
    bent = limit * drawn / (limit + drawn)
    spread: Floats = np.sqrt(np.square(a - b) + 2 * variance * bent)
    return (a + b + sign * spread) / 2
