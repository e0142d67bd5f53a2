"""Histories, tiers and segments of docs/model.md.

A segment is a position between two adjustments. Nothing here is shared with the engine; ``reference.py`` says what
happens to segments bar by bar. Times are milliseconds; the letters s, q, E, M, F_e, f, c are the page's.
"""

# ruff: noqa: N806 (a formula looks like the page's: E and M stay capitals)

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl

from backtest.schemas.frames import PRICE_PREFIX

Row = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: The interval of a history of a single bar, which nothing else shows, and that of a lone stamp.
ONE_MINUTE, ONE_HOUR = 60_000, 3_600_000


class Bar(NamedTuple):
    """One bar of one price series."""

    open: float
    high: float
    low: float
    close: float

    def worst(self, side: float) -> float:
        return self.low if side > 0 else self.high

    @property
    def opening(self) -> Bar:
        return Bar(self.open, self.open, self.open, self.open)

    @property
    def closing(self) -> Bar:
        return self._replace(high=self.close, low=self.close)


class History:
    """The bars of one symbol and the funding charged in them."""

    def __init__(self, bars: list[Row], stamps: list[Row], kind: str, lone: int | None = None) -> None:
        self.times = [bar["time"] for bar in bars]
        self.interval = lone if lone and len(bars) == 1 else interval_of(self.times)
        self.series = {
            name: [Bar(*(bar[prefix + part] for part in Bar._fields)) for bar in bars]
            for name, prefix in PRICE_PREFIX.items()
            if prefix + "open" in bars[0]
        }
        self.effective: list[int] = []
        self.charged_at: list[int] = []
        self.amounts: list[float] = []
        self.sums = [0.0]
        for stamp, time in zip(stamps, effective_times([stamp["time"] for stamp in stamps]), strict=True):
            self._charge(time, stamp["rate"], kind)

    def _charge(self, time: int, rate: float, kind: str) -> None:
        bar = self.first_opening(time)
        if time < self.times[0] or bar == len(self.times):
            return
        mark = self.series["mark"][bar].open
        self.amounts.append(rate / mark if kind == "inverse" else rate * mark)
        self.sums.append(self.sums[-1] + self.amounts[-1])
        self.effective.append(time)
        self.charged_at.append(bar)

    def funding_in_bar(self, bar: int) -> float:
        """Return F_i: over the stamps charged at bars up to and including this one."""
        return self.sums[bisect_right(self.charged_at, bar)]

    def funding_at(self, time: int) -> float:
        """Return F_e: over the stamps with an effective time at or before an event's own."""
        return self.sums[bisect_right(self.effective, time)]

    def first_opening(self, time: int) -> int:
        """Return the first bar that opens at or after a time."""
        return bisect_left(self.times, time)


