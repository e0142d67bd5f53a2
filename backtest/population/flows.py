"""Laws of opening and closing of estimated books, and the flows of one side that follow from them.

Open interest: ``opened = change of open interest + liquidated + closed``, with ``closed = turnover × volume``,
or more where open interest fell by more. The open positions are the open interest after every bar.

Volume: ``opened = share × volume × exp(−D)``, and holders close at a constant rate. ``D`` damps the re-opening
of a side of which much has just been liquidated: each bar adds the liquidated share of the side's open
positions, and the sum fades within the damping time, averaged over each bar, so that the width of bars does not
decide it. The volume of such hours is forced and panic closing rather than opening, and who was liquidated has
to bring new money. Where there is a bound, open positions never exceed it at the end of a bar: less is opened,
then more closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from math import exp
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from backtest.amounts import plain
from backtest.errors import ArgumentError
from backtest.kernel.study import cohorts
from backtest.kernel.types import Floats, Integers, readonly

#: Share of the volume that closes positions beyond the fall of open interest; by volume, that opens.
SHARE = 0.05

#: Damped openings are solved for until none changes by more than this part of the largest.
TOLERANCE = 1e-12

HOUR, MILLISECOND = timedelta(hours=1), timedelta(milliseconds=1)


class SideFlows(NamedTuple):
    """Flows of one side of a symbol, (bars,) base each; the survival (bars + 1,)."""

    opened: Floats
    liquidated: Floats
    closed: Floats
    log_survival: Floats

    @property
    def open_interest(self) -> Floats:
        """(bars,) open positions after each bar, base; a difference of sums, so rounding is kept above zero."""
        return np.maximum(np.cumsum(self.opened - self.liquidated - self.closed), 0.0)


class Law(Protocol):
    """A law of opening and closing."""

    @property
    def sentence(self) -> str:
        """The law in words."""

    @property
    def compared(self) -> str:
        """What the others of ``others`` change, in words."""

    @property
    def before(self) -> str:
        """What is open before the first bar, in words."""

    def others(self) -> Mapping[str, Law]:
        """Return the laws at other settings, to compare with, by the setting in words."""

    def flows(self, bars: pl.DataFrame, interval: int, shares: Floats, ends: Integers, /) -> SideFlows:
        """Return one side's flows.

        Parameters
        ----------
        bars : of one symbol
        interval : ms, of a bar
        shares : (bars, leverages) of what each bar opens
        ends : (bars * leverages,) the bar each cohort is liquidated in; the number of bars for never
        """


@dataclass(frozen=True)
class OpenInterestLaw:
    """Open positions are the open interest after every bar."""

    turnover: float  #: share of the volume that closes positions beyond the fall of open interest

    def __post_init__(self) -> None:
        """Raise for a share outside 0 to 1."""
        require_range("turnover", self.turnover, 1.0, or_zero=True)

    @property
    def sentence(self) -> str:
        """The law in words."""
        return (
            f"estimated from open interest, not positions: {plain(self.turnover)} of the volume closes positions"
        )

    @property
    def compared(self) -> str:
        """What the other laws change."""
        return f"liquidated with other shares of the volume closed, against {plain(self.turnover)}"

    @property
    def before(self) -> str:
        """What is open before the first bar."""
        return "open interest before the first bar is taken as opened at its close"

    def others(self) -> Mapping[str, OpenInterestLaw]:
        """Return half and twice the turnover; the default where it is zero."""
        shares = (self.turnover / 2, min(2 * self.turnover, 1.0)) if self.turnover else (SHARE,)
        return {f"{plain(share)}": OpenInterestLaw(share) for share in shares}

    def flows(self, bars: pl.DataFrame, _: int, shares: Floats, ends: Integers, /) -> SideFlows:
        """Return one side's flows; the law is the same for every width of bars."""
        closing = self.turnover * bars["volume"].to_numpy()
        return _followed(bars["open_interest"].to_numpy(), closing, closing, True, shares, ends)


