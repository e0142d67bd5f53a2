"""Tiers as a file writes them: figures by any of their names, and the tiers of each symbol put together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from backtest.amounts import plain
from backtest.errors import DataError, quoted

#: Caps from here up are the largest integer of a venue's own format, and no cap.
NO_CAP = 9e18
#: Figures of one boundary may differ by their rounding.
ALIKE = 1e-9

#: Contracts that end on a day, which have tiers of their own.
DELIVERED = re.compile(r".*(:[^:]*-\d{6}|[-_]\d{6}|-\d{1,2}[A-Z]{3}\d{2})$")


class Tier(NamedTuple):
    """One tier; ``cap`` is infinite where there is none, ``amount`` None where the file states none."""

    floor: float
    cap: float
    rate: float
    max_leverage: float
    amount: float | None


@dataclass(frozen=True)
class Found:
    """The tiers of one symbol, as the file spells it."""

    symbol: str
    tiers: tuple[Tier, ...]
    model: str | None  #: None where the format does not say
    size: str = "notional"


class Names(NamedTuple):
    """Names that a format, or its older version, gives to the figures of a tier."""

    cap: tuple[str, ...]
    rate: tuple[str, ...]
    leverage: tuple[str, ...]
    floor: tuple[str, ...] = ()  #: none: each tier begins where the one before ends
    amount: tuple[str, ...] = ()


def grouped(rows: Iterable[Mapping[str, Any]], key: str, symbol: str | None) -> dict[str, list[Mapping[str, Any]]]:
    """Return rows by their symbol; ``symbol`` is that of rows without one.

    Raises
    ------
    DataError
        For rows without a symbol where none is given.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        own = row.get(key) or symbol
        if not own:
            raise DataError("the tiers name no symbol: say which", remedies=(("symbol", "SYMBOL"),))
        groups.setdefault(str(own), []).append(row)
    return groups


def tiers_of(symbol: str, rows: Sequence[Mapping[str, Any]], names: Names) -> tuple[Tier, ...]:
    """Return the tiers of a symbol in order of size, without those that end where they begin.

    Raises
    ------
    DataError
        For a figure that is absent or no number, and tiers that leave a gap or overlap.
    """
    read = []
    for number, row in enumerate(rows):
        where = f"tier {number + 1} of {symbol}"
        cap = figure(row, names.cap, where, absent=math.inf)
        read.append(
            Tier(
                figure(row, names.floor, where) if names.floor else 0.0,
                cap if 0 < cap < NO_CAP else math.inf,
                figure(row, names.rate, where),
                figure(row, names.leverage, where, absent=math.inf),
                optional(row, names.amount, where),
            )
        )
    if names.floor:
        read = sorted((tier for tier in read if tier.floor != tier.cap), key=lambda tier: tier.floor)
        return tuple(_adjoining(symbol, read))
    read = sorted(read, key=lambda tier: tier.cap)
    floors = [0.0, *(tier.cap for tier in read[:-1])]
    return tuple(tier._replace(floor=floor) for floor, tier in zip(floors, read, strict=True))


def _adjoining(symbol: str, tiers: list[Tier]) -> list[Tier]:
    """Return tiers that begin exactly where those before end; sizes counted in whole units leave one unit out."""
    for number, (below, above) in enumerate(pairwise(tiers)):
        apart = above.floor - below.cap
        if not -ALIKE * below.cap <= apart <= max(1.0, ALIKE * below.cap):
            raise DataError(
                f"tier {number + 2} of {symbol} must begin where tier {number + 1} ends ({plain(below.cap)}), "
                f"begins at {plain(above.floor)}"
            )
        tiers[number + 1] = above._replace(floor=below.cap)
    return tiers


def figure(row: Mapping[str, Any], names: Sequence[str], where: str, absent: float | None = None) -> float:
    """Return a figure under any of its names; ``absent`` where there is none.

    Raises
    ------
    DataError
        For one that is absent, or no finite number.
    """
    for name in names:
        value = row.get(name)
        if value is None or value == "":
            continue
        try:
            found = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError):
            found = math.nan
        if not math.isfinite(found):
            raise DataError(f"{where}: {name} must be a finite number, is {quoted(value)}")
        return found
    if absent is None:
        raise DataError(f"{where} has no {' or '.join(names)}")
    return absent


def optional(row: Mapping[str, Any], names: Sequence[str], where: str) -> float | None:
    """Return a figure under any of its names, or None."""
    found = figure(row, names, where, absent=math.nan)
    return None if math.isnan(found) else found
