"""The counterfactual's loop over the bars: the facts and another policy, event by event."""

from __future__ import annotations

from backtest.kernel.compile import kernel
from backtest.kernel.counterfactual.flow import ACTING, LEAVING, OPENING, Merge
from backtest.kernel.counterfactual.walk import cross_both, outside_legs
from backtest.kernel.replay.bar_beginning import begin
from backtest.kernel.replay.edge_bars import sides_executed
from backtest.kernel.replay.entries import (
    Entrants,
    Found,
    has_room,
)
from backtest.kernel.replay.run import awaits, end, let_holders_act, let_holders_leave, resume, starts_low
from backtest.kernel.replay.schedule import Agenda
from backtest.kernel.replay.state import (
    FULL,
    World,
    whole,
)


@kernel
def run_both(
    w: World, agenda: Agenda, entrants: Entrants, found: Found, merge: Merge, first: int, stop: int
) -> int:
    """Step as :func:`run` does, recording the flow or following facts; compiled only where requested."""
    for number in range(first, stop):
        row = agenda.rows[number]
        if not has_room(w, agenda.entry_first[row + 1] - agenda.entry_first[row]):
            return number
        y = whole(agenda.symbol[row])
        now = begin(w, agenda, y, row)
        for side in range(2):
            executed = resume(w, y, side, row, now) if awaits(w, y, side) else 0.0
            outside_legs(w, merge, y, side, row, OPENING, executed)
        before = sides_executed(w, y)
        let_holders_act(w, agenda, entrants, found, row)
        for side in range(2):
            outside_legs(w, merge, y, side, row, ACTING, w.symbols[y]["executed"][side] - before[side])
        low_first = starts_low(w, row)
        for leg in range(2):
            cross_both(w, merge, y, leg if low_first else 1 - leg, row, now)
        before = sides_executed(w, y)
        let_holders_leave(w, agenda, entrants, row)
        for side in range(2):
            outside_legs(w, merge, y, side, row, LEAVING, w.symbols[y]["executed"][side] - before[side])
        end(w, found, y, row)
        if w.counters[FULL] != 0:
            return number
    return stop
