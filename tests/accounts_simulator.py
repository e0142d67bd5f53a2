"""A simulator of accounts and their procedure, written from docs/accounts.md and docs/model.md alone.

Shares nothing with the engine or the other reference. One account, one bar, one step at a time.
"""

# ruff: noqa: N802, N803, N806 (a formula looks like the page's: P, Q, K, W stay capitals)

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

Row = dict[str, Any]
UNIT, COIN_UNIT = 1_000_000, 10_000_000_000
MINUTE, HOUR = 60_000, 3_600_000


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def moved_back(time: int, others: list[int]) -> int:
    """Return the effective time of a stamp."""
    nearest = min((abs(time - other) for other in others), default=HOUR)
    unit = MINUTE if nearest < 59 * MINUTE else HOUR
    interval = (2 * nearest + unit) // (2 * unit) * unit
    late = time % max(MINUTE, min(interval, HOUR))
    return time - late if late <= interval / 100 and late <= MINUTE else time


class Symbol:
    """Bars, funding and contract of one symbol."""

    def __init__(self, name: str, bars: list[Row], stamps: list[Row], contract: Any) -> None:
        self.name, self.contract = name, contract
        self.inverse = contract.kind == "inverse"
        self.times = [ms(row["time"]) for row in bars]
        self.bars = bars
        steps = Counter(b - a for a, b in zip(self.times, self.times[1:], strict=False))
        self.interval = min(steps, key=lambda step: (-steps[step], step))
        self.effective, self.charged, self.sums = [], [], [0.0]
        given = sorted((ms(stamp["time"]), stamp["rate"]) for stamp in stamps)
        for number, (time, rate) in enumerate(given):
            self._charge(moved_back(time, [other for n, (other, _) in enumerate(given) if n != number]), rate)

    def _charge(self, time: int, rate: float) -> None:
        bar = bisect_left(self.times, time)
        if time >= self.times[0] and bar < len(self.times):
            self.charged.append(bar)
            self.effective.append(time)
            opening = self.bars[bar]["open"]
            self.sums.append(self.sums[-1] + (rate / opening if self.inverse else rate * opening))

    def X(self, P: float) -> float:
        return 1 / P if self.inverse else P

    def last(self, time: int) -> int:
        """Return the last bar that opens at or before a time."""
        return bisect_right(self.times, time) - 1

    def prices(self, time: int) -> tuple[float, float, float]:
        bar = self.bars[self.last(time)]
        if ms(bar["time"]) == time:
            return bar["low"], bar["high"], bar["close"]
        return bar["close"], bar["close"], bar["close"]

    def F(self, time: int) -> float:
        return self.sums[bisect_right(self.charged, self.last(time))]

    def F_at(self, moment: int) -> float:
        return self.sums[bisect_right(self.effective, moment)]

    def is_stale(self, time: int, limit: int | None) -> bool:
        end = self.times[self.last(time)] + self.interval
        return limit is not None and time - end > limit - self.interval


@dataclass
class Leg:
    id: Any
    symbol: Symbol
    s: float
    q: float
    E: float
    start: int
    end: int | None  #: grid bar of the exit
    entered: int
    left: int | None  #: exit time
    leverage: float | None
    F_e: float = 0.0

    @property
    def r(self) -> float:
        return -self.s if self.symbol.inverse else self.s

    def result(self) -> float:
        bar = self.symbol.bars[bisect_left(self.symbol.times, self.left)]
        F_x = self.symbol.F_at(self.left)
        moved = self.symbol.X(bar["open"]) - self.symbol.X(self.E)
        return (self.r * self.q) * moved - (self.s * self.q) * (F_x - self.F_e)


@dataclass
class Coin:
    symbol: Symbol
    u: float
    schedule: list[tuple[float, float]]

    def pieces(self) -> list[tuple[float, float]]:
        if self.u < 0 or not self.schedule:
            return [(self.u, 0.0)]
        found, b = [], 0.0
        for number, (floor, h) in enumerate(self.schedule):
            b += floor * (h - self.schedule[number - 1][1]) if number else 0.0
            found.append((self.u * (1 - h), b))
        return found

    def worth(self, P: float) -> float:
        return min(c * P + d for c, d in self.pieces())


