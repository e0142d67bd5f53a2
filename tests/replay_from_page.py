"""A simulator written from docs/replay.md and docs/model.md alone, which shares code with nothing.

It covers one symbol with bars of the mark price, marginal tiers, stops and planned exits at openings. Money is
whole units; quantities are lots times a fixed size. What float64 rounds may differ in the last digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

LONG, SHORT = 1, -1


def decimal(share: float) -> Fraction:
    """A share that is a setting: the nearest ratio of whole numbers up to 1e9."""
    return Fraction(share).limit_denominator(10**9)


@dataclass(eq=False)
class Trader:
    id: int
    side: int
    lots: int
    per_lot: float
    entry: float
    margin: float
    leverage: float
    enters: int
    exits: int | None
    stop: float | None
    state: str = "away"  #: away, held, chosen, locked, gone
    outcome: str = "open"
    entry_funding: float = 0.0
    balance: int = 0
    pocket: int = 0
    fees: int = 0
    to_fund: int = 0
    clawed: int = 0
    at_trigger: int = 0
    full: int = 0  #: lots as entered
    rounds_used: int = 0
    no_rounds: bool = False
    bar_rounds: tuple[int, int] = (-1, 0)
    sold: int = 0
    taken: int = 0
    given: int = 0
    triggered_in: int = -1

    @property
    def quantity(self) -> float:
        return self.lots * self.per_lot

    @property
    def signed(self) -> float:
        return self.side * self.quantity


@dataclass(eq=False)
class Residual:
    owner: Trader | None  #: None: inventory
    lots: int
    worth: float  #: value of a unit of quantity at its price
    start: float
    exact: bool  #: at the bankruptcy price: the last of its lots brings its balance to zero


@dataclass
class Simulator:
    inverse: bool
    rates: list[float]
    floors: list[float]
    rules: Any
    impact: Any
    remainder: str
    takeover_price: str
    discount: float
    minutes: int
    bars: list[tuple[float, float, float, float]]
    volume: list[float]
    stamps: dict[int, float]
    traders: list[Trader]
    fund_at_start: float
    closing_fee: float = 0.0
    accounts: dict[str, int] = field(default_factory=dict)
    matches: list[tuple[int | None, int]] = field(default_factory=list)
    triggered: list[dict[int, float]] = field(default_factory=list)

    # --- values

    @property
    def unit(self) -> float:
        return 1e10 if self.inverse else 1e6

    def value(self, price: float) -> float:
        return -1 / price if self.inverse else price

    def price(self, worth: float) -> float:
        if not self.inverse:
            return worth
        return -1 / worth if worth < 0 else math.inf

    def notional(self, quantity: float, price: float) -> float:
        return quantity * abs(self.value(price))

    def money(self, amount: float) -> int:
        return round(amount * self.unit)

    def move(self, giver: str, taker: str, amount: int) -> None:
        self.accounts[giver] -= amount
        self.accounts[taker] += amount

    def amounts(self) -> list[float]:
        found = [0.0]
        for tier in range(1, len(self.rates)):
            found.append(found[-1] + self.floors[tier] * (self.rates[tier] - self.rates[tier - 1]))
        return found

    def funding_due(self, t: Trader) -> float:
        return t.signed * (self.funding - t.entry_funding)

    def equity(self, t: Trader, price: float) -> float:
        gain = t.signed * (self.value(price) - self.value(t.entry))
        return t.margin + gain - self.funding_due(t)

    def maintenance(self, quantity: float, price: float) -> float:
        worth = self.notional(quantity, price)
        return max(r * worth - a for r, a in zip(self.rates, self.amounts(), strict=True))

    def needed(self, t: Trader, price: float) -> float:
        return self.maintenance(t.quantity, price)

    def liquidation_price(self, t: Trader) -> float:
        u = -1 if self.inverse else 1
        worths = [
            (t.signed * self.value(t.entry) + self.funding_due(t) - t.margin - a) / (t.quantity * (t.side - u * r))
            for r, a in zip(self.rates, self.amounts(), strict=True)
        ]
        worth = max(worths) if t.side == LONG else min(worths)
        if not self.inverse:
            return worth
        return -1 / worth if worth < 0 else math.inf

    def bankrupt(self, t: Trader) -> float:
        return self.value(t.entry) - t.margin / t.signed + (self.funding - t.entry_funding)

    def possible(self, worth: float) -> float:
        return min(worth, 0.0) if self.inverse else max(worth, 0.0)

    def takeover_worth(self, t: Trader, tau: float) -> float:
        if self.takeover_price == "backstop":
            return self.possible(self.value(tau * (1 - t.side * self.discount)))
        return self.possible(self.bankrupt(t))

    # --- the run

    def run(self) -> Simulator:
        names = ("traders", "market", "fund", "fees", "backstop", "deficit", "owners")
        self.accounts = dict.fromkeys(names, 0)
        self.move("owners", "fund", self.money(self.fund_at_start))
        self.lasting = self.fading = 0.0
        self.funding = 0.0
        self.pool: list[Residual] = []
        self.pending: dict[int, list[Trader]] = {LONG: [], SHORT: []}
        self.stock = {LONG: 0, SHORT: 0}
        self.cost = {LONG: 0, SHORT: 0}
        self.lot = self.traders[0].per_lot if self.traders else 1.0
        self.fell = False
        self.seen: list[tuple[int, int]] = []
        for number in range(len(self.bars)):
            self.bar(number)
        for t in self.traders:
            if t.state in ("held", "locked"):
                t.outcome = "reduced" if t.sold + t.taken else "open"
                self.pay_funding(t)
        return self

    @property
    def factor(self) -> float:
        return math.exp(self.lasting + self.fading)

    @property
    def offset(self) -> float:
        return self.lasting + self.fading

    def bar(self, number: int) -> None:
        self.number = number
        opening, high, low, _ = self.bars[number]
        if number:
            self.fading *= 0.5 ** (60 * self.minutes / self.impact.half_life_seconds)
        if number in self.stamps:
            self.funding += self.stamps[number] * abs(self.value(opening * self.factor))
        self.done = {LONG: 0.0, SHORT: 0.0}
        self.turnover = self.volume[number]
        self.room = self.impact.participation * self.turnover if self.impact.participation < math.inf else math.inf
        self.capacity = self.rules.backstop_capacity * self.minutes / 60
        self.last_mark = opening * self.factor
        self.triggered.append({LONG: 0.0, SHORT: 0.0})
        self.watch_fund()
        for side in (LONG, SHORT):
            self.open_side(side)
        for t in sorted(self.traders, key=lambda t: t.id):
            if t.enters == number:
                self.enter(t)
        for t in sorted(self.traders, key=lambda t: t.id):
            if t.exits == number and t.state == "held":
                self.close(t, opening * self.factor, "exited")
        low_first = opening - low < high - opening
        for side in (LONG, SHORT) if low_first else (SHORT, LONG):
            self.cross(side)

    def watch_fund(self) -> None:
        if self.rules.adl_trigger != "fund_drop":
            return
        now = self.number * self.minutes
        self.seen.append((now, self.accounts["fund"]))
        recent = [fund for time, fund in self.seen if time >= now - self.rules.adl_hours * 60]
        highest, drop = max(recent), decimal(self.rules.adl_drop)
        self.fell = highest > 0 and highest - self.accounts["fund"] >= drop * highest

    def enter(self, t: Trader) -> None:
        f = self.factor
        t.entry, t.margin = t.entry * f, t.margin / f if self.inverse else t.margin * f
        t.stop = None if t.stop is None else t.stop * f
        t.entry_funding, t.state, t.full = self.funding, "held", t.lots
        cost = self.money(t.signed * self.value(t.entry))
        t.pocket, t.balance = -self.money(t.margin), self.money(t.margin) - cost
        self.move("traders", "market", cost)
        self.trading_fee(t, t.entry)

    def trading_fee(self, t: Trader, price: float) -> None:
        fee = self.money(self.rules.trading_fee_rate * self.notional(t.quantity, price))
        share = math.floor(fee * decimal(self.rules.trading_fee_fund_share))
        self.move("traders", "fund", share)
        self.move("traders", "fees", fee - share)
        t.pocket -= fee
        t.fees += fee
        t.to_fund += share

    def pay_funding(self, t: Trader) -> None:
        due = self.money(self.funding_due(t))
        self.move("traders", "market", due)
        t.balance -= due

    def close(self, t: Trader, price: float, outcome: str) -> None:
        self.pay_funding(t)
        received = self.money(t.signed * self.value(price))
        self.move("market", "traders", received)
        t.balance += received
        self.trading_fee(t, price)
        t.lots = 0
        if t.balance < 0:
            self.cover(t, 0)
        self.finish(t, outcome)

    def finish(self, t: Trader, outcome: str) -> None:
        t.pocket += t.balance
        t.balance, t.state, t.outcome = 0, "gone", outcome

    # --- openings and waves

    def open_side(self, side: int) -> None:
        opening, before = self.bars[self.number][0] * self.factor, self.done[side]
        waiting, self.pending[side] = self.pending[side], []
        for t in waiting:
            self.liquidate(t, opening)
            if t.state == "held" and t.exits is not None and t.exits < self.number:
                self.close(t, opening, "exited")
        free = self.stock[side] - sum(r.lots for r in self.pool if r.owner is None)
        if free and self.rules.unwind != "hold":
            lots, worth = free, self.notional(free * self.lot, opening)
            if self.rules.unwind == "share" and worth > self.rules.unwind_share * self.turnover:
                lots = math.floor(free * (self.rules.unwind_share * self.turnover / worth))
            self.sell_stock(side, lots, opening)
        self.pass_on(side, opening)
        self.shift(side, self.done[side] - before)

    def shift(self, side: int, executed: float) -> None:
        if self.impact.mark and executed:
            move = -side * self.impact.mark * executed
            self.lasting += self.impact.permanent * move
            self.fading += (1 - self.impact.permanent) * move
            most = self.impact.largest_offset
            if abs(self.offset) > most:
                self.lasting += math.copysign(most, self.offset) - self.offset

    def extreme(self, side: int) -> float:
        _, high, low, _ = self.bars[self.number]
        return (low if side == LONG else high) * self.factor

    def event(self, t: Trader) -> tuple[str, float] | None:
        """What the bar's extreme does to a position on its own side, and at which price of the position's."""
        end, opening = self.extreme(t.side), self.bars[self.number][0] * self.factor
        liquidated = self.equity(t, end) <= self.needed(t, end)
        stopped = t.stop is not None and t.side * end <= t.side * t.stop
        if not liquidated and not stopped:
            return None
        at = self.liquidation_price(t) if liquidated else math.nan
        if liquidated:
            at = t.side * max(t.side * at, t.side * end)
        if liquidated and stopped:
            if t.side * opening <= t.side * at:  # at the open a liquidation comes first
                return "liquidated", at
            stopped = t.side * t.stop > t.side * at
            return ("stopped", t.stop) if stopped else ("liquidated", at)
        return ("liquidated", at) if liquidated else ("stopped", t.stop)

    def cross(self, side: int) -> None:
        waves = 0
        while True:
            wave = [(t, e) for t in self.traders if t.side == side and t.state == "held" and (e := self.event(t))]
            if not wave or (self.impact.waves and waves == self.impact.waves):
                break
            for t, _ in wave:
                t.state = "chosen"
            before, opening = self.done[side], self.bars[self.number][0] * self.factor
            for t, (what, at) in sorted(wave, key=self.turn):
                t.state = "held"
                price = opening if side * opening <= side * at else at
                if what == "stopped":
                    self.close(t, price, "stopped")
                    continue
                if t.triggered_in != self.number:
                    self.triggered[-1][side] += self.notional(t.quantity, price)
                    t.triggered_in = self.number
                self.liquidate(t, price)
            waves += 1
            self.shift(side, self.done[side] - before)
        before = self.done[side]
        if self.pool:
            self.last_mark = self.extreme(side)
            self.pass_on(side, self.last_mark)
        self.shift(side, self.done[side] - before)

    def turn(self, entry: Any) -> Any:
        t, (what, at) = entry
        if what == "stopped":
            return (0, 0.0, t.id)
        key = {"price": -t.side * at, "largest": -self.notional(t.quantity, at), "id": 0.0}[self.impact.order]
        return (1, key, t.id)

    # --- one liquidation

    def healthy(self, t: Trader, tau: float) -> bool:
        return self.exceeds(self.equity(t, tau), self.required(t.quantity, t.leverage, tau), t.quantity, tau)

    def exceeds(self, equity: float, needed: float, quantity: float, tau: float) -> bool:
        return equity - needed > 1e-10 * self.notional(quantity, tau)

    def required(self, quantity: float, leverage: float, tau: float) -> float:
        needed = self.maintenance(quantity, tau)
        if self.rules.until == "initial":
            needed = max(needed, self.notional(quantity, tau) / leverage)
        return needed

    def release(self, t: Trader) -> None:
        t.state = "held"
        if not self.rules.restore_orders:
            t.stop = None

    def liquidate(self, t: Trader, tau: float) -> None:
        rules, fresh = self.rules, t.state != "locked"
        if fresh:
            t.state, t.at_trigger, t.rounds_used, t.no_rounds = "locked", t.lots, 0, False
        elif self.healthy(t, tau):
            return self.release(t)
        if t.bar_rounds[0] != self.number:
            t.bar_rounds = (self.number, 0)
        in_a_bar = max(1, int(60 * self.minutes // rules.round_seconds))
        steps = rules.step != "all" and self.notional(t.quantity, t.entry) >= rules.partial_from
        final = False
        while True:
            least = rules.takeover_below * self.needed(t, tau)
            if rules.takeover_below and self.exceeds(least, self.equity(t, tau), t.quantity, tau):
                return self.take_rest(t, tau)
            lowest = steps and rules.step == "tier" and rules.in_lowest == "last" and self.in_lowest(t, tau)
            out = t.no_rounds or lowest or (rules.rounds and t.rounds_used >= rules.rounds)
            if out and not final:
                if self.exceeds(self.equity(t, tau), self.needed(t, tau), t.quantity, tau):
                    return self.release(t)
                if rules.last == "takeover":
                    return self.take_rest(t, tau)
                steps, final = False, True
            if t.bar_rounds[1] >= in_a_bar:
                return self.pending[t.side].append(t)
            lots = asked = self.size(t, tau) if steps else t.lots
            if steps and rules.slices == "takeover":
                if not self.take_over(t, lots, tau):
                    return self.no_room(t, tau)
            else:
                lots, asked = self.fitting(t, lots, tau, final)
                if lots:
                    self.sell(t, lots, tau, tau, cut=True)
            t.rounds_used += 1
            t.bar_rounds = (self.number, t.bar_rounds[1] + 1)
            if t.state == "gone" or any(r.owner is t for r in self.pool):
                return None
            if lots < asked and not final and rules.order_type != "resting":
                t.no_rounds = True
            elif not lots and (final or not rules.rounds):
                return self.pending[t.side].append(t)
            if steps and lots and self.healthy(t, tau):
                return self.release(t)

    def part(self, t: Trader, lots: int) -> float:
        return lots * t.per_lot

    def tier(self, t: Trader, tau: float) -> int:
        size = self.notional(t.quantity, tau)
        return max([0, *(k for k, floor in enumerate(self.floors) if size > floor)])

    def in_lowest(self, t: Trader, tau: float) -> bool:
        return self.tier(t, tau) < self.rules.whole_tiers

    def size(self, t: Trader, tau: float) -> int:
        rules = self.rules
        if rules.step == "fraction":
            wanted = math.ceil(t.at_trigger * decimal(rules.step_fraction))
        elif rules.step == "tier":
            wanted = t.lots
            if not self.in_lowest(t, tau):
                below = max(0, self.tier(t, tau) - rules.tier_step)
                kept = t.lots * self.floors[below + 1] / self.notional(t.quantity, tau) * (1 - 1e-12)
                wanted = t.lots - math.floor(kept)
        else:
            wanted = self.fewest(t, tau)
        if rules.step != "fraction":
            wanted = max(wanted, math.ceil(Fraction(t.at_trigger, 1000)))
        wanted = min(t.lots, max(1, wanted))
        return t.lots if (t.lots - wanted) / t.full < 0.001 else wanted

    def fewest(self, t: Trader, tau: float) -> int:
        low, high = 1, t.lots
        while low < high:
            tried = (low + high) // 2
            closed, rest = self.part(t, tried), self.part(t, t.lots - tried)
            fee = self.rules.liquidation_fee_rate * self.notional(closed, tau)
            gain = t.side * closed * (self.value(tau) - self.value(t.entry))
            margin = t.margin - self.funding_due(t) + gain - fee
            equity = margin + t.side * rest * (self.value(tau) - self.value(t.entry))
            if self.exceeds(equity, self.required(rest, t.leverage, tau), rest, tau):
                high = tried
            else:
                low = tried + 1
        return low

    def fitting(self, t: Trader, lots: int, start: float, final: bool) -> tuple[int, int]:
        """Lots that are filled of an order, and lots of the order."""
        worth = self.notional(self.part(t, lots), start)
        if worth > self.rules.order_notional:
            lots = max(1, math.floor(lots * (self.rules.order_notional / worth)))
        asked, lots = lots, self.in_room(lots, self.notional(self.part(t, lots), start))
        if final:
            return lots, asked
        if lots and self.rules.order_limit == "bankruptcy":
            limit, low, high = t.side * self.bankrupt(t), 0, lots + 1
            while low + 1 < high:
                tried = lots if high > lots else (low + high) // 2
                price = self.impacted(t.side, start, self.notional(self.part(t, tried), start))
                if t.side * self.value(price) >= limit:
                    low = tried
                else:
                    high = tried
            lots = low
        return (0 if lots < asked and self.rules.order_type == "fill_or_kill" else lots), asked

    def in_room(self, lots: int, worth: float) -> int:
        return lots if worth <= self.room else math.floor(lots * (max(self.room, 0.0) / worth))

    def impacted(self, side: int, start: float, order: float) -> float:
        q, v = self.done[side], self.turnover
        move = self.impact.linear * (q + order / 2)
        if self.impact.square_root and v > 0 and order > 0:
            move += self.impact.square_root * 2 / 3 * ((q + order) ** 1.5 - q**1.5) / (order * math.sqrt(v))
        return start * (1 - side * min(move, 0.9))

    def bearable(self, lots: int, cost: int) -> int:
        if self.fell:
            return 0
        return lots if cost <= self.accounts["fund"] else lots * self.accounts["fund"] // cost

    @property
    def adl(self) -> bool:
        return self.rules.adl_trigger != "never"

    def sell(self, t: Trader, lots: int, tau: float, start: float, *, cut: bool) -> None:
        price = self.impacted(t.side, start, self.notional(self.part(t, lots), start))
        sold = lots
        if cut and self.adl and lots == t.lots:
            cost = -(t.balance - self.money(self.funding_due(t)) + self.money(t.signed * self.value(price)))
            if cost > 0:
                sold = self.bearable(lots, cost)
            if sold < lots:
                paid = min(self.accounts["fund"], round(Fraction(cost * sold, lots)))
                self.move("fund", "traders", paid)
                t.balance += paid
                t.to_fund -= paid
                t.margin += paid / self.unit
        if sold:
            received = self.money(t.side * self.part(t, sold) * self.value(price))
            notional = self.notional(self.part(t, sold), price)
            self.room -= self.notional(self.part(t, sold), start)
            self.deal(t, sold, price, received, "market")
            t.sold += sold
            self.done[t.side] += notional
            self.liquidation_fee(t, notional, tau, price)
        if sold < lots:
            self.leave_residual(t, tau, start)
        elif not t.lots:
            self.settle(t, 0)

    def deal(self, t: Trader, lots: int, price: float, received: int, payer: str) -> None:
        """Lots of a position leave at a price, for an amount of money."""
        due = self.funding_due(t)
        self.pay_funding(t)
        self.move(payer, "traders", received)
        t.balance += received
        worth = self.value(price) if price < math.inf else 0.0
        t.margin += t.side * self.part(t, lots) * (worth - self.value(t.entry)) - due
        t.entry_funding = self.funding
        t.lots -= lots

    def liquidation_fee(self, t: Trader, notional: float, tau: float, price: float) -> None:
        left = t.balance
        if t.lots:
            worse = min(self.equity(t, tau), self.equity(t, price) if price < math.inf else math.inf)
            left = math.floor(worse * self.unit)
        fee = self.money(self.rules.liquidation_fee_rate * notional)
        if not self.rules.liquidation_fee_beyond_margin:
            fee = max(0, min(fee, left))
        share = math.floor(fee * decimal(self.rules.fee_fund_share))
        self.move("traders", "fund", share)
        self.move("traders", "fees", fee - share)
        t.balance -= fee
        t.margin -= fee / self.unit
        t.fees += fee
        t.to_fund += share

    def leave_residual(self, t: Trader, tau: float, start: float) -> None:
        bankrupt = self.bankrupt(t)
        worth = {
            "bankruptcy": self.possible(bankrupt), "mark": self.value(tau), "takeover": self.takeover_worth(t, tau)
        }[self.rules.adl_price]  # fmt: skip
        far = abs(self.price(worth) - tau) > self.rules.adl_mark_beyond * tau
        worth = self.value(tau) if self.rules.adl_price == "bankruptcy" and far else worth
        self.pool.append(Residual(t, t.lots, worth, start, worth == bankrupt))

    def settle(self, t: Trader, by_backstop: int) -> None:
        if t.balance < 0:
            self.cover(t, by_backstop)
        elif self.remainder != "returned":
            share = t.balance
            if self.remainder == "shared":
                share = math.floor(t.balance * decimal(self.rules.remainder_fund_share))
                self.move("traders", "backstop", t.balance - share)
            self.move("traders", "fund", share)
            t.to_fund += share
            t.balance = 0
        self.finish(t, "liquidated")

    def cover(self, t: Trader, by_backstop: int) -> None:
        left = -t.balance
        borne = min(left, by_backstop)
        self.move("backstop", "traders", borne)
        paid = min(left - borne, self.accounts["fund"])
        self.move("fund", "traders", paid)
        t.to_fund -= paid
        left -= borne + paid
        if self.rules.clawback:
            left = self.claw_back(t, left)
        self.move("deficit", "traders", left)
        t.balance = 0

    def claw_back(self, loser: Trader, left: int) -> int:
        profits = []
        for t in sorted(self.traders, key=lambda t: t.id):
            gain = math.floor(t.signed * (self.value(self.last_mark) - self.value(t.entry)) * self.unit)
            if t is not loser and t.state == "held" and gain > 0:
                profits.append((t, gain))
        for (t, _), taken in zip(profits, shares([gain for _, gain in profits], left), strict=True):
            t.balance -= taken
            t.margin -= taken / self.unit
            t.clawed += taken
            left -= taken
        return left

    # --- takeovers and inventory

    def take_rest(self, t: Trader, tau: float) -> None:
        if not self.take_over(t, t.lots, tau):
            self.no_room(t, tau)

    def no_room(self, t: Trader, tau: float) -> None:
        if self.adl:
            self.leave_residual(t, tau, tau)
        else:
            self.pending[t.side].append(t)

    def take_over(self, t: Trader, lots: int, tau: float) -> bool:
        worth, taken = self.takeover_worth(t, tau), lots
        backstop = self.rules.inventory == "backstop"
        if backstop:
            notional = self.notional(self.part(t, lots), tau)
            if notional > self.capacity:
                taken = math.floor(lots * (max(self.capacity, 0.0) / notional))
            self.capacity -= notional * taken / lots
        if not taken:
            return False
        price, received = self.price(worth), self.money(t.side * self.part(t, taken) * worth)
        if taken == t.lots and worth == self.bankrupt(t):
            received = self.money(self.funding_due(t)) - t.balance
        notional = self.part(t, taken) * abs(worth)
        self.deal(t, taken, price, received, "backstop")
        t.taken += taken
        self.stock[t.side] += taken
        self.cost[t.side] += received
        self.liquidation_fee(t, notional, tau, price)
        if not t.lots:
            self.settle(t, self.money(self.rules.backstop_deviation * notional) if backstop else 0)
        if self.rules.unwind == "at_once":
            self.sell_stock(t.side, taken, tau)
        return taken == lots

    def sell_stock(self, side: int, lots: int, start: float) -> None:
        """Sell inventory as orders are sold: as far as there is room, and as the fund can bear."""
        lots = min(lots, self.in_room(self.stock[side], self.notional(self.stock[side] * self.lot, start)))
        if lots <= 0:
            return
        price, sold = self.impacted(side, start, self.notional(lots * self.lot, start)), lots
        loss = round(Fraction(self.cost[side] * lots, self.stock[side])) - self.brings(side, lots, price)
        if self.adl and self.rules.inventory == "fund" and loss > 0:
            sold = self.bearable(lots, loss)
        if sold < lots:
            before = self.pool.pop().lots if self.pool and self.pool[-1].owner is None else 0
            average = self.cost[side] / (side * self.stock[side] * self.lot) / self.unit
            self.pool.append(Residual(None, before + lots - sold, average, start, False))
        if sold:
            self.put_on_market(side, sold, start, price)

    def brings(self, side: int, lots: int, price: float) -> int:
        return self.money(side * lots * self.lot * self.value(price))

    def put_on_market(self, side: int, lots: int, start: float, price: float) -> None:
        proceeds = self.brings(side, lots, price)
        self.move("market", "backstop", proceeds)
        self.book_result(side, lots, proceeds)
        self.done[side] += self.notional(lots * self.lot, price)
        self.room -= self.notional(lots * self.lot, start)

    def book_result(self, side: int, lots: int, proceeds: int) -> None:
        cost = round(Fraction(self.cost[side] * lots, self.stock[side]))
        self.stock[side] -= lots
        self.cost[side] -= cost
        if self.rules.inventory == "backstop":
            return
        if proceeds >= cost:
            self.move("backstop", "fund", proceeds - cost)
            return
        paid = min(cost - proceeds, self.accounts["fund"])
        self.move("fund", "backstop", paid)
        self.move("deficit", "backstop", cost - proceeds - paid)

    # --- auto-deleveraging

    def pass_on(self, side: int, mark: float) -> None:
        pool, self.pool = self.pool, []
        if not pool:
            return
        worst = max(side * r.worth for r in pool) * side
        queue = list(pool)
        ranked = self.rank(side, mark, worst)
        for t, lots in self.assigned(ranked, sum(r.lots for r in pool)):
            self.meet(t, lots, queue, side)
        for r in sorted(queue, key=lambda r: side * r.worth):
            if r.worth != worst:
                for t, lots in self.assigned(self.rank(side, mark, r.worth), r.lots):
                    self.meet(t, lots, [r], side)
        for r in pool:
            if r.owner is None:
                if r.lots:
                    price = self.impacted(side, r.start, self.notional(r.lots * self.lot, r.start))
                    self.put_on_market(side, r.lots, r.start, price)
            elif not r.owner.lots:
                self.settle(r.owner, 0)
            else:
                self.sell(r.owner, r.owner.lots, mark, r.start, cut=False)

    def rank(self, side: int, mark: float, worst: float) -> list[tuple[float, Trader]]:
        found = []
        for t in self.traders:
            if t.side == side or t.state != "held":
                continue
            equity, profit = self.equity(t, mark), t.signed * (self.value(mark) - self.value(t.entry))
            at_worst = t.signed * (worst - self.value(t.entry))
            if equity <= 0 or t.margin + at_worst - self.funding_due(t) <= 0:
                continue
            if self.rules.adl_profit_required and (profit <= 0 or at_worst <= 0):
                continue
            notional = self.notional(t.quantity, mark)
            u, leverage = profit / self.notional(t.quantity, t.entry), notional / equity
            score = {
                "profit_leverage": u * leverage,
                "binance": max(0.0, profit) / max(1.0, t.margin) * self.needed(t, mark) / equity,
                "bitmex": u * leverage if u >= 0 else u / leverage,
                "size": notional,
                "top_ten": notional,
                "water_filling": leverage,
                "pro_rata": 0.0,
            }[self.rules.adl_rank]
            found.append((score, t))
        return sorted(found, key=lambda pair: (-pair[0], pair[1].id))

    def assigned(self, ranked: list[tuple[float, Trader]], wanted: int) -> list[tuple[Trader, int]]:
        if not ranked:
            return []
        if self.rules.adl_rank == "water_filling":
            return filled(ranked, wanted)
        each = {"pro_rata": len(ranked), "top_ten": 10}.get(self.rules.adl_rank, 1)
        found = []
        for first in range(0, len(ranked), each):
            group = [t for _, t in ranked[first : first + each]]
            goal = min(wanted, sum(t.lots for t in group))
            found += zip(group, shares([t.lots for t in group], goal), strict=True)
            wanted -= goal
        return found

    def meet(self, c: Trader, lots: int, queue: list[Residual], side: int) -> None:
        while lots > 0:
            r = queue[0]
            taken = min(lots, r.lots)
            amount = self.money(side * taken * self.lot * r.worth)
            if r.owner is None:
                self.move("traders", "backstop", amount)
                self.book_result(side, taken, amount)
            else:
                if taken == r.owner.lots and r.exact:
                    amount = self.money(self.funding_due(r.owner)) - r.owner.balance
                r.owner.given += taken
                self.deal(r.owner, taken, self.price(r.worth), amount, "traders")
            self.give(c, taken, amount)
            self.matches.append((None if r.owner is None else r.owner.id, c.id))
            lots -= taken
            r.lots -= taken
            if not r.lots:
                queue.pop(0)
        if not c.lots:
            self.finish(c, "deleveraged")

    def give(self, c: Trader, lots: int, pays: int) -> None:
        due = self.money(c.side * self.part(c, lots) * (self.funding - c.entry_funding))
        self.move("traders", "market", due)
        kept = round(Fraction(c.balance * (c.lots - lots), c.lots))
        c.pocket += c.balance - kept - pays - due
        c.balance = kept
        c.margin *= (c.lots - lots) / c.lots
        c.lots -= lots
        c.given += lots


def shares(own: list[int], amount: int) -> list[int]:
    """Each takes its share of what is left, so that the shares add up and the later ones can take theirs."""
    total, found = sum(own), []
    for mine in own:
        share = round(Fraction(amount * mine, total)) if total else 0
        share = max(min(share, mine, amount), amount - (total - mine), 0)
        found.append(share)
        amount -= share
        total -= mine
    return found


def filled(ranked: list[tuple[float, Trader]], wanted: int) -> list[tuple[Trader, int]]:
    """Leverages above one level give as much as brings them down to it."""
    total = sum(t.lots for _, t in ranked)
    if wanted >= total:
        return [(t, t.lots) for _, t in ranked]
    for count in range(1, len(ranked) + 1):
        lots = sum(t.lots for _, t in ranked[:count])
        level = (lots - wanted) / sum(t.lots / leverage for leverage, t in ranked[:count])
        if count == len(ranked) or level >= ranked[count][0]:
            break
    given, left = [], wanted
    for leverage, t in ranked[:count]:
        share = min(left, max(0, round(t.lots * (1 - level / leverage))))
        given.append([t, share])
        left -= share
    given[-1][1] += left
    return [(t, lots) for t, lots in given]
