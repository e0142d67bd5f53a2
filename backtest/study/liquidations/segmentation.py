"""Rules that split a history of liquidations into cascades.

A rule decides which pulses (liquidations at one timestamp) take part, and how far apart in time neighbours may be
to belong together. Its text holds all its parameters, without which no statistic of cascades can be read. ``bar``
is the bar that timestamps were rounded down to: a liquidation stamped t happened in [t, t + bar). Zero: exact.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from datetime import timedelta

import polars as pl

from backtest.errors import ArgumentError

NOTHING = timedelta(0)


@dataclass(frozen=True)
class GapRule:
    """Liquidations belong together where the timestamps of neighbours lie at most ``gap`` apart.

    Raises
    ------
    ArgumentError
        For a gap below two bars, which timestamps cannot resolve.

    Examples
    --------
    >>> from backtest.study.liquidations.cascades import GapRule, find, pulses
    >>> rule = GapRule(timedelta(hours=2), bar=timedelta(hours=1))
    >>> find(pulses(outcomes), rule).height
    49
    """

    gap: timedelta
    _: KW_ONLY
    bar: timedelta

    def __post_init__(self) -> None:
        if self.gap < 2 * self.bar or self.gap <= NOTHING:
            raise ArgumentError(
                f"GapRule: gap must be positive and at least two bars, {2 * self.bar}, is {self.gap}: "
                "liquidations in neighbouring bars may lie that far apart"
            )

    @property
    def reach(self) -> timedelta:
        """Longest distance of timestamps that belong together."""
        return self.gap

    def kept(self) -> pl.Expr:
        """Return whether each pulse takes part."""
        return pl.lit(True)

    def __str__(self) -> str:
        return f"gap of at most {self.gap}, bars of {self.bar}"


@dataclass(frozen=True)
class ThresholdRule:
    """Neighbouring bars with at least the ``quantile`` of the totals of bars that hold any liquidation.

    Raises
    ------
    ArgumentError
        For a quantile or a share outside [0, 1], a bar that is not positive.

    Examples
    --------
    >>> from backtest.study.liquidations.cascades import ThresholdRule, find, pulses
    >>> rule = ThresholdRule(0.9, bar=timedelta(hours=1))
    >>> find(pulses(outcomes), rule).height
    15
    """

    quantile: float  #: of the symbol's own bars; the observed total at or above it
    _: KW_ONLY
    bar: timedelta
    long_share: float = 0.0  #: of a bar's notional, at least

    def __post_init__(self) -> None:
        _check_bar(self)
        _check_fraction(self, "quantile")
        _check_fraction(self, "long_share")

    @property
    def reach(self) -> timedelta:
        """Longest distance of timestamps that belong together."""
        return self.bar

    def kept(self) -> pl.Expr:
        """Return whether each pulse takes part."""
        heavy = pl.col("notional") >= pl.col("notional").quantile(self.quantile, interpolation="higher")
        return heavy & (pl.col("long_notional") >= self.long_share * pl.col("notional"))

    def __str__(self) -> str:
        heavy = f"bars of {self.bar} with at least the {self.quantile:g} quantile"
        return f"{heavy}, long share at least {self.long_share:g}"


@dataclass(frozen=True)
class PeakRule:
    """Neighbouring bars with at least a ``fraction`` of the heaviest bar: for a window around one event.

    Over a long history one large bar hides all smaller cascades; select the window first.

    Raises
    ------
    ArgumentError
        For a fraction outside [0, 1], a bar that is not positive.

    Examples
    --------
    >>> from backtest.study.liquidations.cascades import PeakRule, find, pulses
    >>> rule = PeakRule(0.5, bar=timedelta(hours=1))
    >>> find(pulses(outcomes), rule).height
    2
    """

    fraction: float
    _: KW_ONLY
    bar: timedelta

    def __post_init__(self) -> None:
        _check_bar(self)
        _check_fraction(self, "fraction")

    @property
    def reach(self) -> timedelta:
        """Longest distance of timestamps that belong together."""
        return self.bar

    def kept(self) -> pl.Expr:
        """Return whether each pulse takes part."""
        return pl.col("notional") >= self.fraction * pl.col("notional").max()

    def __str__(self) -> str:
        return f"bars of {self.bar} with at least {self.fraction:g} of the heaviest"


Rule = GapRule | ThresholdRule | PeakRule


def _check_bar(rule: ThresholdRule | PeakRule) -> None:
    if rule.bar <= NOTHING:
        raise ArgumentError(f"{type(rule).__name__}: bar must be positive, is {rule.bar}")


def _check_fraction(rule: ThresholdRule | PeakRule, name: str) -> None:
    value = getattr(rule, name)
    if not 0 <= value <= 1:
        raise ArgumentError(f"{type(rule).__name__}: {name} must lie in [0, 1], is {value}")
