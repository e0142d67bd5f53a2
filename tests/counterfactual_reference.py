"""Two worlds in one walk, as docs/replay.md tells it under Counterfactuals: all positions looked at every time.

It stands on the replay's own reference and shares nothing with the engine. Where that keeps a heap and remembers
how far it looked, this asks after each event which of all positions the leg reaches next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from replay_reference import Position, World, reference_replay

#: Who acts where it is no position.
NEEDS, OPENING = "needs", "opening"


@dataclass(frozen=True)
class Flow:
    """One event: what a position, an opening or the needs at a leg's end executed."""

    bar: int
    leg: int | str | None  #: +1 down, -1 up, None at the opening; "actions" or "exits" of holders
    who: Any
    s: int
    price: float
    notional: float


@dataclass
class Merged(World):
    """A replay that writes its flow down and, where facts are given, takes theirs out of the mark."""

    facts: list[Flow] | None = None
    flow: list[Flow] = field(default_factory=list)
    parted: bool = False
    ahead: list[Flow] = field(default_factory=list)  #: facts of the leg that have not happened yet

    def of(self, leg: int | str | None, s: int | None = None) -> list[Flow]:
        return [f for f in self.facts or [] if f.bar == self.bar and f.leg == leg and s in (None, f.s)]

    def after_opening(self, s: int, executed: float) -> None:
        self.after_stage(None, s, executed)

    def after_stage(self, what: str | None, s: int, executed: float) -> None:
        own = self.of(what, s)
        if executed or own:
            if executed:
                price = self.traded.close if what == "exits" else self.traded.open
                self.flow.append(Flow(self.bar, what, OPENING, s, price * self.g, executed))
            if self.facts is not None:
                self.move_mark(s, executed - sum(f.notional for f in own))

    def cross(self, s: int) -> None:
        self.ahead = self.of(s)
        self.parted = self.facts is not None and bool(self.permanent or self.decaying)
        at = s * self.traded.open
        if not self.parted:
            at = self.in_step(s)
        if any(f.who != NEEDS for f in self.ahead):
            self.parted = True
        if self.parted:
            left = [f for f in self.ahead if f.who == NEEDS]
            self.by_price(s, at, [f for f in self.ahead if f.who != NEEDS and f.notional])
            self.ahead = left
        self.finish(s)

    def finish(self, s: int) -> None:
        sold = self.sell_needs(s)
        if sold:
            self.flow.append(Flow(self.bar, s, NEEDS, s, self.traded.worst(s), sold))
        for side in (s, -s) if self.facts is not None else ():
            fact = sum(f.notional for f in self.ahead if f.s == side)
            self.move_mark(side, (sold if side == s else 0.0) - fact)

    # one event

    def happened(self, leg: int, who: Any, s: int, price: float, notional: float, fact: Flow | None) -> None:
        self.flow.append(Flow(self.bar, leg, who, s, price, notional))
        net = notional - (fact.notional if fact else 0.0)
        if net and self.facts is not None:
            self.parted = True
            self.move_mark(s, net)

    def take(self, who: Any) -> Flow | None:
        """Return the next fact if it is of the same, and let it be past."""
        return self.ahead.pop(0) if self.ahead and self.ahead[0].who == who else None

    def needs_of(self, s: int, leg: int) -> float:
        sold = self.sell_needs(s)
        if sold:
            self.happened(leg, NEEDS, s, self.traded.worst(leg), sold, self.take(NEEDS))
        return sold

    def make_way(self, p: Position, s: int, event: Any) -> float:
        if event[0] != "liquidated" or p.s == s:
            return 0.0
        p.status = "chosen"  # no counterparty of those before it
        return self.needs_of(s, s)

    def happen(self, p: Position, s: int, event: Any) -> None:
        (outcome, price, fill), level = event, self.level(p, s)
        across, p.status = outcome == "liquidated" and p.s != s, "held"
        before = self.executed[p.s]
        if outcome == "liquidated":
            self.trigger(p, price)
        else:
            self.close(p, outcome, fill, self.now)
        executed = self.executed[p.s] - before
        self.happened(s, p.id, p.s, level, executed, self.take(p.id))
        if across:
            self.first_waves[-1] += self.units(executed)
            self.needs_of(p.s, s)

    def level(self, p: Position, s: int) -> float:
        """Return the price on the leg that sets an event off."""
        watched = self.history.series[self.rules.stop_series][self.bar]
        along = self.traded.worst(s) / watched.worst(s)
        if p.s != s:
            return p.target * along
        worst, (price, _) = self.traded.worst(s) * self.g, p.seg.liquidation(self.now)
        if p.seg.triggers(worst, self.now):
            price = max(price, worst) if s > 0 else min(price, worst)
        nowhere = price <= 0 or price == math.inf
        if nowhere and p.seg.triggers(worst, self.now):
            price = self.traded.open * self.g
        elif nowhere:
            return p.stop * along
        if p.stop is None:
            return price
        return max(price, p.stop * along) if s > 0 else min(price, p.stop * along)

    # in step, and by price

    def in_step(self, s: int) -> float:
        at, last, waves = s * self.traded.open, s * self.traded.worst(s), 0
        before = self.executed[s]
        while not self.parted:
            chosen = [(p, event) for p in self.positions if p.status == "held" and (event := self.event(p, s))]
            if not chosen:
                break
            chosen.sort(key=self.place_in_wave)
            for p, _ in chosen:
                p.status = "chosen"
            for p, event in chosen:
                before += 0.0 if self.parted else self.make_way(p, s, event)
                if self.facts is not None and not (self.ahead and self.ahead[0].who == p.id):
                    self.parted = True
                if self.parted:
                    p.status = "held"
                    continue
                at = max(min(at, s * self.level(p, s)), last) if waves == 0 else last
                if self.facts is not None:
                    at = self.after_jump(self.ahead[0], at, s)
                self.happen(p, s, event)
            waves += 1
            if waves == 1:
                self.first_waves[-1] += self.units(self.executed[s] - before)
            before = self.executed[s]
        return at

    def after_jump(self, fact: Flow, at: float, s: int) -> float:
        """Return where the history was after a fact; places are prices times the leg's sign."""
        if fact.s != s:
            return at
        return max(at * math.exp(-s * self.impact.mark * fact.notional), s * self.traded.worst(s))

    def by_price(self, s: int, at: float, facts: list[Flow]) -> None:
        facts = sorted(facts, key=lambda f: -s * f.price)
        last = s * self.traded.worst(s)
        while True:
            nearest, event = self.nearest(s)
            reached = s * self.level(nearest, s) / self.g if nearest else -math.inf
            fact = s * facts[0].price if facts else -math.inf
            if fact < at:
                if not facts and not nearest:
                    return
                at = max(min(at, max(fact, reached)), last)
            else:
                reached = -math.inf
            if facts and fact >= reached:
                self.take_out(facts[0], at, s)
                at = self.after_jump(facts.pop(0), at, s)
            else:
                self.ahead = []
                self.make_way(nearest, s, event)
                self.happen(nearest, s, event)

    def nearest(self, s: int) -> Any:
        """Return the position that the leg, to its extreme under the present offset, reaches first."""
        found = [(p, event) for p in self.positions if p.status == "held" and (event := self.event(p, s))]
        return min(found, key=lambda pair: (-s * self.level(pair[0], s), pair[0].id), default=(None, None))

    def take_out(self, fact: Flow, at: float, s: int) -> None:
        p = next((p for p in self.positions if p.id == fact.who and p.status == "held"), None)
        event = self.event(p, s) if p else None
        if event and s * self.level(p, s) / self.g >= at - 1e-12 * abs(at):
            self.ahead = []
            self.make_way(p, s, event)
            self.ahead = [fact]
            self.happen(p, s, event)
        else:
            self.move_mark(fact.s, -fact.notional)


def reference_counterfactual(
    *given: Any, policy: Any, policy_fund: float, impact: Any, facts: Any, **named: Any
) -> Any:
    """Return both worlds of one symbol after their last bar; ``facts`` is the impact without any on the mark."""
    *data, venue = given
    known = reference_replay(*data, venue, impact=facts, made=Merged, **named)
    named["fund"] = policy_fund
    return known, reference_replay(*data, policy, impact=impact, made=partial(Merged, facts=known.flow), **named)
