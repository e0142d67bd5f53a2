"""docs/replay.md written out bar by bar, every position looked at in every bar: slow, and meant to be read.

Nothing here is shared with the engine but the frozen settings it reads. Money is Python integers, positions are
plain objects, and every wave of liquidations looks at every position anew.
"""

# ruff: noqa: N803, N806 (a formula looks like the page's: E and P stay capitals)

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import polars as pl
from reference import Hidden, Life, Rules
from replay_edge_reference import Edges, scaled
from segment_reference import (
    History,
    Segment,
    changes_of,
    first_segment,
    in_milliseconds,
    margin_from_leverage,
    rows_of,
    table_for,
    tables_after,
)

Row = dict[str, Any]


def cut(x: float) -> int:
    return math.floor(x)


def exact(share: float) -> Fraction:
    """Return a share as the page takes it: the nearest ratio of whole numbers up to a thousand million."""
    return Fraction(share).limit_denominator(10**9)


def ratio(some: int, all_: int) -> float:
    """Return a quotient of float64, as a processor divides: whole numbers may be larger than it holds exactly."""
    return float(some) / float(all_)


@dataclass
class Position:
    """One position and everything that has happened to it."""

    id: int
    row: Row
    s: int
    seg: Segment
    life: Life
    lots: int
    start: int  #: first bar of the present segment
    status: str = "waiting"
    balance: int = 0
    pocket: int = 0
    fees: int = 0
    begun: int = 0
    rounds: int = 0
    due: bool = False  #: its exit is
    opening_only: int = -1  #: the bar that it leaves inside
    out: bool = False  #: an order was not filled whole: no rounds are left
    spent: tuple[int, int] = (-1, 0)
    share: float = 1.0  #: that neither procedure nor deleveraging has closed
    stop: float | None = None
    target: float | None = None
    done: float = 0.0
    filled: float = 0.0
    taken: float = 0.0
    deleveraged: float = 0.0
    fund_effect: int = 0
    clawed: int = 0
    outcome: str = "open"
    time: int | None = None
    fill_price: float = math.nan
    fill_notional: float = 0.0
    equity: float = math.nan  #: at the last fill
    given: tuple[float, float, float] = (math.nan, 0.0, 0.0)  #: as a counterparty: mean price, notional, equity
    entered: tuple[float, float] = (math.nan, math.nan)  #: entry price and margin under the offset


@dataclass
class Need:
    who: Position | None  #: None: what was taken over
    lots: int
    value: float
    base: float
    bankrupt: bool


@dataclass
class Inventory:
    lots: int = 0
    cost: int = 0


