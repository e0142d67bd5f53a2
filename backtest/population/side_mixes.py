"""Leverage mix of each side by two parameters, by era, and the files that hold fitted ones.

The leverage at which notional is opened is lognormal: its typical leverage is the exponential of the mean
logarithm, its spread the standard deviation of the logarithm. It is laid out on a grid of leverages: each takes
what lies nearer to it, by ratio, than to its neighbours; the lowest and the highest also what lies beyond them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from math import erf, exp, inf, isfinite, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from backtest.amounts import timestamp
from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats, Integers
from backtest.rules.settings import Settings
from backtest.rules.toml_text import settings_of
from backtest.schemas.arguments import checked

#: Leverages of the cohorts of a mix by side. At 1 a long is never liquidated.
GRID = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 14.0, 20.0, 30.0, 50.0, 75.0, 100.0, 125.0)

#: Widest spread of a mix: a factor of 20 either way.
WIDEST = 3.0

SIDES = ("long", "short")


@dataclass(frozen=True)
class SideMix:
    """Lognormal leverage of one side, by notional.

    Raises
    ------
    ArgumentError
        For a typical leverage outside 1 to 125 and a spread that is not above 0 and at most 3.

    Examples
    --------
    >>> from backtest.population import SideMix
    >>> longs = SideMix(typical=10.0, spread=0.8)
    >>> longs
    SideMix(typical=10.0, spread=0.8)
    >>> f"{longs.shares().sum():.6f}"
    '1.000000'
    """

    typical: float  #: exponential of the mean logarithm
    spread: float  #: standard deviation of the logarithm

    def __post_init__(self) -> None:
        """Raise for numbers out of their range."""
        for name, low, high in (("typical", 1.0, GRID[-1]), ("spread", 0.0, WIDEST)):
            value = getattr(self, name)
            number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not (number and isfinite(value) and low <= value <= high and value > 0):
                raise ArgumentError(f"must lie from {low:g} to {high:g} and above 0, is {value!r}", argument=name)

    def __str__(self) -> str:
        return f"typically {self.typical:.3g}x, spread {self.spread:.2g}"

    def shares(self) -> Floats:
        """Return (leverages,) the share of the notional at each leverage of the grid."""
        logs = [log(leverage) for leverage in GRID]
        edges = [-inf, *((low + high) / 2 for low, high in pairwise(logs)), inf]
        below = np.array([(1 + erf((edge - log(self.typical)) / (self.spread * sqrt(2)))) / 2 for edge in edges])
        return np.diff(below)


@dataclass(frozen=True)
class Era:
    """Mixes of both sides from a moment on."""

    long: SideMix
    short: SideMix
    start: datetime | None = None  #: None: from the beginning


@dataclass(frozen=True)
class MixBySide:
    """Leverage mixes of longs and shorts, by era, with their provenance.

    Raises
    ------
    ArgumentError
        For no era, eras out of order, and an era other than the first without a start.

    Examples
    --------
    >>> from backtest.population import MixBySide, SideMix
    >>> print(MixBySide.of(SideMix(12.0, 0.9), SideMix(6.0, 0.7)))
    longs typically 12x, spread 0.9; shorts typically 6x, spread 0.7
    """

    eras: tuple[Era, ...]
    provenance: str = ""

    def __post_init__(self) -> None:
        """Raise for no era, and eras that are not in order."""
        starts = [era.start for era in self.eras]
        later = [start for start in starts if start is not None]
        if not starts or None in starts[1:] or any(low >= high for low, high in pairwise(later)):
            raise ArgumentError(
                "must begin each era after the first at a time, later than the one before", argument="eras"
            )

    @classmethod
    def of(cls, long: SideMix, short: SideMix, *, provenance: str = "") -> MixBySide:
        """Return the same mixes at all times."""
        return cls((Era(long, short),), provenance)

    @classmethod
    def of_positions(cls, positions: pl.DataFrame, *, provenance: str = "measured on positions") -> MixBySide:
        """Return the mixes that positions have: of each side the mean and spread of log leverage, by notional.

        Parameters
        ----------
        positions
            ``side, quantity, entry_price, leverage`` of linear contracts; rows without a leverage are left out.

        Raises
        ------
        DataError
            For a side without positions of different leverages between 1 and 125.
        """
        notional, own = pl.col("quantity") * pl.col("entry_price"), pl.col("leverage")
        mixes = {}
        for side in SIDES:
            kept = positions.filter(own.is_between(1, GRID[-1]), pl.col("side").cast(pl.String) == side)
            logs, weights = kept.select(own.log(), weight=notional).to_numpy().T
            mean = float(np.average(logs, weights=weights)) if kept.height else 0.0
            spread = float(np.average((logs - mean) ** 2, weights=weights)) if kept.height else 0.0
            if spread <= 0.0:
                raise DataError(f"positions must have {side}s of different leverages between 1 and {GRID[-1]:g}")
            mixes[side] = SideMix(exp(mean), min(spread**0.5, WIDEST))
        return cls.of(mixes["long"], mixes["short"], provenance=provenance)

    def changed(self, start: datetime, long: SideMix, short: SideMix) -> MixBySide:
        """Return the mixes with others from a time on."""
        return replace(self, eras=(*self.eras, Era(long, short, start)))

    def __str__(self) -> str:
        return "; ".join(f"{_since(era.start)}longs {era.long}; shorts {era.short}" for era in self.eras)

    def shares(self, side: str, times: Integers) -> Floats:
        """Return (times, leverages) the share of what is opened at each leverage of the grid.

        Parameters
        ----------
        side : ``long`` or ``short``
        times : (n,) ms since 1970
        """
        starts = [-inf if era.start is None else era.start.timestamp() * 1e3 for era in self.eras]
        era = np.maximum(np.searchsorted(starts, times, side="right") - 1, 0)
        return np.stack([getattr(each, side).shares() for each in self.eras])[era]

    def save(self, path: str | Path) -> None:
        """Write the mixes to a TOML file, as :func:`load_mix` reads it."""
        lines = [f"provenance = {json.dumps(self.provenance, ensure_ascii=False)}"]
        for era in self.eras:
            lines += ["", "[[era]]"]
            lines += [] if era.start is None else [f"from = {era.start.isoformat()}"]
            for side in SIDES:
                mix = getattr(era, side)
                lines.append(f"{side} = {{ typical = {mix.typical!r}, spread = {mix.spread!r} }}")
        Path(path).write_text("\n".join(lines) + "\n", "utf-8")


@checked
def load_mix(path: str | Path) -> MixBySide:
    """Read leverage mixes by side from a TOML file.

    ::

        provenance = "where the figures are from"

        [[era]]
        long = { typical = 12.0, spread = 0.9 }
        short = { typical = 6.0, spread = 0.7 }

        [[era]]
        from = 2021-07-27
        long = { typical = 8.0, spread = 0.8 }
        short = { typical = 6.0, spread = 0.7 }

    Raises
    ------
    DataError
        For a file that is not there or is no such TOML, with every problem by its path.

    Examples
    --------
    >>> from backtest.population import MixBySide, SideMix, load_mix
    >>> MixBySide.of(SideMix(12.0, 0.9), SideMix(6.0, 0.7), provenance="a guess").save(folder / "mix.toml")
    >>> load_mix(folder / "mix.toml").provenance
    'a guess'
    """
    path = Path(path)
    try:
        given = settings_of(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path} is not a TOML file of leverage mixes: {reason}") from None
    reader = Settings()
    reader.refuse_unknown("", given, ("provenance", "era"))
    provenance = reader.of_type("provenance", given.get("provenance", ""), str) or ""
    listed = reader.of_type("era", given.get("era"), list) or []
    eras = tuple(_era(reader, f"era[{number}]", entry) for number, entry in enumerate(listed))
    if not reader.problems.found:
        try:
            return MixBySide(eras, provenance)
        except ArgumentError as error:
            reader.problems.add("era", error.sentence)
    listed_problems = "; ".join(f"{where}: {what}" for where, what in reader.problems.found)
    raise DataError(f"leverage mixes of {path}: {listed_problems}")


def _era(reader: Settings, where: str, entry: Any) -> Era:
    table = reader.table(where, entry)
    reader.refuse_unknown(where, table, ("from", *SIDES))
    start = reader.of_type(f"{where}.from", table["from"], datetime) if "from" in table else None
    mixes = {}
    for side in SIDES:
        own = reader.table(f"{where}.{side}", table.get(side))
        reader.refuse_unknown(f"{where}.{side}", own, ("typical", "spread"))
        if table.get(side) is None:
            continue
        numbers = {
            name: reader.of_type(f"{where}.{side}.{name}", own.get(name), float) for name in ("typical", "spread")
        }
        if None not in numbers.values():
            try:
                mixes[side] = SideMix(**numbers)
            except ArgumentError as error:
                reader.problems.add(f"{where}.{side}.{error.argument}", error.sentence)
    filler = SideMix(1.0, 1.0)  # never used: a problem is noted where a mix is missing
    return Era(mixes.get("long", filler), mixes.get("short", filler), start)


def _since(start: datetime | None) -> str:
    return "" if start is None else f"from {timestamp(start)} "
