"""Fills of liquidations some time after their trigger, on paths drawn inside the bars.

A bar's worst price is no fill: how far it lies beyond the liquidation price grows with the width of the bar. A
venue closes a position some seconds after its trigger, or over the time that its size needs, and at the price of
then. That price may be better than the liquidation price, or worse; bars do not show it. So a path is drawn
through the open, high, low and close of each bar that matters (``market.inside_bars``), the trigger is found on
it, and the position is closed where the path is once the time has passed, in this bar or a later one. Another
seed draws other paths, and amounts are means over several.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.types import Flags, Floats, Integers
from backtest.market.inside_bars import Paths, paths
from backtest.market.market import Market
from backtest.rules.procedure import Impact
from backtest.shown import shown

#: Steps of a path to a delay, as far as a bar may have so many; never fewer to a bar than the first number.
STEPS, LEAST, MOST = 32, 16, 1_440

#: Positions whose paths are looked through at a time.
AT_ONCE = 4_096

#: Bars longer than this are too coarse to decide on (ms).
FINE = 300_000


@dataclass(frozen=True)
@shown()
class Delay:
    """Time from a liquidation's trigger to its fill, and the impact of closing.

    A position of notional N is closed after ``seconds``, or once the volume since the trigger is N / participation
    if that is later, at the price of then, made worse by the fraction ``linear`` x N + ``square_root`` x
    sqrt(N / volume of the bar). Positions are closed one by one: none waits for another.

    Raises
    ------
    ArgumentError
        For numbers out of their range, and impact that moves the mark.

    Examples
    --------
    >>> from backtest.study import policy
    >>> policy.Delay(seconds=30)
    Delay(30 s; mean of 4 draws)
    """

    seconds: float = 10.0
    impact: Impact = field(default_factory=Impact)
    draws: int = 4  #: paths, seeds 0, 1, ...

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        given = isinstance(self.seconds, int | float) and not isinstance(self.seconds, bool)
        if not (given and 0 < self.seconds < float("inf")):
            raise ArgumentError(
                f"must be a number, finite and above zero, is {self.seconds!r}", argument="seconds"
            )
        if not isinstance(self.draws, int) or isinstance(self.draws, bool) or not 1 <= self.draws <= 1_000:
            raise ArgumentError(f"must be a whole number from 1 to 1,000, is {self.draws!r}", argument="draws")
        if self.impact.mark:
            raise ArgumentError(
                "of a delay cannot move the mark: the history holds its own cascade", argument="impact"
            )

    def __repr__(self) -> str:
        """Return the delay in words."""
        draws = f"mean of {self.draws} draws" if self.draws > 1 else "one draw"
        return f"Delay({self.words}; {draws})"

    @property
    def words(self) -> str:
        """The time in words."""
        sizes = f", or what {100 * self.impact.participation:g} % of the volume need"
        return f"{self.seconds:g} s{sizes if np.isfinite(self.impact.participation) else ''}"

    @property
    def needs_volume(self) -> bool:
        """Whether it depends on the bars' volume."""
        return bool(np.isfinite(self.impact.participation) or self.impact.square_root)


class _Rows(NamedTuple):
    """Liquidated positions, (n,) each."""

    symbol: Integers
    bar: Integers  #: row of the market's
    entered: Floats  #: part of the bar that had passed at the entry; 0 where it was earlier
    side: Floats
    trigger: Floats  #: liquidation price
    notional: Floats
    fill: Floats  #: of the sweep
    kind: Any  #: how each contract pays


def delayed(outcomes: pl.DataFrame, market: Market, series: str, delay: Delay, seed: int = 0) -> pl.DataFrame:
    """Return outcomes whose liquidations are filled after a delay.

    Parameters
    ----------
    outcomes : as ``sweep`` returns them at the fill ``"liquidation_price"``, of a venue that returns remainders
    market : that was swept
    series : price that triggered: mark, last or index; fills are of the last price where there is one
    delay, seed : how long, and which paths

    Returns
    -------
    The outcomes, with other ``fill_price, fill_notional, equity_at_fill, shortfall, realised_pnl`` where they are
    liquidated.

    Raises
    ------
    ArgumentError
        For bars without a volume that the delay needs.

    Examples
    --------
    >>> from backtest import sweep
    >>> from backtest.study.policy.delays import Delay, delayed
    >>> swept = sweep(book, market, venue)
    >>> filled = delayed(swept, market, "mark", Delay(seconds=60))
    >>> filled["liquidated"].equals(swept["liquidated"])
    True
    """
    gone = outcomes["liquidated"].to_numpy()
    if not gone.any():
        return outcomes
    rows = _rows_of(outcomes.filter("liquidated"), market)
    price = _fills(rows, market, series, delay, seed)
    return _with_fills(outcomes, gone, price, rows)


