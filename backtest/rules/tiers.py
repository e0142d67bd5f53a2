"""Maintenance-margin tables: rates by position size or leverage, and the dates they were in force.

Three models. ``marginal``: each tier's rate applies to the part of the notional inside it, so that with the
maintenance amounts a_k the requirement is max_k(r_k N - a_k), convex and continuous. ``flat``: the whole position
pays the rate of the tier its size at entry falls in. ``leverage``: the rate follows from the selected leverage
alone, as ``rate_factor`` times the initial rate 1 / leverage.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np

from backtest.amounts import plain
from backtest.kernel.choices import KeyedBy
from backtest.kernel.types import Floats
from backtest.rules.problems import Problems
from backtest.schemas.arguments import spelled
from backtest.shown import shown

Model = Literal["marginal", "flat", "leverage"]
#: Required fields of each row, by model.
MODELS: dict[str, tuple[str, ...]] = {"marginal": ("floor", "rate"), "flat": ("floor", "rate"), "leverage": ()}
SIZES = ("notional", "contracts")
BOUNDARIES = ("lower", "higher")
DATED = ("announced", "seen", "always", "not stated")
CONFIDENCES = ("official", "secondary", "inferred", "assumed", "unknown")

ALWAYS_FROM = datetime(1970, 1, 1, tzinfo=UTC)
ALWAYS_UNTIL = datetime(9999, 1, 1, tzinfo=UTC)

#: Published amounts may be rounded to a cent or a satoshi: largest relative distance from the continuous value.
AMOUNT_TOLERANCE = 1e-9


def _read_only(values: Any, length: int | None = None) -> Floats:
    array = np.array(values, np.float64, ndmin=1)
    if length is not None and array.size == 1:
        array = np.repeat(array, length)
    array.flags.writeable = False
    return array


@spelled
@dataclass(frozen=True, eq=False, kw_only=True)
@shown()
class TierTable:
    """One margin table and the dates it was in force.

    Rows are ordered by size. Sizes are in settlement currency (``size="notional"``) or in contracts. Positions
    larger than ``cap`` are refused: the table does not cover them.

    Examples
    --------
    >>> from backtest.rules import TierTable
    >>> own = TierTable(name="own", floors=[0, 50_000], rates=[0.004, 0.005], max_leverages=[125, 100])
    >>> own.amounts
    array([ 0., 50.])
    >>> own.tier_of([50_000, 50_001])
    array([0, 1])
    """

    name: str
    model: Model = "marginal"
    floors: Floats = field(default_factory=lambda: np.zeros(1))  #: (k,) lower bound of each tier; the first is 0
    rates: Floats = field(default_factory=lambda: np.zeros(1))  #: (k,) maintenance margin rate
    amounts: Floats | None = None  #: (k,) maintenance amount; None: from continuity (marginal), zero (else)
    max_leverages: Floats = field(default_factory=lambda: np.full(1, np.inf))  #: (k,) infinite where unknown
    cap: float = np.inf  #: largest size the table covers
    size: Literal["notional", "contracts"] = "notional"
    contract_size: float = 1.0  #: base (linear) or quote (inverse) per contract, where sizes are in contracts
    boundary: Literal["lower", "higher"] = "lower"  #: tier of a size exactly on a boundary
    rate_factor: float = 0.0  #: maintenance rate over initial rate, where the rate is keyed by leverage
    start: datetime = ALWAYS_FROM  #: in force from here
    end: datetime = ALWAYS_UNTIL  #: to here, exclusive
    #: source of the dates: the venue, copies of its table, the table's own statement that it always holds, nobody
    dated: Literal["announced", "seen", "always", "not stated"] = "not stated"
    source: str = ""
    confidence: str = "unknown"
    note: str = ""

    def __post_init__(self) -> None:
        """Fill in the amounts, make arrays read-only and refuse contradictory tables."""
        problems = Problems()
        problems.require_kinds(self)
        problems.raise_if_any(f"tier table {self.name!r}")
        if self.dated == "not stated" and (self.start, self.end) != (ALWAYS_FROM, ALWAYS_UNTIL):
            object.__setattr__(self, "dated", "announced")
        rows = np.size(self.floors)
        for name in ("floors", "rates", "max_leverages"):
            object.__setattr__(self, name, _read_only(getattr(self, name), rows))
        amounts = self._continuous_amounts() if self.amounts is None else self.amounts
        object.__setattr__(self, "amounts", _read_only(amounts))
        self._check_shape(problems)
        if not problems.found:
            self._check(problems)
        problems.raise_if_any(f"tier table {self.name!r}")

    def __len__(self) -> int:
        return int(self.floors.size)

    @property
    def keyed_by(self) -> KeyedBy:
        """Quantity that decides a position's tier."""
        if self.model == "flat":
            return KeyedBy.CONTRACTS if self.size == "contracts" else KeyedBy.NOTIONAL
        return KeyedBy.MARGINAL if self.model == "marginal" else KeyedBy.LEVERAGE

    @property
    def by_size(self) -> bool:
        """Whether rates depend on a position's size, not on its leverage."""
        return self.keyed_by != KeyedBy.LEVERAGE

    def size_of(self, quantity: Floats, notional: Floats) -> Floats:
        """Return sizes in the unit the table is measured in: contracts, or the notional at entry."""
        return np.asarray(quantity / self.contract_size if self.size == "contracts" else notional)

    def rate_of(self, tier: int, leverage: float) -> float:
        """Return the maintenance rate of a position in a tier, at its selected leverage."""
        return float(self.rates[tier]) if self.by_size else self.rate_factor / max(leverage, 1.0)

    @property
    def highest_rate(self) -> float:
        """Highest maintenance rate of the table."""
        return float(self.rates.max()) if self.by_size else self.rate_factor

    @property
    def period(self) -> str:
        """When the table is known to have been in force, in words."""
        if self.dated == "always":
            return "always in force"
        if self.dated == "not stated":
            return "no date stated, taken as always in force"
        first, last = f"{self.start:%Y-%m-%d}", f"{self.end - timedelta(microseconds=1):%Y-%m-%d}"
        if self.dated == "seen":
            return f"seen {first}" if first == last else f"seen {first} to {last}"
        if self.end >= ALWAYS_UNTIL:
            return f"from {first}"
        return f"until {self.end:%Y-%m-%d}" if self.start <= ALWAYS_FROM else f"{first} to {self.end:%Y-%m-%d}"

    def same_as(self, other: TierTable) -> bool:
        """Whether another table has the same tiers and limits."""
        arrays = ("floors", "rates", "amounts", "max_leverages")
        values = ("model", "cap", "size", "contract_size", "boundary", "rate_factor")
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in arrays) and all(
            getattr(self, name) == getattr(other, name) for name in values
        )

    def scaled(self, factor: float) -> TierTable:
        """Return the table with every maintenance rate multiplied.

        Tiers whose rate would reach 1 are removed, since no position could be held in them; larger positions are
        refused.
        """
        kept = max(int((self.rates * factor < 1).sum()), 1)
        return replace(
            self,
            floors=self.floors[:kept],
            rates=self.rates[:kept] * factor,
            amounts=None if self.amounts is None else self.amounts[:kept] * factor,
            max_leverages=self.max_leverages[:kept],
            cap=self.cap if kept == len(self) else float(self.floors[kept]),
            rate_factor=self.rate_factor * factor,
        )

    def capped(self, maximum_leverage: float) -> TierTable:
        """Return the table with no tier allowing more than a maximum leverage."""
        return replace(self, max_leverages=np.minimum(self.max_leverages, maximum_leverage))

    def tier_of(self, size: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the tier of each size, (n,) counted from zero."""
        side: Literal["left", "right"] = "left" if self.boundary == "lower" else "right"
        found = np.searchsorted(self.floors, size, side=side) - 1
        return np.asarray(np.maximum(found, 0))

    def _continuous_amounts(self) -> Floats:
        if self.model != "marginal" or np.size(self.rates) != np.size(self.floors):
            return np.zeros(np.size(self.floors))
        with np.errstate(invalid="ignore", over="ignore"):  # of infinite rates and floors, which are refused
            return np.concatenate([[0.0], np.cumsum(self.floors[1:] * np.diff(self.rates))])

    def _check_shape(self, found: Problems) -> None:
        for name in ("floors", "rates", "max_leverages", "amounts"):
            shape, tiers = np.shape(getattr(self, name)), max(len(self), 1)
            if shape != (tiers,):
                found.add(name, f"must hold one number a tier, of which there must be {tiers}, has shape {shape}")
        for name, moment in (("from", self.start), ("until", self.end)):
            if moment.tzinfo is None:
                found.add(name, f"must have a time zone, is {moment:%Y-%m-%d %H:%M:%S}")

    def _check(self, found: Problems) -> None:
        for name, choices in (
            ("model", MODELS),
            ("size", SIZES),
            ("boundary", BOUNDARIES),
            ("confidence", CONFIDENCES),
            ("dated", DATED),
        ):
            found.require_choice(name, getattr(self, name), choices)
        if self.model == "marginal" and self.size != "notional":
            found.add("size", "a marginal table is measured in notional, its requirement being linear in it")
        if not (self.contract_size > 0 and np.isfinite(self.contract_size)):
            found.add("contract_size", f"must be finite and above zero, is {self.contract_size}")
        if self.start >= self.end:
            found.add("until", f"must lie after from ({self.start:%Y-%m-%d}), is {self.end:%Y-%m-%d}")
        if self.model == "leverage":
            if not 0 < self.rate_factor < 1:
                found.add("rate_factor", f"must lie between 0 and 1, is {self.rate_factor}")
            if len(self) != 1:
                found.add("rows", "a table keyed by leverage has one row, for its highest leverage")
        else:
            self._check_rows(found)
        if self.model != "marginal" and self.amounts is not None and np.any(self.amounts):
            found.add("rows", "maintenance amounts belong to marginal tiers only")
        if not (self.max_leverages >= 1).all():
            row = int(np.argmin(self.max_leverages >= 1))
            found.add(f"rows[{row}].max_leverage", f"must be at least 1, is {self.max_leverages[row]}")

    def _check_rows(self, found: Problems) -> None:
        if self.floors[0] != 0:
            found.add("rows[0].floor", f"the first tier must begin at 0, begins at {plain(self.floors[0])}")
        for row in range(len(self)):
            if not 0 < self.rates[row] < 1:
                found.add(f"rows[{row}].rate", f"must lie between 0 and 1, is {self.rates[row]}")
            if row and not self.floors[row] > self.floors[row - 1]:
                previous = plain(self.floors[row - 1])
                found.add(
                    f"rows[{row}].floor",
                    f"tiers must be in order of size: {plain(self.floors[row])} is not above {previous}",
                )
            if row and not self.rates[row] > self.rates[row - 1]:
                previous = plain(self.rates[row - 1])
                found.add(
                    f"rows[{row}].rate",
                    f"must be above the tier before ({previous}), is {plain(self.rates[row])}",
                )
        if not self.cap > self.floors[-1]:
            found.add("cap", f"must lie above the last floor ({plain(self.floors[-1])}), is {plain(self.cap)}")
        if self.model == "marginal" and not found.found:
            self._check_amounts(found)

    def _check_amounts(self, found: Problems) -> None:
        assert self.amounts is not None  # filled in before any check
        expected = self._continuous_amounts()
        scale = np.maximum(np.abs(expected), self.floors * self.rates)
        close = np.abs(self.amounts - expected) <= AMOUNT_TOLERANCE * np.maximum(scale, 1e-300)
        for row in np.flatnonzero(~close):  # an amount left out is NaN, and close to nothing
            given = "missing" if np.isnan(self.amounts[row]) else plain(self.amounts[row])
            found.add(
                f"rows[{row}].amount",
                f"must be {plain(expected[row])} for a continuous requirement, is {given} "
                "(a rate that jumps on the whole mark notional gives no unique liquidation price)",
            )