@dataclass
class Segment:
    """A position between two adjustments, while its margin and quantity stay as they are."""

    contract: Any
    table: Any
    leverage: float
    s: float
    q: float
    E: float
    M: float
    F_e: float
    put_in: float  #: the first margin and all margin changes, less what reductions paid out
    paid: float = 0.0  #: funding in the segments before
    grown: float = 0.0  #: notional of all additions

    def __post_init__(self) -> None:
        """Work out what stays constant in the segment: tiers, fees, a constant requirement."""
        contract, fee = self.contract, self.contract.closing_fee_rate
        self.f = fee if contract.closing_fee == "at_mark" else 0.0
        self.c = self._fee_at_bankruptcy(fee) if contract.closing_fee == "at_bankruptcy" else 0.0
        self.tiers, self.entry_rate = self._tiers()
        constant = contract.basis == "entry" or contract.kind == "face_value"
        self.constant = self._base(self.notional(self.E)) if constant else None

    def _fee_at_bankruptcy(self, fee: float) -> float:
        price = self.bankruptcy_price(self.F_e)
        if self.contract.margin_includes_closing_fee:
            face = self.contract.kind == "face_value"
            price = self._price(self.F_e, fee * self.q if face else 0.0, 0.0, 0.0 if face else fee)
        return 0.0 if positive(price) is None else fee * self.notional(price)

    def _tiers(self) -> tuple[list[tuple[float, float]], float]:
        """Return the rate and amount of every tier that can apply, and the rate at the entry size."""
        table = self.table
        if table.model == "leverage":
            rate = float(table.rate_factor) / max(self.leverage, 1.0)
            return [(rate, 0.0)], rate
        size = self.q / table.contract_size if table.size == "contracts" else self.notional(self.E)
        rate = float(table.rates[tier_of(size, table)])
        if table.model == "flat":
            return [(rate, 0.0)], rate
        return list(zip(table.rates.tolist(), table.amounts.tolist(), strict=True)), rate

    def _base(self, notional: float) -> float:
        return max(r * notional - a for r, a in self.tiers)

    def notional(self, price: float) -> float:
        if self.contract.kind == "face_value":
            return self.q
        return self.q / price if self.contract.kind == "inverse" else self.q * price

    def equity(self, price: float, funding: float) -> float:
        s, q, E, M = self.s, self.q, self.E, self.M
        move = 1 / E - 1 / price if self.contract.kind == "inverse" else price - E
        return (M + (s * q) * move) - (s * q) * (funding - self.F_e)

    def maintenance_margin(self, price: float) -> float:
        notional = self.notional(price)
        base = self._base(notional) if self.constant is None else self.constant
        return (base + self.f * notional) + self.c

    def could_not_open(self) -> bool:
        return self.maintenance_margin(self.E) > self.M

    def triggers(self, price: float, funding: float) -> bool:
        equity, maintenance_margin = self.equity(price, funding), self.maintenance_margin(price)
        return equity < maintenance_margin or (equity == maintenance_margin and self.contract.trigger == "<=")

    def liquidation(self, funding: float) -> tuple[float, float]:
        """Return where equity = maintenance margin (zero, less or infinite: nowhere), and the rate there."""
        if self.contract.kind == "face_value":
            return self._price(funding, self.c + self.constant + self.f * self.q, 0.0, 0.0), self.entry_rate
        if self.constant is not None:
            return self._price(funding, self.c + self.constant, 0.0, self.f), self.entry_rate
        prices = [self._price(funding, self.c - a, r, self.f) for r, a in self.tiers]
        price = max(prices) if self.s > 0 else min(prices)
        return price, self.tiers[prices.index(price)][0]

    def bankruptcy_price(self, funding: float) -> float:
        """Return where equity is zero, before any fee; zero, less or infinite where nowhere."""
        return self._price(funding, 0.0, 0.0, 0.0)

    def _price(self, funding: float, level: float, r: float, f: float) -> float:
        s, q, E, M, held = self.s, self.q, self.E, self.M, funding - self.F_e
        if self.contract.kind == "inverse":
            one_over = (-(M + (s * q) / E) + (s * q) * held + level) / (q * -(s + r + f))
            return 1 / one_over if one_over > 0 else math.inf
        return (((s * q) * E - M) + (s * q) * held + level) / (q * (s - r - f))

    def payment(self, funding: float) -> float:
        return (self.s * self.q) * (funding - self.F_e)

    def adjusted(self, change: Row, opening: float, funding: float, release: str) -> Segment:
        """Return the segment an adjustment starts, at an opening price and at F_u."""
        s, q, E, d = self.s, self.q, self.E, -(change.get("quantity_change") or 0.0)
        price, added = change.get("price"), change.get("margin_change")
        price = opening if price is None else price
        M_u = self.M - self.payment(funding)
        common = {"F_e": funding, "paid": self.paid + self.payment(funding)}
        if d < 0:
            return self.with_addition(-d, price, M_u, added, common)
        added = added or 0.0
        realised = (s * d) * (1 / E - 1 / price if self.contract.kind == "inverse" else price - E)
        M, paid_out = M_u + realised, 0.0
        if release == "pro_rata":
            M = M_u * ((q - d) / q)
            paid_out = (M_u - M) + realised
        return replace(self, M=M + added, q=q - d, put_in=self.put_in + (added - paid_out), **common)

    def with_addition(self, a: float, price: float, before: float, added: float | None, common: Row) -> Segment:
        q, E, inverse = self.q, self.E, self.contract.kind == "inverse"
        notional = replace(self, q=a).notional(price)
        if added is None:
            added = margin_from_leverage(self.contract, self.s, a, price, notional / self.leverage)
        return replace(
            self,
            M=before + added,
            q=q + a,
            E=(q + a) / (q / E + a / price) if inverse else (q * E + a * price) / (q + a),
            put_in=self.put_in + added,
            grown=self.grown + notional,
            **common,
        )


def entry_notional(position: Row, contract: Any) -> float:
    q, E = position["quantity"], position["entry_price"]
    return float({"linear": q * E, "inverse": q / E, "face_value": q}[contract.kind])


def first_segment(position: Row, contract: Any, table: Any, history: History) -> Segment:
    q, E = position["quantity"], position["entry_price"]
    notional = entry_notional(position, contract)
    margin, leverage = position.get("margin"), position.get("leverage")
    s = 1.0 if position["side"] == "long" else -1.0
    margin = margin_from_leverage(contract, s, q, E, notional / leverage) if margin is None else margin
    leverage = notional / margin if leverage is None else leverage
    funding = history.funding_at(position["entry_time"])
    return Segment(contract, table, leverage, s=s, q=q, E=E, M=margin, F_e=funding, put_in=margin)