@dataclass
class World(Edges):
    """A replay in the making: one symbol."""

    history: History
    venue: Any
    impact: Any
    rules: Rules
    kind: str
    unit: float
    lot: float
    volume: list[float]
    closes: list[float]
    seed: int
    positions: list[Position] = field(default_factory=list)
    cash: dict[str, int] = field(default_factory=dict)
    inventory: dict[int, Inventory] = field(default_factory=lambda: {1: Inventory(), -1: Inventory()})
    waiting: dict[int, list[Position]] = field(default_factory=lambda: {1: [], -1: []})
    needs: list[Need] = field(default_factory=list)
    permanent: float = 0.0
    decaying: float = 0.0
    executed: dict[int, float] = field(default_factory=dict)
    room: float = math.inf
    backstop_room: float = math.inf
    mark: float = 0.0
    dropped: bool = False
    window: list[tuple[int, int]] = field(default_factory=list)
    funds: list[int] = field(default_factory=list)
    offsets: list[float] = field(default_factory=list)
    first_waves: list[int] = field(default_factory=list)
    adl: list[tuple[int | None, int, int]] = field(default_factory=list)
    bar: int = 0
    now: float = 0.0

    # money

    def post(self, giver: str, taker: str, amount: int) -> None:
        self.cash[giver] = self.cash.get(giver, 0) - amount
        self.cash[taker] = self.cash.get(taker, 0) + amount

    def units(self, amount: float) -> int:
        return round(amount * self.unit)

    def v(self, price: float) -> float:
        return -1 / price if self.kind == "inverse" else price

    def price_of(self, value: float) -> float:
        if self.kind != "inverse":
            return value
        return -1 / value if value < 0 else math.inf

    def pnl(self, s: int, q: float, E: float, P: float) -> float:
        return (s * q) * (1 / E - 1 / P) if self.kind == "inverse" else (s * q) * (P - E)

    def notional(self, q: float, P: float) -> float:
        if self.kind == "inverse":
            return q / P
        return q if self.kind == "face_value" else q * P

    @property
    def g(self) -> float:
        return math.exp(self.permanent + self.decaying)

    @property
    def deleveraging(self) -> bool:
        return self.venue.procedure.adl_trigger != "never"

    # a bar

    def step(self, bar: int) -> None:
        self.bar = bar
        history, own = self.history, self.venue.procedure
        if self.decaying:
            elapsed = history.times[bar] - history.times[bar - 1]
            self.decaying *= 0.5 ** (elapsed / (self.impact.half_life_seconds * 1000))
        for k, charged in enumerate(history.charged_at):
            if charged == bar:
                amount = self.charges[k]
                self.sums[k + 1] = self.sums[k] + (amount / self.g if self.kind == "inverse" else amount * self.g)
        self.now = self.funding_in_bar(bar)
        self.executed = {1: 0.0, -1: 0.0}
        if math.isfinite(self.impact.participation):
            self.room = self.impact.participation * self.volume[bar]
        self.backstop_room = own.backstop_capacity * (history.interval / 3_600_000)
        self.mark = history.series["mark"][bar].open * self.g
        self.watch_fund()
        if bar and self.rules.gap_limit is not None:
            missing = history.times[bar] - (history.times[bar - 1] + history.interval)
            if missing > self.rules.gap_limit:
                for p in self.positions:
                    if p.status in ("held", "locked"):
                        self.lose(p)
                self.waiting = {1: [], -1: []}
        for p in self.positions:
            if p.status in ("held", "locked"):
                self.begin_tables(p)
        self.resume()
        before = dict(self.executed)
        for p in sorted(self.positions, key=lambda p: p.id):
            if p.status == "waiting" and history.first_opening(p.row["entry_time"]) == bar:
                self.enter(p)
                self.settle_entry_bar(p)
                self.begin_tables(p)
        self.act()
        self.after("actions", before)
        traded = self.traded
        low_first = traded.open - traded.low < traded.high - traded.open
        self.first_waves.append(0)
        for s in (1, -1) if low_first else (-1, 1):
            self.cross(s)
        before = dict(self.executed)
        self.leave_bar()
        self.after("exits", before)
        self.funds.append(self.cash["fund"])
        self.offsets.append(self.permanent + self.decaying)

    @property
    def traded(self) -> Any:
        return self.history.series[self.rules.trigger_series][self.bar]

    def funding_in_bar(self, bar: int) -> float:
        return self.sums[sum(1 for charged in self.history.charged_at if charged <= bar)]

    def watch_fund(self) -> None:
        own, time, fund = self.venue.procedure, self.history.times[self.bar], self.cash["fund"]
        if own.adl_trigger == "fund_drop":
            self.window.append((time, fund))
            self.window = [entry for entry in self.window if entry[0] >= time - own.adl_hours * 3_600_000]
            highest = max(entry[1] for entry in self.window)
            self.dropped = highest > 0 and fund <= highest * (1 - exact(own.adl_drop))

    def begin_tables(self, p: Position) -> None:
        """Put a position under the tables that take over at this opening."""
        for begins, table in p.life.tables:
            if self.history.first_opening(begins) == self.bar:
                p.seg = replace(p.seg, table=table)

    # holders

    def enter(self, p: Position) -> None:
        g = self.g
        p.seg.F_e = self.funding_at(p.row["entry_time"])
        if g != 1.0:
            p.seg.E *= g
            p.seg.M = p.seg.M / g if self.kind == "inverse" else p.seg.M * g
            p.stop = None if p.stop is None else p.stop * g
            p.target = None if p.target is None else p.target * g
        p.seg, p.entered = replace(p.seg), (p.seg.E, p.seg.M)
        p.status, p.start = "held", self.bar
        margin, cost = self.units(p.seg.M), self.units((p.s * p.seg.q) * self.v(p.seg.E))
        p.pocket, p.balance = -margin, margin - cost
        self.post("traders", "market", cost)
        self.trading_fee(p, self.notional(p.seg.q, p.seg.E))

    def adjust(self, p: Position, change: Row, mark: float | None = None) -> None:
        mark = self.history.series["mark"][self.bar].open if mark is None else mark
        opening, F = mark * self.g, self.funding_at(change["time"])
        price = opening if change.get("price") is None else change["price"] * self.g
        part, margin = (change.get("quantity_change") or 0.0) * p.share, change.get("margin_change")
        change = change | {"quantity_change": part, "price": price}
        change["margin_change"] = None if margin is None else margin * p.share
        self.pay_funding(p, F)
        before = p.seg
        p.seg, p.start = p.seg.adjusted(change, opening, F, self.venue.release), self.bar
        added = change["margin_change"] or 0.0
        if part > 0:
            if margin is None:
                added = margin_from_leverage(
                    before.contract, p.s, part, price, self.notional(part, price) / before.leverage
                )
            cost = self.units((p.s * part) * self.v(price))
            self.post("traders", "market", cost)
            p.balance -= cost
            p.lots += round(part / self.lot)
            self.trading_fee(p, self.notional(part, price))
        elif part < 0:
            received = self.units((p.s * -part) * self.v(price))
            self.post("market", "traders", received)
            kept = p.balance + received
            if self.venue.release == "pro_rata":
                kept = round(p.balance * ((before.q + part) / before.q))
            p.pocket += (p.balance + received) - kept
            p.balance = kept
            p.lots -= min(p.lots - 1, round(p.lots * (-part / before.q)))
            self.trading_fee(p, self.notional(-part, price))
        p.balance += self.units(added)
        p.pocket -= self.units(added)

    def close(self, p: Position, outcome: str, price: float, F: float) -> None:
        self.pay_funding(p, F)
        received = self.units((p.s * p.seg.q) * self.v(price))
        self.post("market", "traders", received)
        p.balance += received
        p.lots = 0
        p.fill_price, p.fill_notional = price, self.notional(p.seg.q, price)
        p.equity = p.seg.equity(price, F)
        self.trading_fee(p, p.fill_notional)
        if p.balance < 0:
            self.cover(p, -p.balance, 0)
        self.conclude(p, outcome)

    def lose(self, p: Position) -> None:
        p.status, p.outcome, p.time = "done", "unknown", self.history.times[self.bar]
        self.pay_funding(p, p.seg.F_e if p.start > self.bar - 1 else self.funding_in_bar(self.bar - 1))

    def pay_funding(self, p: Position, F: float) -> None:
        amount = self.units((p.s * p.seg.q) * (F - p.seg.F_e))
        self.post("traders", "market", amount)
        p.balance -= amount

    def trading_fee(self, p: Position, notional: float) -> None:
        own = self.venue.procedure
        fee = self.units(own.trading_fee_rate * notional)
        share = self.share(fee, own.trading_fee_fund_share)
        self.post("traders", "fund", share)
        self.post("traders", "fees", fee - share)
        p.pocket -= fee
        p.fees += fee
        p.fund_effect += share

    @staticmethod
    def share(amount: int, part: float) -> int:
        return cut(amount * exact(part))

    # waves

    def cross(self, s: int) -> None:
        waves = 0
        while True:
            chosen = [(p, event) for p in self.positions if p.status == "held" and (event := self.event(p, s))]
            if not chosen:
                break
            if self.impact.waves and waves == self.impact.waves:
                break
            chosen.sort(key=self.place_in_wave)
            before = self.executed[s]
            for p, _ in chosen:
                p.status = "chosen"
            for p, (outcome, price, fill) in chosen:
                if outcome == "liquidated" and p.s != s:  # what it sells and needs is its own side's
                    before += self.deleverage_side(s)  # no counterparty while it is chosen itself
                    p.status = "held"
                    own_before = self.executed[p.s]
                    self.trigger(p, price)
                    own = self.executed[p.s] - own_before
                    self.first_waves[-1] += self.units(own)
                    self.move_mark(p.s, own)
                    self.deleverage_side(p.s)
                    continue
                p.status = "held"
                if outcome == "liquidated":
                    self.trigger(p, price)
                else:
                    self.close(p, outcome, fill, self.now)
            waves += 1
            if waves == 1:
                self.first_waves[-1] += self.units(self.executed[s] - before)
            self.move_mark(s, self.executed[s] - before)
        self.deleverage_side(s)

    def deleverage_side(self, s: int) -> float:
        sold = self.sell_needs(s)
        self.move_mark(s, sold)
        return sold

    def sell_needs(self, s: int) -> float:
        if not self.needs:
            return 0.0
        self.mark, before = self.traded.worst(s) * self.g, self.executed[s]
        self.pass_on(s, self.mark)
        return self.executed[s] - before

    def place_in_wave(self, entry: Any) -> Any:
        p, (outcome, price, _) = entry
        if outcome != "liquidated":
            return (-math.inf, p.id)
        key = {"price": -p.s * price, "largest": -self.notional(p.seg.q, price), "id": 0.0}[self.impact.order]
        return (key, p.id)

    def event(self, p: Position, s: int) -> Any:
        """Return what happens to a position in the bar, if the side of the bar being walked shows it."""
        if p.opening_only == self.bar:
            return None
        g = self.g
        traded = scaled(self.traded, g)
        watched = scaled(self.history.series[self.rules.stop_series][self.bar], g)
        life = p.life._replace(position=p.row | {"stop_price": p.stop, "take_profit_price": p.target})
        events = life.events(p.seg, traded, watched, self.now)
        seen = [
            e for e in events
            if (e.outcome == "took_profit" and p.s == -s) or (e.outcome != "took_profit" and p.s == s)
        ]  # fmt: skip
        if not seen:
            return None
        first = first_of(life, p.seg, traded, watched, self.now)
        fill = first.bar.open if first.at_open else first.price
        return first.outcome, first.price, fill

    def trigger(self, p: Position, price: float) -> None:
        opening = self.traded.open * self.g
        tau = opening if p.s * opening <= p.s * price else price
        self.liquidate(p, tau, self.base_of(p, tau, self.bar))

    def base_of(self, p: Position, tau: float, bar: int) -> float:
        """Return the price of an order before impact, that triggered at ``tau`` in a bar."""
        if self.rules.fill_price == "last_close":
            return self.history.series["last"][bar].close * self.g
        if self.rules.fill_price == "last_extreme":
            return self.history.series["last"][bar].worst(p.s) * self.g
        return tau

    def move_mark(self, s: int, executed: float) -> None:
        impact = self.impact
        if impact.mark > 0 and executed != 0:
            move = -s * impact.mark * executed
            self.permanent += move * impact.permanent
            self.decaying += move * (1.0 - impact.permanent)
            offset, most = self.permanent + self.decaying, impact.largest_offset
            if abs(offset) > most:
                self.permanent += (most if offset > 0 else -most) - offset

    # one liquidation

    def liquidate(self, p: Position, tau: float, base: float) -> None:
        own = self.venue.procedure
        fresh = p.status != "locked"
        if fresh:
            p.status, p.begun, p.rounds, p.done, p.out = "locked", p.lots, 0, 0.0, False
        if p.spent[0] != self.bar:
            p.spent = (self.bar, 0)
        if not fresh and self.healthy(p.seg, tau):
            return self.release(p)
        rounds_a_bar = int(max(1, self.history.interval // (1000 * own.round_seconds)))
        partial = own.step != "all" and self.notional(p.seg.q, p.seg.E) >= own.partial_from
        endless = False
        while True:
            slack = 1e-10 * self.notional(p.seg.q, tau)
            thin = p.seg.equity(tau, self.now) < own.takeover_below * p.seg.maintenance_margin(tau) - slack
            if own.takeover_below > 0 and thin:
                return self.last_resort(p, tau, base)
            by_tier = partial and own.step == "tier" and own.in_lowest == "last" and self.takes_no_step(p, tau)
            if not endless and (p.out or by_tier or (own.rounds and p.rounds >= own.rounds)):
                if p.seg.equity(tau, self.now) > p.seg.maintenance_margin(tau) + slack:
                    return self.release(p)
                if own.last == "takeover":
                    return self.last_resort(p, tau, base)
                partial, endless = False, True
            if p.spent[1] >= rounds_a_bar:
                return self.waiting[p.s].append(p)
            lots = asked = self.step_lots(p, partial, tau, base)
            if partial and own.slices == "takeover":
                if not self.take_over(p, lots, tau, base):
                    return self.no_room(p, tau, base)
            else:
                notional = self.notional(self.part(p, lots), base)
                if notional > own.order_notional:
                    asked = max(1, cut(lots * (own.order_notional / notional)))
                lots = self.fillable(p, asked, base, endless)
                if lots:
                    self.sell(p, lots, tau, base, limited=True)
            p.rounds += 1
            p.spent = (self.bar, p.spent[1] + 1)
            if p.status == "done" or any(need.who is p for need in self.needs):
                return None
            if lots < asked and not endless and own.order_type != "resting":
                p.out = True
            elif lots == 0 and (endless or own.rounds == 0):
                return self.waiting[p.s].append(p)
            if partial and lots and self.healthy(p.seg, tau):
                return self.release(p)

    def last_resort(self, p: Position, tau: float, base: float) -> None:
        if not self.take_over(p, p.lots, tau, base):
            self.no_room(p, tau, base)

    def fillable(self, p: Position, asked: int, base: float, endless: bool) -> int:
        own = self.venue.procedure
        lots = self.within_room(asked, self.notional(self.part(p, asked), base))
        if endless:
            return lots
        if own.order_limit == "bankruptcy":
            limit = p.s * self.bankrupt_value(p.seg)

            def fits(lots: int) -> bool:
                order = self.notional(self.part(p, lots), base)
                return p.s * self.v(self.impacted(p.s, base, order)) >= limit

            if lots and not fits(lots):
                low, high = 0, lots  # fits, does not fit
                while low + 1 < high:
                    middle = (low + high) // 2
                    low, high = (middle, high) if fits(middle) else (low, middle)
                lots = low
        return 0 if lots < asked and own.order_type == "fill_or_kill" else lots

    def part(self, p: Position, lots: int) -> float:
        return p.seg.q if lots == p.lots else p.seg.q * ratio(lots, p.lots)

    def within_room(self, lots: int, notional: float) -> int:
        return lots if notional <= self.room else cut(lots * (max(self.room, 0.0) / notional))

    def healthy(self, seg: Segment, tau: float) -> bool:
        needed = seg.maintenance_margin(tau)
        if self.venue.procedure.until == "initial":
            needed = max(needed, self.notional(seg.q, tau) / seg.leverage)
        return seg.equity(tau, self.now) > needed + 1e-10 * self.notional(seg.q, tau)

    def step_lots(self, p: Position, partial: bool, tau: float, base: float) -> int:
        wanted = self.partial_lots(p, tau, base) if partial else p.lots
        return p.lots if p.share * ratio(p.lots - wanted, p.lots) < 0.001 else wanted

    def partial_lots(self, p: Position, tau: float, base: float) -> int:
        own, lots = self.venue.procedure, p.lots
        if own.step == "fraction":
            return min(lots, max(1, math.ceil(p.begun * exact(own.step_fraction))))
        least = math.ceil(Fraction(p.begun, 1000))
        if own.step == "tier":
            return min(lots, max(self.tier_lots(p, tau), least))
        for wanted in self.bisected(lots):
            answer = self.healthy(self.after_closing(p, wanted, base), tau)
            self.answers.append(answer)
        return min(lots, max(self.answers.pop(), least))

    def bisected(self, lots: int) -> Any:
        """Yield trial quantities, reading the last answer, and leave the fewest that heal as the last answer."""
        self.answers: list[Any] = []
        low, high = 1, lots
        while low < high:
            middle = (low + high) // 2
            yield middle
            if self.answers.pop():
                high = middle
            else:
                low = middle + 1
        self.answers.append(low)

    def after_closing(self, p: Position, lots: int, base: float) -> Segment:
        closed = p.seg.q * ratio(lots, p.lots)
        margin = (p.seg.M - p.seg.payment(self.now)) + self.pnl(p.s, closed, p.seg.E, base)
        margin -= self.venue.procedure.liquidation_fee_rate * self.notional(closed, base)
        return replace(p.seg, q=p.seg.q * (ratio(p.lots - lots, p.lots)), M=margin, F_e=self.now)

    def size_in_table(self, p: Position, tau: float) -> float:
        table = p.seg.table
        if table.model == "marginal" and p.seg.constant is None:
            return self.notional(p.seg.q, tau)
        return p.seg.q / table.contract_size if table.size == "contracts" else self.notional(p.seg.q, p.seg.E)

    def tier(self, p: Position, tau: float) -> int:
        table, size = p.seg.table, self.size_in_table(p, tau)
        reached = [k for k, floor in enumerate(table.floors)
                   if size > floor or (size == floor and table.boundary == "higher")]  # fmt: skip
        return max([0, *reached])

    def takes_no_step(self, p: Position, tau: float) -> bool:
        return p.seg.table.model == "leverage" or self.tier(p, tau) < self.venue.procedure.whole_tiers

    def tier_lots(self, p: Position, tau: float) -> int:
        if self.takes_no_step(p, tau):
            return p.lots
        table, goal = p.seg.table, max(0, self.tier(p, tau) - self.venue.procedure.tier_step)
        kept = cut(p.lots * (float(table.floors[goal + 1]) / self.size_in_table(p, tau)) * (1.0 - 1e-12))
        return min(p.lots, max(1, p.lots - max(kept, 0)))

    def release(self, p: Position) -> None:
        p.status, p.start = "held", self.bar
        if not self.venue.procedure.restore_orders:
            p.stop = p.target = None

    def impacted(self, s: int, base: float, notional: float) -> float:
        impact, before, volume = self.impact, self.executed[s], self.volume[self.bar]
        move = impact.linear * (before + 0.5 * notional)
        if impact.square_root > 0 and volume > 0 and notional > 0:
            after = before + notional
            spread = (after * math.sqrt(after) - before * math.sqrt(before)) / (notional * math.sqrt(volume))
            move += impact.square_root * (2.0 / 3.0) * spread
        if move == 0:
            return base
        price = base * (1.0 - s * min(move, 0.9))
        return min(max(price, 0.0), 1.0) if self.kind == "face_value" else price

    def bearable(self, lots: int, short: int) -> int:
        fund = self.cash["fund"]
        if self.dropped:
            return 0
        return lots if short <= fund else cut(Fraction(lots * fund, short))

    def sell(self, p: Position, lots: int, tau: float, base: float, limited: bool) -> None:
        order = self.notional(self.part(p, lots), base)
        price = self.impacted(p.s, base, order)
        sold = lots
        if limited and self.deleveraging and lots == p.lots:
            paid = self.units((p.s * p.seg.q) * (self.now - p.seg.F_e))
            left = p.balance - paid + self.units((p.s * p.seg.q) * self.v(price))
            if left < 0:
                sold = self.bearable(lots, -left)
                if sold < lots:
                    if sold > 0:
                        order *= ratio(sold, lots)
                    borne = min(self.cash["fund"], round(Fraction(-left * sold, lots)))
                    self.post("fund", "traders", borne)
                    p.fund_effect -= borne
                    p.balance += borne
                    p.seg.M += borne / self.unit
        if sold:
            q = self.part(p, sold)
            notional = self.trade(p, sold, price, self.units((p.s * q) * self.v(price)), "market")
            p.filled += q
            self.executed[p.s] += notional
            self.room -= order
            self.liquidation_fee(p, notional, tau, price)
        if sold < lots:
            self.need(p, lots - sold, tau, base)
        elif p.lots == 0:
            self.settle(p, 0)

    def trade(self, p: Position, lots: int, price: float, received: int, account: str) -> float:
        q, notional = self.part(p, lots), self.notional(self.part(p, lots), price)
        self.pay_funding(p, self.now)
        self.post(account, "traders", received)
        p.balance += received
        p.equity = p.seg.equity(price, self.now)
        if p.done == 0:
            p.fill_price, p.fill_notional = price, notional
        else:
            p.fill_price = (p.fill_price * p.done + price * q) / (p.done + q)
            p.fill_notional += notional
        p.done += q
        if lots < p.lots:
            margin = (p.seg.M - p.seg.payment(self.now)) + self.pnl(p.s, q, p.seg.E, price)
            p.share *= ratio(p.lots - lots, p.lots)
            p.seg = replace(p.seg, M=margin, q=p.seg.q * ratio(p.lots - lots, p.lots), F_e=self.now)
        else:
            p.seg.F_e = self.now
        p.lots -= lots
        return notional

    def liquidation_fee(self, p: Position, notional: float, tau: float, price: float) -> None:
        own = self.venue.procedure
        left = min(p.seg.equity(tau, self.now), p.seg.equity(price, self.now))
        available = p.balance if p.lots == 0 else cut(left * self.unit)
        beyond = own.liquidation_fee_beyond_margin
        if own.liquidation_fee_rate > 0 and (available > 0 or beyond):
            fee = self.units(own.liquidation_fee_rate * notional)
            fee = fee if beyond else min(fee, available)
            share = self.share(fee, own.fee_fund_share)
            self.post("traders", "fund", share)
            self.post("traders", "fees", fee - share)
            p.balance -= fee
            p.fees += fee
            p.fund_effect += share
            p.seg = replace(p.seg, M=p.seg.M - fee / self.unit) if p.lots else p.seg

    def settle(self, p: Position, bearable: int) -> None:
        left, rule = p.balance, self.venue.remainder
        if left < 0:
            self.cover(p, -left, bearable)
        elif left > 0 and rule != "returned":
            own = left if rule == "fund" else self.share(left, self.venue.procedure.remainder_fund_share)
            self.post("traders", "fund", own)
            if rule == "shared":
                self.post("traders", "backstop", left - own)
            p.fund_effect += own
            p.balance = 0
        self.conclude(p, "liquidated")

    def conclude(self, p: Position, outcome: str) -> None:
        p.pocket += p.balance
        p.balance, p.outcome, p.status, p.time = 0, outcome, "done", self.history.times[self.bar]

    def cover(self, p: Position, amount: int, bearable: int) -> None:
        borne = min(amount, bearable)
        self.post("backstop", "traders", borne)
        paid = min(amount - borne, self.cash["fund"])
        self.post("fund", "traders", paid)
        p.fund_effect -= paid
        left = amount - borne - paid
        if left > 0 and self.venue.procedure.clawback:
            left = self.claw_back(p, left)
        self.post("deficit", "traders", left)
        p.balance += amount

    def claw_back(self, loser: Position, amount: int) -> int:
        def profit(p: Position) -> int:
            return cut(self.pnl(p.s, p.seg.q, p.seg.E, self.mark) * self.unit)

        others = (p for p in self.positions if p.status == "held" and p is not loser)
        winners = sorted((p for p in others if profit(p) > 0), key=lambda p: p.id)
        total, left = sum(map(profit, winners)), amount
        for p in winners:
            own = profit(p)
            taken = apportioned(left, own, total)
            total -= own
            left -= taken
            p.balance -= taken
            p.clawed += taken
            p.seg = replace(p.seg, M=p.seg.M - taken / self.unit)
        return left

    # takeover

    def bankrupt_value(self, seg: Segment) -> float:
        return (self.v(seg.E) - seg.M / (seg.s * seg.q)) + (self.now - seg.F_e)

    def takeover_value(self, seg: Segment, tau: float) -> float:
        s, bankrupt, fee = seg.s, self.bankrupt_value(seg), seg.contract.closing_fee_rate
        if self.venue.takeover_price == "bankruptcy" and not seg.contract.margin_includes_closing_fee:
            return self.possible(bankrupt)
        if self.venue.takeover_price == "backstop":
            return self.possible(self.v(tau * (1.0 - s * self.venue.takeover_discount)))
        if self.kind == "inverse":
            return self.possible(bankrupt / (1.0 + s * fee))
        return self.possible(bankrupt + s * fee if self.kind == "face_value" else bankrupt / (1.0 - s * fee))

    def possible(self, value: float) -> float:
        """Return a value kept to prices there can be: at least zero, odds at most one."""
        if self.kind == "inverse":
            return min(value, 0.0)
        return min(max(value, 0.0), 1.0 if self.kind == "face_value" else math.inf)

    def take_over(self, p: Position, lots: int, tau: float, base: float) -> bool:
        own, seg = self.venue.procedure, p.seg
        at, taken = self.takeover_value(seg, tau), lots
        if own.inventory == "backstop":
            whole = self.notional(self.part(p, lots), tau)
            room = self.backstop_room
            if whole > room:
                taken = cut(lots * (max(room, 0.0) / whole))
            self.backstop_room = room - whole * ratio(taken, lots)
        if taken:
            q = self.part(p, taken)
            received = self.units((p.s * q) * at)
            if taken == p.lots and at == self.bankrupt_value(seg):
                received = self.units((p.s * seg.q) * (self.now - seg.F_e)) - p.balance
            notional = self.trade(p, taken, self.price_of(at), received, "backstop")
            p.taken += q
            self.inventory[p.s].lots += taken
            self.inventory[p.s].cost += received
            self.liquidation_fee(p, notional, tau, self.price_of(at))
            if p.lots == 0:
                dev = self.units(own.backstop_deviation * notional) if own.inventory == "backstop" else 0
                self.settle(p, dev)
            if own.unwind == "at_once":
                self.unwind(p.s, taken, base)
        return taken == lots

    def no_room(self, p: Position, tau: float, base: float) -> None:
        if self.deleveraging:
            self.need(p, p.lots, tau, base)
        else:
            self.waiting[p.s].append(p)

    def need(self, p: Position, lots: int, tau: float, base: float) -> None:
        bankrupt = self.bankrupt_value(p.seg)
        at = {
            "bankruptcy": self.possible(bankrupt),
            "mark": self.v(tau),
            "takeover": self.takeover_value(p.seg, tau),
        }[self.venue.procedure.adl_price]
        own = self.venue.procedure
        if own.adl_price == "bankruptcy" and abs(self.price_of(at) - tau) > own.adl_mark_beyond * tau:
            at = self.v(tau)
        self.needs.append(Need(p, lots, at, base, at == bankrupt))

    def unwind(self, s: int, lots: int, base: float) -> None:
        held = self.inventory[s]
        whole = self.notional(held.lots * self.lot, base)
        lots = min(lots, self.within_room(held.lots, whole))
        if lots <= 0:
            return
        price = self.impacted(s, base, self.notional(lots * self.lot, base))
        loss, sold = -self.gain_of_inventory(s, lots, price), lots
        if self.venue.procedure.inventory == "fund" and self.deleveraging and loss > 0:
            sold = self.bearable(lots, loss)
        if sold < lots:
            at = (held.cost / (s * (held.lots * self.lot))) / self.unit
            before = lots - sold
            if self.needs and self.needs[-1].who is None:
                before += self.needs.pop().lots
            self.needs.append(Need(None, before, at, base, False))
        if sold:
            self.sell_inventory(s, sold, base, price)

    def gain_of_inventory(self, s: int, lots: int, price: float) -> int:
        held = self.inventory[s]
        return self.units((s * (lots * self.lot)) * self.v(price)) - round(Fraction(held.cost * lots, held.lots))

    def sell_inventory(self, s: int, lots: int, base: float, price: float) -> None:
        held, gain = self.inventory[s], self.gain_of_inventory(s, lots, price)
        part = round(Fraction(held.cost * lots, held.lots))
        self.post("market", "backstop", gain + part)
        held.lots -= lots
        held.cost -= part
        self.settle_inventory(gain)
        self.executed[s] += self.notional(lots * self.lot, price)
        self.room -= self.notional(lots * self.lot, base)

    def settle_inventory(self, gain: int) -> None:
        if self.venue.procedure.inventory == "fund":
            if gain >= 0:
                self.post("backstop", "fund", gain)
            else:
                paid = min(-gain, self.cash["fund"])
                self.post("fund", "backstop", paid)
                self.post("deficit", "backstop", -gain - paid)

    def resume(self) -> None:
        own = self.venue.procedure
        for s in (1, -1):
            waiting, held = self.waiting[s], self.inventory[s].lots
            if not waiting and (held == 0 or own.unwind == "hold"):
                self.after_opening(s, 0.0)
                continue
            opening, before = self.traded.open * self.g, self.executed[s]
            self.waiting[s] = []
            for p in waiting:
                self.liquidate(p, opening, opening)
                if p.status == "held" and p.due:
                    self.leave(p, self.now, self.bar, recorded=False)
            held = self.inventory[s].lots - sum(need.lots for need in self.needs if need.who is None)
            if held > 0 and own.unwind != "hold":
                lots = held
                if own.unwind == "share":
                    whole, most = self.notional(held * self.lot, opening), own.unwind_share * self.volume[self.bar]
                    lots = held if whole <= most else cut(held * (most / whole))
                if lots:
                    self.unwind(s, lots, opening)
            self.pass_on(s, opening)
            self.after_opening(s, self.executed[s] - before)

    def after_opening(self, s: int, executed: float) -> None:
        self.move_mark(s, executed)

    def after(self, what: str, before: dict[int, float]) -> None:
        """Move the mark by what actions, or exits inside the bar, executed of each side."""
        for s in (1, -1):
            self.after_stage(what, s, self.executed[s] - before[s])

    def after_stage(self, what: str, s: int, executed: float) -> None:  # noqa: ARG002
        self.move_mark(s, executed)

    # auto-deleveraging

    def pass_on(self, s: int, mark: float) -> None:
        if not self.needs:
            return
        needs, self.needs = self.needs, []
        wanted = sum(need.lots for need in needs)
        worst = min((need.value for need in needs), key=lambda value: -s * value)
        remaining = list(needs)
        for p, lots in self.shares(self.candidates(s, mark, worst), wanted):
            self.match(p, lots, remaining, s)
        for need in sorted(remaining, key=lambda need: s * need.value):  # each by itself, at its own price
            if need.value != worst:
                for p, lots in self.shares(self.candidates(s, mark, need.value), need.lots):
                    self.match(p, lots, [need], s)
        for need in needs:
            if need.who is None:
                if need.lots:
                    price = self.impacted(s, need.base, self.notional(need.lots * self.lot, need.base))
                    self.sell_inventory(s, need.lots, need.base, price)
            elif need.who.lots == 0:
                self.settle(need.who, 0)
            elif need.who.status == "locked":
                self.sell(need.who, need.who.lots, mark, need.base, limited=False)

    def candidates(self, s: int, mark: float, worst: float) -> list[tuple[float, Position]]:
        held = [p for p in self.positions if p.status == "held" and p.s == -s]
        scored = [(score, p) for p in held if (score := self.score(p, mark, worst)) is not None]
        return sorted(scored, key=lambda entry: (-entry[0], entry[1].id))

    def score(self, p: Position, mark: float, worst: float) -> float | None:
        own, seg = self.venue.procedure, p.seg
        gain, profit = p.s * (worst - self.v(seg.E)), self.pnl(p.s, seg.q, seg.E, mark)
        equity = seg.equity(mark, self.now)
        if equity <= 0 or (seg.M + seg.q * gain) - seg.payment(self.now) <= 0:
            return None
        if own.adl_profit_required and (gain <= 0 or profit <= 0):
            return None
        notional = self.notional(seg.q, mark)
        leverage, share = notional / equity, profit / self.notional(seg.q, seg.E)
        ranks = {
            "profit_leverage": share * leverage,
            "binance": (max(0.0, profit) / max(1.0, seg.M)) * (seg.maintenance_margin(mark) / equity),
            "bitmex": share * leverage if share >= 0 else share / leverage,
            "size": notional,
            "top_ten": notional,
            "random": shuffled(p.id, self.seed),
            "water_filling": leverage,
            "pro_rata": 0.0,
        }
        return ranks[own.adl_rank]

    def shares(self, scored: list[tuple[float, Position]], wanted: int) -> list[tuple[Position, int]]:
        rank = self.venue.procedure.adl_rank
        if rank == "water_filling":
            return water(scored, wanted)
        group = {"pro_rata": max(len(scored), 1), "top_ten": 10}.get(rank, 1)
        given, left = [], wanted
        for first in range(0, len(scored), group):
            members = [p for _, p in scored[first : first + group]]
            total = sum(p.lots for p in members)
            goal = min(left, total)
            left -= goal
            for p in members:
                lots = apportioned(goal, p.lots, total)
                total -= p.lots
                goal -= lots
                given.append((p, lots))
            if left <= 0:
                break
        return given

    def match(self, c: Position, lots: int, needs: list[Need], s: int) -> None:
        if lots <= 0:
            return
        while lots > 0:
            need = needs[0]
            taken = min(lots, need.lots)
            received = self.units((s * (taken * self.lot)) * need.value)
            if need.who is not None:
                who = need.who
                if taken == who.lots and need.bankrupt:
                    received = self.units((s * who.seg.q) * (self.now - who.seg.F_e)) - who.balance
                who.deleveraged += self.part(who, taken)
                self.trade(who, taken, self.price_of(need.value), received, "traders")
            else:
                held = self.inventory[s]
                part = round(Fraction(held.cost * taken, held.lots))
                self.post("traders", "backstop", received)
                held.lots -= taken
                held.cost -= part
                self.settle_inventory(received - part)
            self.give(c, taken, need.value, received)
            self.adl.append((None if need.who is None else need.who.id, c.id, taken))
            lots -= taken
            need.lots -= taken
            if need.lots == 0:
                needs.pop(0)
        if c.lots == 0:
            c.fill_price, c.fill_notional, c.equity = c.given
            self.conclude(c, "deleveraged")

    def give(self, c: Position, lots: int, at: float, paid_in: int) -> None:
        kept_part, closed = ratio(c.lots - lots, c.lots), self.part(c, lots)
        mean, notional, equity = c.given
        price, before = self.price_of(at), c.deleveraged
        gain = (c.s * closed) * (at - self.v(c.seg.E))
        c.given = (
            (mean * before + price * closed) / (before + closed) if before > 0 else price,
            notional + self.notional(closed, price),
            equity + ((c.seg.M * (closed / c.seg.q) + gain) - (c.s * closed) * (self.now - c.seg.F_e)),
        )
        funding = self.units((c.s * closed) * (self.now - c.seg.F_e))
        self.post("traders", "market", funding)
        kept = round(Fraction(c.balance * (c.lots - lots), c.lots))
        c.pocket += ((c.balance - kept) - paid_in) - funding
        c.balance = kept
        c.deleveraged += closed
        if lots < c.lots:
            c.share *= kept_part
            c.seg = replace(c.seg, M=c.seg.M * kept_part, q=c.seg.q * kept_part)
        c.lots -= lots


def water(scored: list[tuple[float, Position]], wanted: int) -> list[tuple[Position, int]]:
    over = level = 0.0
    lots_sum = size = 0
    for leverage, p in scored:
        lots_sum += p.lots
        over += p.lots / leverage
        level = (lots_sum - wanted) / over
        size += 1
        if size < len(scored) and level >= scored[size][0]:
            break
    total, given = sum(p.lots for _, p in scored[:size]), []
    level, left = max(level, 0.0), min(wanted, total)
    for leverage, p in scored[:size]:
        share = round(p.lots * max(0.0, 1.0 - level / leverage))
        lots = max(min(share, p.lots, left), min(left, left - (total - p.lots)), 0)
        total -= p.lots
        left -= lots
        given.append((p, lots))
    return given


def apportioned(left: int, own: int, total: int) -> int:
    share = round(Fraction(left * own, total)) if total > 0 else 0
    return max(min(share, own, left), min(left, left - (total - own)), 0)


def shuffled(identity: int, seed: int) -> float:
    mixed = (identity * 2654435761 + seed * 40503 + 12345) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 73244475) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 14)) * 73244475) & 0x7FFFFFFF
    return (mixed ^ (mixed >> 15)) / 2147483648.0


