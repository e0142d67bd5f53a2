"""docs/model.md written out bar by bar, one position at a time: slow, and meant to be read.

Nothing here is shared with the engine. Contracts, tier tables and venues are read as plain field values,
frames as plain rows, and every formula is evaluated in the order the page writes it, so that results can be
compared bit for bit. Times are milliseconds; the letters s, q, E, M, F_e, f, c are the page's.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import polars as pl
from segment_reference import (
    Bar,
    History,
    Row,
    Segment,
    changes_of,
    entry_notional,
    first_segment,
    in_milliseconds,
    interval_of,
    positive,
    rows_of,
    source_of,
    table_for,
    tables_after,
)

from backtest.schemas.frames import OUTCOME_COLUMNS


def reference_outcomes(
    positions: pl.DataFrame,
    adjustments: pl.DataFrame | None,
    bars: pl.DataFrame,
    funding: pl.DataFrame | None,
    venue: Any,
    *,
    gap_limit_ms: int | None = 6 * 3600 * 1000,
    trigger_price: str | None = None,
    fill_price: str = "liquidation_price",
    intrabar: str = "pessimistic",
    entry_bar: str = "untested",
    exit_bar: str = "untested",
    stop_trigger: str | None = None,
    tiers: str | dict[str, str] = "strict",
) -> pl.DataFrame:
    """Return the positions with their outcomes, as ``backtest.sweep`` must."""
    rules = Rules(
        gap_limit=gap_limit_ms,
        trigger_series=trigger_price or venue.trigger_price,
        stop_series=stop_trigger or ("last" if "last_open" in bars.columns else "mark"),
        fill_price=fill_price,
        hidden=Hidden(entry_bar == "tested", exit_bar == "tested", intrabar),
        holder_keeps_remainder=venue.remainder == "returned",
        release=venue.release,
    )
    contracts = {symbol: venue.contracts.get(symbol, venue.default) for symbol in bars["symbol"].unique()}
    own = {symbol: rows_of(bars, symbol) for symbol in contracts}
    lone = max(
        (interval_of([bar["time"] for bar in rows]) for rows in own.values() if len(rows) > 1), default=None
    )
    histories = {
        symbol: History(own[symbol], rows_of(funding, symbol), contract.kind, lone)
        for symbol, contract in contracts.items()
    }
    changes = changes_of(adjustments)
    outcomes = []
    for position in in_milliseconds(positions).iter_rows(named=True):
        symbol, contract = position["symbol"], contracts[position["symbol"]]
        table = table_for(contract, symbol, position["entry_time"], tiers)
        life = Life(position, changes.get(position["position_id"], []), histories[symbol], rules)
        if venue.tiers_apply == "always":
            life = life._replace(tables=tables_after(contract, symbol, position["entry_time"], tiers))
        row = life.follow(first_segment(position, contract, table, histories[symbol]))
        table, moment = life.table_at_the_end(table, row)
        own = {
            "entry_notional": entry_notional(position, contract) + (row["entry_notional"] or 0.0),
            "contract_kind": contract.kind,
            "tier_table": table.name,
            "tier_source": source_of(table, moment, tiers),
            "price_venue": None,
        }
        outcomes.append(row | own)
    times = {name: OUTCOME_COLUMNS[name] for name in ("outcome_time", "outcome_until")}
    frame = pl.DataFrame(outcomes, schema={**OUTCOME_COLUMNS, **dict.fromkeys(times, pl.Int64)}).cast(times)
    return positions.hstack(frame)


class Hidden(NamedTuple):
    """What is taken for what bars do not show."""

    entry_bar: bool  #: all of an entry bar came after the entry
    exit_bar: bool  #: all of an exit bar came before the exit
    intrabar: str
    actions_first: bool = False  #: what happened inside a bar came before the prices that it may have come before


#: Every combination of what bars may hide, as far as it decides whether a position was liquidated.
EVERY_HIDDEN = [
    Hidden(*flags, intrabar, first)
    for *flags, first in product((False, True), repeat=3)
    for intrabar in ("pessimistic", "optimistic")
]


class Rules(NamedTuple):
    """What the caller of a sweep decides."""

    gap_limit: int | None
    trigger_series: str
    stop_series: str
    fill_price: str
    hidden: Hidden
    holder_keeps_remainder: bool
    release: str


class Event(NamedTuple):
    """What can end a position inside a bar: how, at which price, on whose bar."""

    outcome: str
    price: float
    bar: Bar
    at_open: bool


class Found(NamedTuple):
    """What ends a position in a bar, if anything, the bars it was found in, and whether another could have."""

    event: Event | None
    bars: list[Bar]
    ambiguous: bool


class Life(NamedTuple):
    """One position, what its holder did, and the history it lived through."""

    position: Row
    changes: list[Row]
    history: History
    rules: Rules
    tables: list[tuple[int, Any]] = []  # noqa: RUF012 (never changed) #: that begin after the entry, and when

    def follow(self, segment: Segment) -> Row:
        """Return the outcome, and whether what bars hide could have made it another."""
        if segment.could_not_open():
            flags = ("liquidated", "certainly_liquidated", "possibly_liquidated", "ambiguous")
            return dict.fromkeys(OUTCOME_COLUMNS) | {"outcome": "rejected"} | dict.fromkeys(flags, False)
        row = self.live(segment, self.rules.hidden)
        found = [row["liquidated"]]
        if row["ambiguous"]:
            found += [self.live(segment, hidden)["liquidated"] for hidden in EVERY_HIDDEN]
        return row | {"certainly_liquidated": all(found), "possibly_liquidated": any(found)}

    def live(self, segment: Segment, hidden: Hidden) -> Row:
        """Return the outcome: every bar is looked at in turn until something ends the position."""
        history, times = self.history, self.history.times
        first = history.first_opening(self.position["entry_time"])
        entry_bar, exit_bar = self.bar_around("entry_time"), self.bar_around("exit_time")
        ambiguous, priced_at = False, segment.F_e
        if entry_bar is not None:
            found = self.in_entry_bar(segment, entry_bar, exit_bar, hidden)
            ambiguous = found.ambiguous
            if found.event is not None:
                return self.closed(segment, found, entry_bar, segment.F_e)
            if exit_bar == entry_bar and self.position.get("exit_price") is not None:
                return self.left(segment, entry_bar, priced_at, ambiguous)
        for bar in range(first, len(times)):
            if self.across_a_long_gap(bar):
                return self.row_of("unknown", bar, segment, priced_at, ambiguous)
            for begins, table in self.tables:
                if history.first_opening(begins) == bar:
                    segment = replace(segment, table=table)
            for change in self.changes_at(bar):
                now = history.funding_at(change["time"])
                found = self.at_opening(segment, bar, now, change["time"], hidden)
                ambiguous = ambiguous or found.ambiguous
                if found.event is not None:
                    return self.closed(segment, found._replace(ambiguous=ambiguous), bar, now)
                segment, priced_at = self.adjusted(segment, change, history.series["mark"][bar].open, now), now
            if self.exits_at(bar):
                now = history.funding_at(self.position["exit_time"])
                recorded = self.position.get("exit_price") is not None
                if not recorded or self.position["exit_time"] == times[bar]:
                    found = self.at_opening(segment, bar, now, self.position["exit_time"], hidden)
                    ambiguous = ambiguous or found.ambiguous
                    if found.event is not None:
                        return self.closed(segment, found._replace(ambiguous=ambiguous), bar, now)
                return self.left(segment, bar, priced_at, ambiguous)
            priced_at = history.funding_in_bar(bar)
            found = self.in_bar(segment, bar, exit_bar, priced_at, hidden)
            ambiguous = ambiguous or found.ambiguous
            if found.event is not None:
                return self.closed(segment, found._replace(ambiguous=ambiguous), bar, priced_at)
            if bar == exit_bar and self.position.get("exit_price") is not None:
                return self.left(segment, bar, priced_at, ambiguous)
        return self.row_of("open", None, segment, priced_at, ambiguous)

    def table_at_the_end(self, table: Any, row: Row) -> tuple[Any, int]:
        """Return the last table that the position was under, and a moment that it began at or applied at."""
        moment, times = self.position["entry_time"], self.history.times
        last = len(times) - 1 if row["outcome_time"] is None else times.index(row["outcome_time"])
        if row["outcome"] == "unknown":
            last -= 1
        for begins, later in self.tables if row["outcome"] != "rejected" else []:
            if self.history.first_opening(begins) <= last:
                table, moment = later, begins
        return table, moment

    def bar_around(self, name: str) -> int | None:
        """Return the bar that a moment lies strictly inside, if any."""
        moment, before = self.position.get(name), 0
        if moment is not None:
            before = self.history.first_opening(moment)
        opens_then = before < len(self.history.times) and self.history.times[before] == moment
        if before == 0 or opens_then:
            return None
        return before - 1 if moment < self.history.times[before - 1] + self.history.interval else None

    def in_entry_bar(self, segment: Segment, bar: int, exit_bar: int | None, hidden: Hidden) -> Found:
        """Return what happens in the bar of the entry: its close alone is certain, unless the exit is in it."""
        bars = [own._replace(open=segment.E) for own in self.bars(bar)]
        whole = self.first_event(segment, bars, segment.F_e, hidden)
        if bar == exit_bar:
            tested = hidden.entry_bar or hidden.exit_bar
            return Found(whole.event if tested else None, bars, whole.event is not None)
        closing = [own.closing for own in bars]
        certain = self.first_event(segment, closing, segment.F_e, hidden)
        saved = names(certain) == "liquidated" and not self.triggers_after_all(segment, bar)
        ambiguous = whole.ambiguous or names(whole) != names(certain) or saved
        if hidden.actions_first and saved and not hidden.entry_bar:
            certain = self.first_event(segment, closing, segment.F_e, hidden, spared=True)
        elif hidden.entry_bar or names(whole) == names(certain):
            certain = whole
        return certain._replace(ambiguous=ambiguous)

    def triggers_after_all(self, segment: Segment, bar: int) -> bool:
        """Whether the close of an entry bar liquidates after the changes and stamps inside the bar."""
        times, end = self.history.times, self.history.times[bar] + self.history.interval
        for change in self.changes_at(bar + 1) if bar + 1 < len(times) else []:
            if change["time"] < end:
                now = self.history.funding_at(change["time"])
                segment = self.adjusted(segment, change, self.history.series["mark"][bar + 1].open, now)
        close = self.history.series[self.rules.trigger_series][bar].close
        return segment.triggers(close, self.history.funding_at(end - 1))

    def adjusted(self, segment: Segment, change: Row, price: float, funding: float) -> Segment:
        return segment.adjusted(change, price, funding, self.rules.release)

    def at_opening(self, segment: Segment, bar: int, funding: float, moment: int, hidden: Hidden) -> Found:
        """Return whether the opening at which a holder acts liquidates; uncertain if they acted inside a bar."""
        bars, late = [own.opening for own in self.bars(bar)], moment < self.history.times[bar]
        events = [event for event in self.events(segment, *bars, funding) if event.outcome == "liquidated"]
        event = events[0]._replace(at_open=True) if events else None
        return Found(None if hidden.actions_first and late else event, bars, late and event is not None)

    def in_bar(self, segment: Segment, bar: int, exit_bar: int | None, funding: float, hidden: Hidden) -> Found:
        """Return what happens in a bar: of the exit's own bar only the opening is certain."""
        bars = self.bars(bar)
        whole = self.first_event(segment, bars, funding, hidden)
        if bar != exit_bar:
            return whole
        certain = self.first_event(segment, [own.opening for own in bars], funding, hidden)
        ambiguous = whole.ambiguous or names(whole) != names(certain)
        kept = whole if hidden.exit_bar or names(whole) == names(certain) else certain
        return kept._replace(ambiguous=ambiguous)

    def bars(self, bar: int) -> list[Bar]:
        """Return a bar of the series that triggers, and of the one that stops watch."""
        return [self.history.series[name][bar] for name in (self.rules.trigger_series, self.rules.stop_series)]

    def across_a_long_gap(self, bar: int) -> bool:
        """Whether too much is missing between the bar before, or an entry since, and this bar."""
        if self.rules.gap_limit is None or bar == 0:
            return False
        end_before = self.history.times[bar - 1] + self.history.interval
        return self.history.times[bar] - max(end_before, self.position["entry_time"]) > self.rules.gap_limit

    def changes_at(self, bar: int) -> list[Row]:
        """Return the adjustments effective at an opening, in order of time, none of them after the exit."""
        exit_time = self.position.get("exit_time") or math.inf
        effective = [change for change in self.changes if self.history.first_opening(change["time"]) == bar]
        return [change for change in effective if change["time"] <= exit_time]

    def exits_at(self, bar: int) -> bool:
        exit_time = self.position.get("exit_time")
        return exit_time is not None and self.history.first_opening(exit_time) == bar

    def first_event(
        self, segment: Segment, bars: list[Bar], funding: float, hidden: Hidden, spared: bool = False
    ) -> Found:
        """Return what ends the position in a bar, if anything, and whether the order was unknown."""
        events = self.events(segment, *bars, funding)
        if spared:
            events = [event for event in events if event.outcome != "liquidated"]
        at_open = [event for event in events if event.at_open]
        if at_open:
            return Found(at_open[0], bars, False)
        if self.rules.trigger_series == self.rules.stop_series:
            events = nearer_of_stop_and_liquidation(events, segment.s)
        if len(events) < 2:
            return Found(events[0] if events else None, bars, False)
        if hidden.intrabar == "path":
            return Found(min(events, key=place_on_path), bars, True)
        return Found(events[0 if hidden.intrabar == "pessimistic" else -1], bars, True)

    def events(self, segment: Segment, traded: Bar, watched: Bar, funding: float) -> list[Event]:
        """Return what happens somewhere in a bar: liquidation, stop, take-profit, in this order."""
        s, found = segment.s, []
        worst = traded.worst(s)
        if segment.triggers(worst, funding):
            price = no_worse(segment.liquidation(funding)[0], worst, s)  # rounding could put it beyond
            found.append(Event("liquidated", price, traded, reached(traded.open, price, s)))
        stop, take_profit = self.position.get("stop_price"), self.position.get("take_profit_price")
        if stop is not None and reached(watched.worst(s), stop, s):
            found.append(Event("stopped", stop, watched, reached(watched.open, stop, s)))
        if take_profit is not None and reached(watched.worst(-s), take_profit, -s):
            found.append(Event("took_profit", take_profit, watched, reached(watched.open, take_profit, -s)))
        return found

    def closed(self, segment: Segment, found: Found, bar: int, funding: float) -> Row:
        """Return the row of a liquidation, a stop or a take-profit."""
        event, worst = found.event, found.bars[0].worst(segment.s)
        fill_price = event.bar.open if event.at_open else event.price
        row = self.row_of(event.outcome, bar, segment, funding, found.ambiguous)
        if segment.triggers(worst, funding):
            row["liquidation_price"] = positive(no_worse(segment.liquidation(funding)[0], worst, segment.s))
        if event.outcome != "liquidated":
            return row | filled(segment, fill_price, funding)
        if self.rules.fill_price == "last_close":
            fill_price = self.history.series["last"][bar].close
        if self.rules.fill_price == "last_extreme":
            fill_price = self.history.series["last"][bar].worst(segment.s)
        row |= filled(segment, fill_price, funding)
        if not self.rules.holder_keeps_remainder:
            row["realised_pnl"] = -segment.put_in
        row["tier_rate"] = segment.liquidation(funding)[1]
        return row

    def left(self, segment: Segment, bar: int, priced_at: float, ambiguous: bool) -> Row:
        """Return the row of an exit: price columns as last tested, money at the exit's own time."""
        now, price = self.history.funding_at(self.position["exit_time"]), self.position.get("exit_price")
        if price is not None and bar == self.bar_around("exit_time"):
            for change in self.changes_at(bar + 1):
                priced_at = self.history.funding_at(change["time"])
                segment = self.adjusted(segment, change, price, priced_at)
        if price is not None and segment.triggers(price, now):
            ambiguous = ambiguous or self.rules.trigger_series != "last"
            if self.rules.trigger_series == "last":
                traded = Bar(price, price, price, price)
                limit = no_worse(segment.liquidation(now)[0], price, segment.s)
                event = Event("liquidated", limit, traded, at_open=False)
                return self.closed(segment, Found(event, [traded, traded], ambiguous), bar, now)
        row = self.row_of("exited", bar, segment, priced_at, ambiguous)
        return row | filled(segment, self.history.series["mark"][bar].open if price is None else price, now)

    def row_of(self, outcome: str, bar: int | None, segment: Segment, priced_at: float, ambiguous: bool) -> Row:
        """Return the outcome columns as they stand while nothing is filled."""
        time = None if bar is None else self.history.times[bar]
        return dict.fromkeys(OUTCOME_COLUMNS) | {
            "outcome": outcome,
            "liquidated": outcome == "liquidated",
            "outcome_time": time,
            "outcome_until": None if time is None else time + self.history.interval,
            "liquidation_price": positive(segment.liquidation(priced_at)[0]),
            "bankruptcy_price": positive(segment.bankruptcy_price(priced_at)),
            "funding_paid": segment.paid + segment.payment(priced_at),
            "ambiguous": ambiguous,
            "entry_notional": segment.grown,
        }


