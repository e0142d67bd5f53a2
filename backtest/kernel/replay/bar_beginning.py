"""The beginning of a bar: decay of the mark's offset, funding, deposits, the fund's window, long gaps."""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import AdlTrigger, ContractKind
from backtest.kernel.compile import helper, part
from backtest.kernel.replay.codes import FUND, OWNERS
from backtest.kernel.replay.holder_actions import lose_all
from backtest.kernel.replay.ledger import to_fund
from backtest.kernel.replay.proportions import raised_part
from backtest.kernel.replay.requeue import begin_tables
from backtest.kernel.replay.schedule import Agenda
from backtest.kernel.replay.state import DROPPED, PAID, WINDOW_END, WINDOW_FIRST, World, factor


@helper
def watch_fund(w: World, row: int) -> None:
    """Note whether the fund has fallen too far within the window."""
    if w.settings[0]["adl_trigger"] != AdlTrigger.FUND_DROP:
        return
    first, end, fund = w.counters[WINDOW_FIRST], w.counters[WINDOW_END], w.cash[FUND]
    while first < end and w.window[first]["time"] < w.bars[row]["time"] - w.settings[0]["adl_window"]:
        first += 1
    while end > first and w.window[end - 1]["fund"] <= fund:
        end -= 1
    w.window[end]["time"], w.window[end]["fund"] = w.bars[row]["time"], fund
    w.counters[WINDOW_FIRST], w.counters[WINDOW_END] = first, end + 1
    highest = w.window[first]["fund"]
    drop = w.settings[0]["adl_drop"]
    w.counters[DROPPED] = 1 if highest - fund >= raised_part(highest, drop[0], drop[1]) and highest > 0 else 0


@helper
def begin_bar(w: World, y: int, row: int) -> None:
    """Let the mark's offset decay, charge funding, and open the bar's capacity."""
    elapsed = w.bars[row]["time"] - w.symbols[y]["time_before"]
    if w.symbols[y]["decaying"] != 0.0:
        w.symbols[y]["decaying"] *= 0.5 ** (elapsed / w.settings[0]["half_life"])
    w.symbols[y]["time_before"] = w.bars[row]["time"]
    goal = w.symbols[y]["funding_first"] + w.bars[row]["charged"]
    if w.symbols[y]["funding_now"] < goal:
        g = factor(w.symbols, y)
        for charge in range(w.symbols[y]["funding_now"], goal):
            amount = w.charges[charge + 1]["amount"]
            amount = amount / g if w.symbols[y]["kind"] == ContractKind.INVERSE else amount * g
            w.charges[charge + 1]["cumulative"] = w.charges[charge]["cumulative"] + amount
        w.symbols[y]["funding_now"] = goal
    w.symbols[y]["executed"][0] = 0.0
    w.symbols[y]["executed"][1] = 0.0
    w.symbols[y]["room"] = np.inf
    if w.settings[0]["participation"] < np.inf:
        w.symbols[y]["room"] = w.settings[0]["participation"] * w.bars[row]["volume"]
    w.symbols[y]["backstop_room"] = w.settings[0]["backstop_capacity"] * (w.symbols[y]["interval"] / 3_600_000.0)
    w.symbols[y]["mark"] = w.bars[row]["mark_open"] * factor(w.symbols, y)


@helper
def pay_deposits(w: World, agenda: Agenda, row: int) -> None:
    """Let deposits into the fund that are due."""
    paid = w.counters[PAID]
    while paid < agenda.deposit_time.shape[0] and agenda.deposit_time[paid] <= w.bars[row]["time"]:
        to_fund(w, row, OWNERS, agenda.deposit[paid])
        w.steps[row]["deposits"] += agenda.deposit[paid]
        paid += 1
    w.counters[PAID] = paid


@part
def begin(w: World, agenda: Agenda, y: int, row: int) -> float:
    """Begin a bar of a symbol, and return the funding so far."""
    begin_bar(w, y, row)
    pay_deposits(w, agenda, row)
    watch_fund(w, row)
    if agenda.after_gap[row]:
        lose_all(w, y, row)
    if row >= w.symbols[y]["table_row"]:
        begin_tables(w, y, row)
    return w.charges[w.symbols[y]["funding_now"]]["cumulative"]