class Position:
    """The legs of one symbol and side that are held."""

    def __init__(self, legs: list[Leg], W: float, now: int) -> None:
        self.legs, self.symbol, self.s, self.r = legs, legs[0].symbol, legs[0].s, legs[0].r
        self.Q, self.cost, self.anchor = 0.0, 0.0, 0.0
        for leg in legs:
            self.Q, self.cost = self.Q + leg.q, self.cost + leg.q * self.symbol.X(leg.E)
            self.anchor = self.anchor + leg.q * leg.F_e
        contract = self.symbol.contract
        entered = max(legs[0].entered, now)
        self.table = next(t for t in contract.tables if ms(t.start) <= entered < ms(t.end))
        self.face = contract.kind == "face_value"
        self.constant = self.face or contract.basis == "entry"
        self.size = self.Q if self.face else self.cost
        self.f = contract.closing_fee_rate if contract.closing_fee == "at_mark" else 0.0
        self.c = self.reserved(W) if contract.closing_fee == "at_bankruptcy" else 0.0

    def reserved(self, W: float) -> float:
        """Return the closing fee reserved at the bankruptcy price of the position's margin."""
        contract, leverage = self.symbol.contract, self.legs[0].leverage
        if leverage is None and not self.symbol.inverse:
            return 0.0
        included = leverage is None and contract.margin_includes_closing_fee
        M = W if leverage is None else self.size / leverage
        X_v = (self.r * self.cost - M) / (self.Q * (self.r - (contract.closing_fee_rate if included else 0.0)))
        return contract.closing_fee_rate * (self.Q if self.face else self.Q * X_v) if X_v > 0 else 0.0

    def tier_of(self, size: float) -> int:
        find = bisect_left if self.table.boundary == "lower" else bisect_right
        return max(find(self.table.floors.tolist(), size) - 1, 0)

    def rates(self) -> list[tuple[float, float]]:
        table = self.table
        if table.model == "leverage":
            return [(table.rate_factor / max(self.legs[0].leverage, 1.0), 0.0)]
        if table.model == "flat":
            return [(float(table.rates[self.tier_of(self.entry_size())]), 0.0)]
        return list(zip(table.rates.tolist(), table.amounts.tolist(), strict=True))

    def entry_size(self) -> float:
        return self.Q / self.table.contract_size if self.table.size == "contracts" else self.size

    def needs(self) -> list[tuple[float, float]]:
        """Return (m_k, n_k)."""
        if not self.constant:
            return [((r + self.f) * self.Q, -a + self.c) for r, a in self.rates()]
        base = max(r * self.size - a for r, a in self.rates()) + self.c
        return [(0.0, base + self.f * self.Q)] if self.face else [(self.f * self.Q, base)]

    def mm(self, P: float) -> float:
        return max(m * self.symbol.X(P) + n for m, n in self.needs())

    def g(self, P: float, counts: bool) -> float:
        r, Q, X = self.r, self.Q, self.symbol.X(P)
        if counts:
            return min((r * Q - m) * X + -n for m, n in self.needs())
        rows = [piece for m, n in self.needs() for piece in ((r * Q - m, -n - r * self.cost), (-m, -n))]
        return min(c * X + d for c, d in rows)

    def notional(self, P: float) -> float:
        return self.Q * self.symbol.X(P)

    def stepped_by(self, P: float) -> float:
        """Return the size that decides the tier a position is stepped down from."""
        follows = self.table.model == "marginal" and not self.constant
        return self.notional(P) if follows else self.entry_size()

    def initial(self, P: float) -> float:
        return (self.size if self.constant else self.notional(P)) / self.legs[0].leverage