def _rows_of(liquidated: pl.DataFrame, market: Market) -> _Rows:
    symbol = liquidated["symbol"].cast(pl.Enum(market.symbols)).to_physical().to_numpy().astype(np.int64)
    moment = liquidated["outcome_time"].to_physical().to_numpy()
    bar = np.empty(symbol.size, np.int64)
    for number, (first, last) in enumerate(zip(market.firsts[:-1], market.firsts[1:], strict=True)):
        own = np.flatnonzero(symbol == number)
        bar[own] = first + np.searchsorted(market.times[first:last], moment[own])
    entry = liquidated["entry_time"].to_physical().to_numpy()
    return _Rows(
        symbol,
        bar,
        np.clip((entry - moment) / market.intervals[symbol], 0.0, 1.0),
        np.where((liquidated["side"] == "long").to_numpy(), 1.0, -1.0),
        liquidated["liquidation_price"].fill_null(float("nan")).to_numpy(),
        liquidated["fill_notional"].to_numpy(),
        liquidated["fill_price"].to_numpy(),
        liquidated["contract_kind"].to_numpy(),
    )


def _fills(rows: _Rows, market: Market, series: str, delay: Delay, seed: int) -> Floats:
    """Return the prices at which positions are closed; symbols with bars of one length together."""
    found, lengths = np.empty(rows.bar.size), market.intervals[rows.symbol]
    for interval in np.unique(lengths):
        own = np.flatnonzero(lengths == interval)
        some = _Rows._make(each[own] for each in rows)
        found[own] = _fills_of(some, market, series, delay, seed, int(interval))
    return found


def _fills_of(rows: _Rows, market: Market, series: str, delay: Delay, seed: int, interval: int) -> Floats:
    filled_on = "last" if market.has("last") else "mark"
    nodes = int(min(max(np.ceil(interval / (1000 * delay.seconds) * STEPS), LEAST), MOST))
    passed = _trigger(rows, paths(market, series, rows.bar, nodes, seed))
    moment = market.times[rows.bar] + np.nan_to_num(passed) * interval
    end, volume = moment + 1000 * delay.seconds, np.zeros(rows.bar.size)
    if delay.needs_volume:
        traded = _traded(rows, market)
        volume = traded[rows.bar]
        end = np.maximum(end, _taken_by(rows, market, traded, np.nan_to_num(passed), delay))
    last_bar, place, beyond = _place(rows, market, end)
    after = paths(market, filled_on, last_bar, nodes, seed)
    price = np.where(beyond, _beyond(market, filled_on, last_bar, rows), after.at(last_bar, place))
    share = np.sqrt(rows.notional / np.where(volume > 0, volume, np.inf))
    worse = delay.impact.linear * rows.notional + delay.impact.square_root * share
    price = price * np.maximum(1.0 - rows.side * worse, 1e-9)
    return np.asarray(np.where(np.isnan(passed), rows.fill, price))


def _trigger(rows: _Rows, drawn: Paths) -> Floats:
    """Return the part of its bar that has passed when each position is triggered.

    NaN where the path does not reach the price after the entry: what the bar hides was taken for the other way.
    """
    found = np.empty(rows.bar.size)
    for start in range(0, found.size, AT_ONCE):
        some = slice(start, start + AT_ONCE)
        found[some] = _reached(_Rows._make(each[some] for each in rows), drawn)
    return found


def _reached(rows: _Rows, drawn: Paths) -> Floats:
    own = drawn.prices[np.searchsorted(drawn.rows, rows.bar)]
    nodes = own.shape[1] - 1
    reached = rows.side[:, None] * own <= (rows.side * rows.trigger)[:, None]
    reached |= np.isnan(rows.trigger)[:, None]  # every price liquidates it
    reached &= np.arange(nodes + 1) / nodes >= rows.entered[:, None]
    hit, here = np.argmax(reached, axis=1), np.arange(rows.bar.size)
    before = np.maximum(hit - 1, 0)
    step = own[here, before] - own[here, hit]
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(step != 0, (own[here, before] - rows.trigger) / step, 1.0)
    place = (before + np.clip(np.nan_to_num(part, nan=1.0), 0.0, 1.0)) / nodes
    place = np.maximum(np.where(hit == 0, 0.0, place), rows.entered)
    return np.where(reached.any(axis=1), place, np.nan)