@dataclass(frozen=True)
class VolumeLaw:
    """A share of the volume opens, damped after liquidations, and holders close at a constant rate."""

    opening_share: float
    holding: float  #: mean, hours
    damping: float  #: hours in which the damping of re-opening fades; 0: none
    bounded: bool  #: by the open interest of the bars

    def __post_init__(self) -> None:
        """Raise for numbers out of their range."""
        require_range("opening_share", self.opening_share, 1.0, or_zero=True)
        require_range("mean_holding in hours", self.holding, np.inf)
        require_range("reopening_damping in hours", self.damping, np.inf, or_zero=True)

    @property
    def sentence(self) -> str:
        """The law in words."""
        damped = f"re-opening damped for {plain(self.damping)} h" if self.damping else "re-opening not damped"
        bound = ", at most the open interest of the bars" if self.bounded else ""
        return (
            f"estimated from volume, not positions: {plain(self.opening_share)} of it opens them, held "
            f"{plain(self.holding)} h on average, {damped} after liquidations{bound}"
        )

    @property
    def compared(self) -> str:
        """What the other laws change."""
        return "liquidated at other settings"

    @property
    def before(self) -> str:
        """What is open before the first bar."""
        return f"nothing is open before the first bar: the book is filled after about {plain(3 * self.holding)} h"

    def others(self) -> Mapping[str, VolumeLaw]:
        """Return half and twice the holding time, and no damping and twice its time."""
        held = {
            f"held {plain(hours)} h": replace(self, holding=hours)
            for hours in (self.holding / 2, self.holding * 2)
        }
        if not self.damping:
            return held
        twice = replace(self, damping=2 * self.damping)
        return {**held, "not damped": replace(self, damping=0.0), f"damped for {plain(twice.damping)} h": twice}

    def flows(self, bars: pl.DataFrame, interval: int, shares: Floats, ends: Integers, /) -> SideFlows:
        """Return one side's flows: openings follow from liquidations of earlier openings, so they are solved for.

        Each pass is exact for at least one bar more than the one before; a dozen passes do.
        """
        wanted = self.opening_share * bars["volume"].to_numpy()
        rate = np.full(wanted.size, -np.expm1(-interval * MILLISECOND / (self.holding * HOUR)))
        limit = bars["open_interest"].to_numpy() if self.bounded else None
        opening, closing = wanted, rate
        for _ in range(wanted.size + 1):
            side = _followed(wanted, closing, opening, False, shares, ends)
            if not self.damping and limit is None:
                break
            before, closed = opening, closing
            if limit is None:
                opening = wanted * np.exp(-self._damping_of(_liquidated_share(side), interval))
            else:
                opening, closing = self._bounded(side.liquidated, wanted, rate, limit, interval)
            still = np.abs(opening - before).max(initial=0.0) <= TOLERANCE * wanted.max(initial=0.0)
            if still and np.abs(closing - closed).max(initial=0.0) <= TOLERANCE:
                break
        return side

    def _damping_of(self, liquidated_share: Floats, interval: int) -> Floats:
        """Return (bars,) the exponent: the mean over each bar of what fades within the damping time."""
        width = interval * MILLISECOND / (self.damping * HOUR)
        faded = pl.Series(np.append(0.0, liquidated_share)).ewm_mean(alpha=-np.expm1(-width), adjust=False)
        return faded.to_numpy()[1:] / width

    def _bounded(
        self, liquidated: Floats, wanted: Floats, rate: Floats, limit: Floats, interval: int
    ) -> tuple[Floats, Floats]:
        """Return what opens, and the share that closes, so that open positions stay within the limit."""
        width = interval * MILLISECOND / (self.damping * HOUR) if self.damping else np.inf
        fades = np.exp(-width)
        adds = (1 - fades) / width
        opening, closing = np.empty_like(wanted), rate.copy()
        standing = damping = 0.0
        rows = zip(liquidated.tolist(), wanted.tolist(), rate.tolist(), limit.tolist(), strict=True)
        for bar, (gone, wants, closes, most) in enumerate(rows):
            taken = min(gone, standing)
            damping = damping * fades + (adds * taken / standing if standing > 0.0 else 0.0)
            left = standing - taken
            kept = left * (1 - closes)
            if kept > most:
                closing[bar], kept = 1 - most / left, most
            opening[bar] = min(wants * exp(-damping), most - kept)
            standing = kept + opening[bar]
        return opening, closing


def require_range(name: str, value: float, high: float, *, or_zero: bool = False) -> None:
    """Raise unless a number lies above zero (or is zero, where that will do) and at most at a bound."""
    if not (0.0 < value <= high and np.isfinite(value)) and not (value == 0.0 and or_zero):
        raise ArgumentError(f"must lie above 0 and at most at {high:g}, is {value!r}", argument=name)


def liquidated_same_day(side: SideFlows, times: Integers, shares: Floats, ends: Integers) -> Floats:
    """Return (bars,) base: the part of each bar's liquidations that had been opened on the same UTC day.

    Parameters
    ----------
    times : (bars,) ms, openings
    shares, ends : as for :meth:`Law.flows`
    """
    bars = times.size
    days = times // (timedelta(days=1) // MILLISECOND)
    at = np.repeat(np.arange(bars), shares.shape[1])
    same = (ends < bars) & (days[np.minimum(ends, bars - 1)] == days[at])
    at, end = at[same], ends[same]
    open_then = np.exp(side.log_survival[end] - side.log_survival[at + 1])
    quantity = side.opened[at] * shares.ravel()[same] * open_then
    return np.bincount(end, weights=quantity, minlength=bars).astype(np.float64, copy=False)


def _liquidated_share(side: SideFlows) -> Floats:
    before = np.append(0.0, side.open_interest[:-1])
    share = np.divide(side.liquidated, before, out=np.zeros_like(before), where=before > 0)
    return np.asarray(np.minimum(share, 1.0))


def _followed(
    interest: Floats, closing: Floats, opening: Floats, by_interest: bool, shares: Floats, ends: Integers
) -> SideFlows:
    opened, liquidated, closed = np.empty((3, opening.size))
    side = SideFlows(opened, liquidated, closed, np.empty(opening.size + 1))
    given = (readonly(array) for array in (interest, closing, opening))
    mix = readonly(np.ascontiguousarray(shares).ravel())
    cohorts.stand(*given, by_interest, mix, readonly(ends), np.zeros(opening.size), *side)
    return side