@dataclass
class Account:
    row: Row
    legs: list[Leg]
    coins: list[Coin]
    transfers: list[tuple[int, float]]  #: bar and change
    order_margin: float = 0.0
    W: float = 0.0
    outcome: str = "open"
    time: int | None = None
    triggers: list[int] = field(default_factory=list)
    left: int | None = None  #: in whole units, where it was fully closed
    steps: list[tuple[Any, ...]] = field(default_factory=list)
    closed: list[tuple[Any, ...]] = field(default_factory=list)
    openings: list[int] = field(default_factory=list)  #: of the grid, where new tables apply to open positions
    narrowest: int = UNIT  #: least distance from the margin at which it was decided

    def positions(self, bar: int) -> list[Position]:
        groups: dict[tuple[Symbol, float], list[Leg]] = {}
        for leg in self.legs:
            if leg.start <= bar and (leg.end is None or bar < leg.end) and leg.q > 0:
                groups.setdefault((leg.symbol, leg.s), []).append(leg)
        return [Position(legs, self.W, self.openings[bar] if self.openings else 0) for legs in groups.values()]


class World:
    """A market, a venue's contracts and its rules."""

    def __init__(
        self, frames: dict[str, pl.DataFrame], bars: pl.DataFrame, funding: pl.DataFrame | None, venue: Any,
        cross: Any, convention: str, gap_limit: int | None,
    ) -> None:  # fmt: skip
        stamps = [] if funding is None else funding.to_dicts()
        names = bars["symbol"].unique(maintain_order=True).to_list()
        self.symbols = {
            name: Symbol(
                name, bars.filter(pl.col("symbol") == name).to_dicts(),
                [row for row in stamps if row["symbol"] == name], venue.contract(name),
            )
            for name in names
        }  # fmt: skip
        first = min(own.times[0] for own in self.symbols.values())
        last = max(own.times[-1] for own in self.symbols.values())
        interval = next(iter(self.symbols.values())).interval
        self.grid = list(range(first, last + 1, interval))
        self.order = {own: number for number, own in enumerate(self.symbols.values())}
        self.always = venue.tiers_apply == "always"
        self.cross, self.convention, self.gap_limit = cross, convention, gap_limit
        self.unit = COIN_UNIT if any(own.inverse for own in self.symbols.values()) else UNIT
        self.strict = venue.contract(names[0]).trigger == "<"
        self.haircuts: dict[str, list[tuple[float, float]]] = {}
        for row in frames["haircuts"].to_dicts():
            self.haircuts.setdefault(row["symbol"], []).append((row["floor"], row["haircut"]))
        self.accounts = [self.account(row, frames) for row in frames["accounts"].to_dicts()]

    def account(self, row: Row, frames: dict[str, pl.DataFrame]) -> Account:
        own = {
            name: frames[name].filter(pl.col("account_id") == row["account_id"]).to_dicts()
            for name in ("legs", "collateral", "transfers")
        }
        legs = sorted((self.leg(leg) for leg in own["legs"]), key=lambda leg: (self.order[leg.symbol], -leg.s))
        coins = [
            Coin(self.symbols[coin["symbol"]], coin["quantity"], self.haircuts.get(coin["symbol"], []))
            for coin in own["collateral"]
        ]
        coins.sort(key=lambda coin: self.order[coin.symbol])
        moves = [(bisect_left(self.grid, ms(move["time"])), move["wallet_change"]) for move in own["transfers"]]
        held_back = row.get("order_margin") or 0.0
        transfers = sorted(moves, key=lambda move: move[0])
        found = Account(row, legs, coins, transfers, held_back, row["wallet"] - held_back)
        found.openings = self.grid if self.always else []
        return found

    def leg(self, row: Row) -> Leg:
        own, entered = self.symbols[row["symbol"]], ms(row["entry_time"])
        left = None if row["exit_time"] is None else ms(row["exit_time"])
        found = None if left is None else bisect_left(own.times, left)
        end = None if found is None or found == len(own.times) else self.grid.index(own.times[found])
        return Leg(
            row["leg_id"], own, 1.0 if row["side"] == "long" else -1.0, row["quantity"], row["entry_price"],
            bisect_left(self.grid, entered), end, entered, left, row.get("leverage"), own.F_at(entered),
        )  # fmt: skip