def filled(segment: Segment, fill_price: float, funding: float) -> Row:
    """Return the columns that a fill decides."""
    equity = segment.equity(fill_price, funding)
    return {
        "fill_price": fill_price,
        "fill_notional": segment.notional(fill_price),
        "funding_paid": segment.paid + segment.payment(funding),
        "equity_at_fill": equity,
        "shortfall": max(0.0, -equity),
        "realised_pnl": max(equity, 0.0) - segment.put_in,
    }


def names(found: Found) -> str | None:
    return None if found.event is None else found.event.outcome


def reached(price: float, limit: float, side: float) -> bool:
    """Whether a price lies at or beyond a limit on the losing side."""
    return price <= limit if side > 0 else price >= limit


def no_worse(price: float, worst: float, side: float) -> float:
    return max(price, worst) if side > 0 else min(price, worst)


def nearer_of_stop_and_liquidation(events: list[Event], side: float) -> list[Event]:
    named = {event.outcome: event for event in events}
    if "liquidated" in named and "stopped" in named:
        stop_first = side * named["stopped"].price > side * named["liquidated"].price
        del named["liquidated" if stop_first else "stopped"]
    return list(named.values())


def place_on_path(event: Event) -> float:
    """Return how far along open, nearer extreme, other extreme an event lies: 0 to 1, then 1 to 2."""
    start, high, low, _ = event.bar
    x, y = (low, high) if start - low < high - start else (high, low)
    if min(start, x) <= event.price <= max(start, x):
        return (start - event.price) / (start - x)
    return 1 + (x - event.price) / (x - y)