def _taken_by(rows: _Rows, market: Market, traded: Floats, passed: Floats, delay: Delay) -> Floats:
    """Return when the volume since the trigger is what each size needs; after the last bar where it never is."""
    found = np.full(rows.bar.size, -np.inf)
    if not np.isfinite(delay.impact.participation):
        return found
    for number, (first, last) in enumerate(zip(market.firsts[:-1], market.firsts[1:], strict=True)):
        own = np.flatnonzero(rows.symbol == number)
        sums = np.concatenate([[0.0], np.cumsum(traded[first:last])])
        bar = rows.bar[own] - first
        goal = sums[bar] + passed[own] * traded[first + bar] + rows.notional[own] / delay.impact.participation
        until = np.searchsorted(sums, goal) - 1  # the bar in which the sum reaches the goal
        within = np.minimum(until, last - first - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.nan_to_num((goal - sums[within]) / traded[first + within], nan=1.0, posinf=1.0)
        place = np.where(until > within, 2.0, np.clip(part, 0.0, 1.0))
        found[own] = market.times[first + within] + place * market.intervals[number]
    return found


def _place(rows: _Rows, market: Market, end: Floats) -> tuple[Integers, Floats, Flags]:
    """Return the last bar that has begun at each moment, how much of it has passed, and where all of it has."""
    bar = np.empty(end.size, np.int64)
    for number, (first, last) in enumerate(zip(market.firsts[:-1], market.firsts[1:], strict=True)):
        own = np.flatnonzero(rows.symbol == number)
        bar[own] = first + np.searchsorted(market.times[first:last], end[own], side="right") - 1
    place = (end - market.times[bar]) / market.intervals[rows.symbol]
    return bar, place, place > 1


def _beyond(market: Market, series: str, bar: Integers, rows: _Rows) -> Floats:
    """Return the open after bars that a gap follows; the close of a symbol's last bar."""
    following = np.minimum(bar + 1, market.firsts[rows.symbol + 1] - 1)
    after = market.prices(series, "open")[following]
    return np.where(following > bar, after, market.prices(series, "close")[bar])


def _traded(rows: _Rows, market: Market) -> Floats:
    """Return (bars,) the notional traded, in the settlement currency of each symbol's contract."""
    if "volume" not in market.bars.columns:
        raise ArgumentError(
            "needs bars with a column volume, they have none: a limit on participation and square-root impact "
            "depend on it",
            argument="delay",
        )
    found = market.bars["volume"].to_numpy().astype(np.float64)
    for number in np.unique(rows.symbol[rows.kind == "linear"]):
        own = slice(int(market.firsts[number]), int(market.firsts[number + 1]))
        found[own] *= market.prices("mark", "close")[own]
    return found


def _with_fills(outcomes: pl.DataFrame, gone: Flags, price: Floats, rows: _Rows) -> pl.DataFrame:
    """Return outcomes with other fills of the liquidated, and the money that follows from them."""
    names = ["fill_price", "fill_notional", "equity_at_fill", "shortfall", "realised_pnl"]
    found = {name: outcomes[name].to_numpy().copy() for name in names}
    before, notional, equity, _, result = (found[name][gone] for name in names)
    inverse, face = rows.kind == "inverse", rows.kind == "face_value"
    price = np.where(face, np.clip(price, 0.0, 1.0), price)
    with np.errstate(divide="ignore", invalid="ignore"):
        quantity = np.where(face, notional, np.where(inverse, notional * before, notional / before))
    with np.errstate(divide="ignore", invalid="ignore"):  # prices of face-value contracts may be zero
        moved = np.where(inverse, 1 / before - 1 / price, price - before)
    put_in = np.maximum(equity, 0.0) - result
    equity = equity + rows.side * quantity * moved
    found["fill_price"][gone] = price
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = np.where(inverse, quantity / price, quantity * price)
    found["fill_notional"][gone] = np.where(face, quantity, worth)
    found["equity_at_fill"][gone], found["shortfall"][gone] = equity, np.maximum(-equity, 0.0)
    found["realised_pnl"][gone] = np.maximum(equity, 0.0) - put_in
    return outcomes.with_columns(
        pl.when(pl.Series(gone)).then(pl.Series(name, values)).otherwise(pl.col(name)).alias(name)
        for name, values in found.items()
    )