def first_of(life: Life, seg: Segment, traded: Any, watched: Any, funding: float) -> Any:
    """Return what comes first in a bar, by the rules of a sweep."""
    from reference import nearer_of_stop_and_liquidation, place_on_path

    events = life.events(seg, traded, watched, funding)
    at_open = [event for event in events if event.at_open]
    if at_open:
        return at_open[0]
    if life.rules.trigger_series == life.rules.stop_series:
        events = nearer_of_stop_and_liquidation(events, seg.s)
    if len(events) > 1 and life.rules.hidden.intrabar == "path":
        return min(events, key=place_on_path)
    return events[0 if life.rules.hidden.intrabar == "pessimistic" else -1]


def reference_replay(
    positions: pl.DataFrame,
    adjustments: pl.DataFrame | None,
    bars: pl.DataFrame,
    funding: pl.DataFrame | None,
    venue: Any,
    *,
    impact: Any,
    fund: float,
    lot: float,
    gap_limit_ms: int | None,
    fill_price: str = "liquidation_price",
    intrabar: str = "pessimistic",
    exit_bar: str = "untested",
    trigger_price: str | None = None,
    stop_trigger: str | None = None,
    tiers: Any = "strict",
    seed: int = 0,
    made: Any = World,
) -> World:
    """Return the world of one symbol after its last bar; ``made`` makes it."""
    symbol = bars["symbol"][0]
    contract = venue.contracts.get(symbol, venue.default)
    stops = stop_trigger or ("last" if "last_open" in bars.columns else "mark")
    triggers = trigger_price or venue.trigger_price
    hidden = Hidden(False, exit_bar == "tested", intrabar)
    rules = Rules(gap_limit_ms, triggers, stops, fill_price, hidden, True, venue.release)
    history = History(rows_of(bars, symbol), rows_of(funding, symbol), contract.kind)
    unit = 1e10 if contract.kind == "inverse" else 1e6
    closes = bars["close"].to_list()
    volume = bars["volume"].to_list() if "volume" in bars.columns else [0.0] * bars.height
    if contract.kind == "linear":
        volume = [amount * close for amount, close in zip(volume, closes, strict=True)]
    world = made(history, venue, impact, rules, contract.kind, unit, lot, volume, closes, seed)
    world.sums = [0.0] * len(history.sums)
    world.charges = history.amounts
    world.cash = dict.fromkeys(("traders", "market", "fees", "backstop", "deficit"), 0)
    world.cash |= {"fund": round(fund * unit), "owners": -round(fund * unit)}
    changes = changes_of(adjustments)
    for row in in_milliseconds(positions).iter_rows(named=True):
        seg = first_segment(row, contract, table_for(contract, symbol, row["entry_time"], tiers), history)
        life = Life(row, changes.get(row["position_id"], []), history, rules)
        if venue.tiers_apply == "always":
            life = life._replace(tables=tables_after(contract, symbol, row["entry_time"], tiers))
        world.positions.append(
            Position(row["position_id"], row, int(seg.s), seg, life, round(seg.q / lot), 0,
                     stop=row.get("stop_price"), target=row.get("take_profit_price"))
        )  # fmt: skip
        if seg.could_not_open():
            p = world.positions[-1]
            p.status, p.outcome, p.entered = "rejected", "rejected", (None, None)
    for bar in range(len(history.times)):
        world.step(bar)
    for p in world.positions:
        if p.status in ("held", "locked"):
            p.outcome = "reduced" if p.filled + p.taken > 0 else "open"
            last = len(history.times) - 1
            F = world.funding_in_bar(last) if p.start <= last else p.seg.F_e
            world.pay_funding(p, F)
    return world
