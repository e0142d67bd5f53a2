"""Entry and exit bars, and openings at which holders act: part of the replay's reference."""

# ruff: noqa: N803, N806

from __future__ import annotations

from typing import Any

from reference import names


def scaled(bar: Any, g: float) -> Any:
    return type(bar)(*(price * g for price in bar))


class Edges:
    """What a replay does outside the legs of its bars, position by position."""

    def bars_of(self: Any, bar: int) -> list[Any]:
        """Return a bar of the series that triggers, and of the one that stops watch, under the offset."""
        return [scaled(own, self.g) for own in (
            self.history.series[self.rules.trigger_series][bar], self.history.series[self.rules.stop_series][bar]
        )]  # fmt: skip

    def first_event(self: Any, p: Any, bars: list[Any], F: float) -> Any:
        life = p.life._replace(position=p.row | {"stop_price": p.stop, "take_profit_price": p.target})
        return life.first_event(p.seg, bars, F, self.rules.hidden)

    def carry_out(self: Any, p: Any, event: Any, F: float, moment: int) -> None:
        """Carry out what was found outside the legs, and deleverage for what it leaves."""
        if event.outcome == "liquidated":
            self.trigger_outside(p, event.bar.open if event.at_open else event.price, F, moment)
        else:
            self.close(p, event.outcome, event.bar.open if event.at_open else event.price, F)
        self.pass_on(p.s, self.traded.open * self.g)

    def trigger_outside(self: Any, p: Any, tau: float, F: float, moment: int) -> None:
        now, self.now = self.now, F
        self.liquidate(p, tau, self.base_of(p, tau, moment))
        self.now = now

    def settle_entry_bar(self: Any, p: Any) -> None:
        """Settle what the bar of an entry did: its close came after it, unless the exit did not."""
        entry_bar, exit_bar = p.life.bar_around("entry_time"), p.life.bar_around("exit_time")
        if entry_bar is None:
            return
        bars = [bar._replace(open=p.seg.E) for bar in self.bars_of(entry_bar)]
        found = self.first_event(p, bars, p.seg.F_e)
        if entry_bar == exit_bar:
            event = found.event if self.rules.hidden.exit_bar else None
        else:
            certain = self.first_event(p, [bar.closing for bar in bars], p.seg.F_e)
            event = found.event if names(found) == names(certain) else certain.event
        if event is not None:
            self.carry_out(p, event, p.seg.F_e, entry_bar)
        leaves = entry_bar == exit_bar and p.row.get("exit_price") is not None
        if leaves and p.status in ("held", "locked"):
            self.leave_inside(p, entry_bar)

    def test_opening(self: Any, p: Any, F: float) -> None:
        """Liquidate what an opening triggers, before its holder acts there."""
        opening = self.traded.open * self.g
        if p.seg.triggers(opening, F):
            self.trigger_outside(p, opening, F, self.bar)
            self.pass_on(p.s, opening)

    def open_exit_bar(self: Any, p: Any) -> None:
        """Test the opening of a bar that a position leaves inside: nothing else of it counts."""
        if self.rules.hidden.exit_bar:
            return
        p.opening_only = self.bar
        bars = self.bars_of(self.bar)
        found, certain = (self.first_event(p, each, self.now) for each in (bars, [bar.opening for bar in bars]))
        if certain.event is not None:
            same = names(found) == names(certain)
            self.carry_out(p, found.event if same else certain.event, self.now, self.bar)

    def leave_at_opening(self: Any, p: Any) -> None:
        F, on_time = self.funding_at(p.row["exit_time"]), p.row["exit_time"] == self.history.times[self.bar]
        p.due = True
        if p.status == "held" and (p.row.get("exit_price") is None or on_time):
            self.test_opening(p, F)
        if p.status == "held":
            self.leave(p, F, self.bar)

    def leave_inside(self: Any, p: Any, moment: int) -> None:
        """Let a position leave inside a bar at its recorded price, after the adjustments in that bar."""
        for change in p.life.changes_at(moment + 1):
            if p.status == "held":
                self.adjust(p, change, p.row["exit_price"])
                p.start = moment + 1
        p.due = True
        if p.status == "held":
            self.leave(p, self.funding_at(p.row["exit_time"]), moment)

    def leave(self: Any, p: Any, F: float, moment: int, recorded: bool = True) -> None:
        price = p.row.get("exit_price") if recorded else None
        if price is None:
            self.close(p, "exited", self.history.series["mark"][self.bar].open * self.g, F)
        elif self.rules.trigger_series == "last" and p.seg.triggers(price * self.g, F):
            level = p.seg.liquidation(F)[0]
            worst = price * self.g
            self.trigger_outside(p, max(level, worst) if p.s > 0 else min(level, worst), F, moment)
            self.pass_on(p.s, worst)
            if p.status == "held":  # a part was closed, and the rest given back
                self.close(p, "exited", price * self.g, F)
        else:
            self.close(p, "exited", price * self.g, F)

    def leaves_inside(self: Any, p: Any, bar: int) -> bool:
        return p.row.get("exit_price") is not None and p.life.bar_around("exit_time") == bar

    def funding_at(self: Any, time: int) -> float:
        """Return cumulative funding at a time; stamps inside the bar are charged at the next opening's rate."""
        count = sum(1 for effective in self.history.effective if effective <= time)
        made = sum(1 for charged in self.history.charged_at if charged <= self.bar)
        found = self.sums[min(count, made)]
        for k in range(made, count):
            found += self.charges[k] / self.g if self.kind == "inverse" else self.charges[k] * self.g
        return float(found)

    def act(self: Any) -> None:
        """Let holders change and leave at the opening, each after its test; test bars that others leave inside."""
        held = sorted(self.positions, key=lambda p: p.id)
        for p in held:
            for change in p.life.changes_at(self.bar):
                inside = p.life.bar_around("exit_time")
                if p.status == "held" and not (inside == self.bar - 1 and self.leaves_inside(p, self.bar - 1)):
                    self.test_opening(p, self.funding_at(change["time"]))
                    if p.status == "held":
                        self.adjust(p, change)
        for p in held:
            if (
                p.status in ("held", "locked")
                and p.life.exits_at(self.bar)
                and not self.leaves_inside(p, self.bar - 1)
            ):
                self.leave_at_opening(p)
        for p in held:
            if p.status == "held" and p.life.bar_around("exit_time") == self.bar:
                self.open_exit_bar(p)

    def leave_bar(self: Any) -> None:
        for p in sorted(self.positions, key=lambda p: p.id):
            if p.status in ("held", "locked") and self.leaves_inside(p, self.bar):
                self.leave_inside(p, self.bar)
