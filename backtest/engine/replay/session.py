"""Session of replays of one book in one market, shared by procedures, funds and impacts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import Conventions
from backtest.engine.outcomes import groups_at_the_end
from backtest.engine.replay import arguments, frames
from backtest.engine.replay import facts as replay_facts
from backtest.engine.replay.arguments import Options
from backtest.engine.replay.state import Setup, build, roomier
from backtest.engine.sweep import admission
from backtest.engine.sweep.prepare import Prepared, prepare
from backtest.errors import ArgumentError
from backtest.kernel.choices import FlowMode
from backtest.kernel.counterfactual import flow
from backtest.kernel.counterfactual.run import run_both
from backtest.kernel.replay import entries, run
from backtest.kernel.replay.schedule import Agenda
from backtest.kernel.replay.state import FULL, TABLE_USED, World
from backtest.kernel.types import Integers
from backtest.market.market import Market
from backtest.rules.procedure import Impact
from backtest.rules.rulebook import groups_of
from backtest.rules.venue import Venue

#: Room for queue nodes and rows of the ADL table to begin with. It grows between bars; where one bar needs more
#: than is free the replay begins anew with more.
SPARE = 16_384

#: Room for events of flow, a position: pages that nothing is written to cost nothing.
EVENTS = 4

#: Called after each piece of the bars, with the state and the number of bars done.
Watch = Callable[[World, int], None]


@dataclass(frozen=True, eq=False)
class Course:
    """Flow of a replay: not recorded, recorded, or following facts."""

    mode: FlowMode = FlowMode.PLAIN
    facts: pl.DataFrame | None = None  #: as ``replay_facts.require_facts`` returns them


class Played(NamedTuple):
    """State of a replay at its end."""

    world: World
    agenda: Agenda
    merge: flow.Merge
    found: entries.Found


@dataclass(frozen=True, eq=False)
class Stage:
    """A book and a market as a replay takes them, checked once."""

    prepared: Prepared
    admitted: admission.Admitted

    @classmethod
    def of(
        cls,
        book: Book,
        market: Market,
        venue: Venue,
        conventions: Conventions,
        threads: int | None = None,
    ) -> Stage:
        """Return the stage of a book, or raise where it cannot be replayed."""
        arguments.require_single(book)
        arguments.require_free_names(book, frames.REPLAY_COLUMNS)
        prepared = prepare(book, market, venue, conventions)
        return cls(prepared, admission.admit(book, prepared, conventions.leverage_limit, threads))

    @property
    def groups(self) -> Integers:
        """The contract and tier table of each position, as groups of the rules."""
        positions = self.admitted.positions
        return groups_of(self.prepared.rules.rules, positions.symbol, positions.entry_time)

    def last_groups(self, found: entries.Found) -> Integers:
        """Return the groups that positions were last under."""
        own, market = self.admitted.positions, self.prepared.market
        return groups_at_the_end(self.prepared.rules, market, own, self.groups, found.outcome, found.time)

    @property
    def bars(self) -> int:
        """How many bars there are, of all symbols."""
        return self.prepared.market.bars.height

    def play(
        self,
        venue: Venue,
        options: Options,
        *,
        threads: int | None = None,
        every: int,
        watch: Watch | None = None,
        course: Course = Course(),
    ) -> Played:
        """Step through all bars, ``every`` so many at a time: the pieces change nothing."""
        check_feedback(self.prepared, options.impact)
        stops = [*range(every, self.bars, every), self.bars]
        spare, room = SPARE, SPARE + EVENTS * self.admitted.frame.height
        while True:
            setup = build(self.admitted, self.prepared, venue, options, threads, spare)
            merge = self._merge(course, setup.world, room)
            for state in stepped(setup, merge, stops):
                setup, merge, stop = state
                if watch is not None:
                    watch(setup.world, stop)
            if not is_short(setup.world):
                setup = finished(setup)
            world, events = setup.world, int(merge.counts[flow.WRITTEN])
            short = is_short(world)
            if not short and (events <= room or course.mode == FlowMode.PLAIN):
                return Played(world, setup.agenda, merge, setup.found)
            if short:
                spare = max(4 * spare, 2 * int(world.counters[TABLE_USED]))
            room = max(room, 2 * events)

    def _merge(self, course: Course, world: World, room: int) -> flow.Merge:
        market, facts = self.prepared.market, None
        if course.facts is not None:
            facts = replay_facts.following(course.facts, self.admitted.frame, market, world)
        return replay_facts.merge_of(course.mode, facts, world, room)

    def pieces(
        self, venue: Venue, options: Options, stops: Sequence[int], *, spare: int, threads: int | None = None
    ) -> Iterator[tuple[World, int]]:
        """Yield the state after each of some numbers of bars; ``spare`` as a whole replay found it to suffice."""
        setup = build(self.admitted, self.prepared, venue, options, threads, spare)
        for now, _, stop in stepped(setup, self._merge(Course(), setup.world, 0), stops):
            yield now.world, stop


def stepped(setup: Setup, merge: flow.Merge, stops: Sequence[int]) -> Iterator[tuple[Setup, flow.Merge, int]]:
    """Step to each of some numbers of bars, and yield the state there; where room runs out more is made."""
    agenda, others, first = setup.agenda, (setup.entrants, setup.found), 0
    for stop in stops:
        while first < stop:
            if merge.counts[flow.MODE] == FlowMode.PLAIN:
                first = run.run(setup.world, agenda, *others, first, stop)
            else:
                first = run_both(setup.world, agenda, *others, merge, first, stop)
            if is_short(setup.world):
                yield setup, merge, stop
                return
            if first < stop:
                row = agenda.rows[first]
                setup = setup._replace(world=roomier(setup.world, _entering(agenda, int(row))))
                merge = replay_facts.roomier(merge, setup.world)
        yield setup, merge, stop


def is_short(world: World) -> bool:
    """Return whether a bar needed more room than there was: what it had none for is lost, so all begins anew."""
    return bool(world.counters[FULL]) or int(world.counters[TABLE_USED]) > world.table.size


def finished(setup: Setup) -> Setup:
    """Let enter what comes after the last bar, and write down what is open."""
    rows = setup.world.bars.size
    setup = setup._replace(world=roomier(setup.world, _entering(setup.agenda, rows)))
    run.finish(setup.world, setup.agenda, setup.entrants, setup.found, rows)
    return setup


def _entering(agenda: Agenda, row: int) -> int:
    return int(agenda.entry_first[row + 1] - agenda.entry_first[row])


def check_feedback(prepared: Prepared, impact: Impact) -> None:
    """Refuse impact on marks that cannot be multiplied."""
    if impact.mark > 0:
        odds = [g.contract.symbol for g in prepared.rules.groups if g.contract.kind == "face_value"]
        if odds:
            raise ArgumentError(
                f"multiplies prices, which odds between 0 and 1 cannot be: {odds[0]} is face value",
                argument="impact.mark",
            )