def margin_from_leverage(contract: Any, s: float, q: float, E: float, margin: float) -> float:  # noqa: N803
    """Return entry notional / leverage, with the closing fee where the margin includes it."""
    if not contract.margin_includes_closing_fee:
        return margin
    if contract.kind == "inverse":
        one_over = -(margin + (s * q) / E) / (q * -s)
        price = 1 / one_over if one_over > 0 else math.inf
    else:
        price = ((s * q) * E - margin) / (q * s)
    if positive(price) is None:
        return margin
    notional = {"linear": q * price, "inverse": q / price, "face_value": q}[contract.kind]
    return margin + contract.closing_fee_rate * notional


def table_for(contract: Any, symbol: str, entry_time: int, tiers: str | dict[str, str]) -> Any:
    """Return the tier table for an entry: the one in force, or the substitute that was asked for."""
    if isinstance(tiers, dict) and symbol in tiers:
        return next(table for table in contract.tables if table.name == tiers[symbol])
    away = {}
    for table in contract.tables:
        start, end = milliseconds(table.start), milliseconds(table.end)
        if start <= entry_time < end:
            return table
        away[table.name] = (start - entry_time if entry_time < start else entry_time - end, start)
    if tiers != "nearest":
        raise LookupError(f"no tiers of {symbol} at {EPOCH + timedelta(milliseconds=entry_time)}")
    return min(contract.tables, key=lambda table: away[table.name])


def tables_after(
    contract: Any, symbol: str, entry_time: int, tiers: str | dict[str, str]
) -> list[tuple[int, Any]]:
    """Return the tables that begin after an entry, and when; those like the one before are left out."""
    if isinstance(tiers, dict) and symbol in tiers:
        return []
    found, present = [], table_for(contract, symbol, entry_time, tiers)
    for before, table in pairwise([None, *contract.tables]):
        begins = milliseconds(table.start)
        if tiers == "nearest" and before is not None and before.end < table.start:
            begins = (milliseconds(before.end) + begins) // 2 + 1
        if begins > entry_time and not table.same_as(present):
            found.append((begins, table))
            present = table
    return found


def source_of(table: Any, entry_time: int, tiers: str | dict[str, str]) -> str:
    """Return how the table of an entry comes to apply."""
    if milliseconds(table.start) <= entry_time < milliseconds(table.end):
        return str(table.dated)
    return tiers if isinstance(tiers, str) else "named"


def tier_of(size: float, table: Any) -> int:
    """Return the tier of a size; one exactly on a boundary belongs where the table says."""
    tier = 0
    for k, floor in enumerate(table.floors):
        if size > floor or (size == floor and table.boundary == "higher"):
            tier = k
    return tier


def effective_times(stamps: list[int]) -> list[int]:
    """Return the times of a symbol's stamps, late ones moved back."""
    effective = []
    for k, time in enumerate(stamps):
        distances = [abs(time - stamps[other]) for other in (k - 1, k + 1) if 0 <= other < len(stamps)]
        nearest = min(distances, default=ONE_HOUR)
        unit = ONE_MINUTE if nearest < ONE_HOUR - ONE_MINUTE else ONE_HOUR
        interval = (nearest + unit // 2) // unit * unit
        late = time % max(ONE_MINUTE, min(interval, ONE_HOUR))
        effective.append(time - late if late <= min(60_000, interval // 100) else time)
    return effective


def interval_of(times: list[int]) -> int:
    """Return the most common distance between bars, the shortest of equally common ones."""
    distances = Counter(later - earlier for earlier, later in pairwise(times))
    return min(distances, key=lambda distance: (-distances[distance], distance), default=ONE_MINUTE)


def positive(price: float) -> float | None:
    return price if 0 < price < math.inf else None


def milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def in_milliseconds(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.selectors.datetime().dt.epoch("ms"))


def rows_of(frame: pl.DataFrame | None, symbol: str) -> list[Row]:
    if frame is None:
        return []
    return in_milliseconds(frame.filter(pl.col("symbol") == symbol)).sort("time").to_dicts()


def changes_of(adjustments: pl.DataFrame | None) -> dict[int, list[Row]]:
    """Return the adjustments of each position in order of time, without those that change nothing."""
    changes: dict[int, list[Row]] = {}
    if adjustments is not None:
        for change in in_milliseconds(adjustments).sort("time", maintain_order=True).iter_rows(named=True):
            if change.get("margin_change") or change.get("quantity_change"):
                changes.setdefault(change["position_id"], []).append(change)
    return changes
