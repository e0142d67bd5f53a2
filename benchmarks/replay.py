"""Time the replay beside the sweep's kernel and a loop over bars and positions, and count what it keeps.

    flock /tmp/heavy.lock python benchmarks/replay.py [--positions 1000000 10000000] [--repeats 3] [--write]

Funding every eight hours, ten tiers, planned exits. The answers are compared first: with every coupling off the
replay's with the sweep's, and the loop's with the sweep's in the bars that it is timed on.
"""

from __future__ import annotations

import argparse
import gc
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import rivals
from tables import Table, in_turns, machine, require_equal, write

from backtest import Book, Impact, Market, Venue, replay, sweep
from backtest.engine import market_arrays, outcomes
from backtest.engine.conventions import Conventions
from backtest.engine.replay import session, state
from backtest.engine.sweep import admission
from backtest.engine.sweep.prepare import actions_of, hidden_of, prepare
from backtest.kernel.arrays import Outcomes
from backtest.kernel.sweep import managed
from backtest.kernel.threads import in_chunks
from backtest.schemas.frames import Side, Time

BARS = 525_600
MINUTE = 60_000
ROUND = 2_500  # bars the loop is timed on, in the middle of the history
RULES: dict[str, Any] = {"tiers": "nearest", "leverage_limit": "cap", "threads": 1}
VENUE = Venue.load("binance").with_(adl_trigger="never", rounds=0)
STORM = VENUE.with_(adl_trigger="fund_empty")
COSTLY = {"impact": Impact(linear=4e-6), "fund": 0.0}

CASES: dict[str, tuple[Venue, dict[str, Any]]] = {
    "nothing coupled": (VENUE, {}),
    "feedback": (VENUE, {"impact": Impact(mark=2e-12, half_life_seconds=600, permanent=0.5)}),
    "partial, four steps of a quarter": (VENUE.with_(step="fraction", step_fraction=0.25), {}),
    "deleveraging storm, profit and leverage": (STORM.with_(adl_rank="profit_leverage"), COSTLY),
    "deleveraging storm, ten largest": (STORM.with_(adl_rank="top_ten"), COSTLY),
    "deleveraging storm, water-filling": (STORM.with_(adl_rank="water_filling"), COSTLY),
}

START = datetime(2021, 4, 1, tzinfo=UTC)

#: Cases that are timed where nobody closes: with hundreds of thousands open, the others take minutes.
HELD = ("nothing coupled", "feedback", "deleveraging storm, profit and leverage")


def market_of(bars: int, rng: np.random.Generator) -> Market:
    returns = rng.standard_t(4, bars) * 6e-4
    close = 40_000 * np.exp(np.cumsum(returns - returns.mean()))
    opening = np.append(40_000.0, close[:-1])
    high = np.maximum(opening, close) * np.exp(rng.exponential(2e-4, bars))
    low = np.minimum(opening, close) * np.exp(-rng.exponential(2e-4, bars))
    times = pl.datetime_range(
        START, START + timedelta(minutes=bars - 1), "1m", time_unit="ms", time_zone="UTC", eager=True
    )
    columns = {"open": opening, "high": high, "low": low, "close": close, "volume": rng.exponential(50, bars)}
    frame = pl.DataFrame({"symbol": pl.repeat("BTCUSDT", bars, eager=True), "time": times, **columns})
    stamps = times.gather_every(480)
    rates = rng.normal(1e-4, 2e-4, stamps.len())
    funding = pl.DataFrame(
        {"symbol": pl.repeat("BTCUSDT", stamps.len(), eager=True), "time": stamps, "rate": rates}
    )
    return Market(frame, funding)


def positions(market: Market, count: int, rng: np.random.Generator, *, held: bool = False) -> Book:
    """Return longs and shorts that their holders close, half of them within twelve hours; ``held``: never."""
    bars = market.bars.height
    entry = np.sort(rng.integers(0, bars - 10, count))
    opening = market.prices("mark", "open")[entry]
    leverage = np.clip(np.exp(rng.normal(2.7, 0.8, count)), 1.2, 100)
    notional = np.clip(rng.lognormal(6.8, 2.0, count), 10, 40_000)
    holding = np.maximum(1, rng.lognormal(np.log(720), 1.4, count)).astype(np.int64)
    exits = np.minimum(entry + holding, bars + 10)
    start = int(START.timestamp() * 1000)
    return Book(
        pl.DataFrame(
            {
                "position_id": np.arange(count),
                "symbol": pl.repeat("BTCUSDT", count, eager=True),
                "side": pl.Series(["long", "short"], dtype=Side).gather(rng.integers(0, 2, count)),
                "entry_time": pl.Series(start + entry * 60_000).cast(Time),
                "entry_price": opening,
                "quantity": notional / opening,
                "leverage": leverage,
                "exit_time": pl.Series([None] * count if held else start + exits * 60_000).cast(Time),
            }
        )
    )


def kernel_of(market: Market, book: Book) -> tuple[Callable[[], None], Any]:
    """Return the sweep's kernel for a book with planned exits, ready to run, and where it writes."""
    prepared = prepare(book, market, VENUE, Conventions(tiers="nearest"))
    admitted = admission.admit(book, prepared, "cap", None)
    forest = market_arrays.forest_of(
        market, prepared.bars, prepared.funding, prepared.rules, admitted.used, prepared.series
    )
    actions = actions_of(admitted.frame, None)
    out = Outcomes(**outcomes.empty(Outcomes._fields, len(book), grown=0))
    watched = market_arrays.watched_of(market, "mark", True)
    shared = (prepared.bars, prepared.funding, prepared.rules.rules, forest, admitted.positions, actions, watched)

    hidden, every = hidden_of(Conventions()), np.empty(0, dtype=np.int64)

    def run(begin: int, stop: int) -> None:
        managed.live(*shared, hidden, every, out, begin, stop)

    return lambda: in_chunks(run, len(book), 1), out


def loop_seconds(market: Market, book: Book, outcomes: pl.DataFrame) -> float:
    """Return what a compiled loop over all bars and open positions takes: pairs, times the time of a pair.

    The loop puts every open position to the margin formula in every bar, funding and tiers included, and keeps
    the open ones together. Its liquidations must be the sweep's.
    """
    prepared = prepare(book, market, VENUE, Conventions(tiers="nearest"))
    admitted = admission.admit(book, prepared, "cap", None)
    bars, funding, rules, held = prepared.bars, prepared.funding, prepared.rules.rules, admitted.positions
    start = int(bars.time[0])
    entry = (held.entry_time - start) // MINUTE
    last = (outcomes["outcome_time"].to_physical().fill_null(start + MINUTE * BARS).to_numpy() - start) // MINUTE
    never = start + MINUTE * (BARS + 1)
    leaves = (admitted.frame["exit_time"].to_physical().fill_null(never).to_numpy() - start) // MINUTE
    first = BARS // 2
    rows = np.flatnonzero((entry < first + ROUND) & (last >= first))
    sums = funding.cumulative[funding.charged]
    found = np.full(len(book), -1)
    began = time.perf_counter()
    pairs = rivals.replay_loop(
        bars.low, bars.high, sums, rules.rate, rules.amount, rows[np.argsort(entry[rows], kind="stable")],
        np.where(held.side == 0, 1.0, -1.0), held.quantity, held.entry_price, held.leverage, entry, leaves, first,
        first + ROUND, found,
    )  # fmt: skip
    taken = time.perf_counter() - began
    here = (last >= first) & (last < first + ROUND) & outcomes["liquidated"].to_numpy()
    require_equal(found, np.where(here, last, -1), "the loop's liquidations")
    open_bars = float((np.minimum(last, BARS) - entry).sum())
    return taken * open_bars / pairs


def require_same(market: Market, book: Book) -> pl.DataFrame:
    """Stop unless the replay with nothing coupled is the sweep; return the sweep's outcomes."""
    outcomes = sweep(book, market, VENUE, **RULES)
    found = replay(book, market, VENUE, fund=1e9, **RULES).outcomes
    for name in ("outcome", "outcome_time", "liquidation_price", "fill_price", "tier_rate", "ambiguous"):
        if not found[name].cast(pl.String).equals(outcomes[name].cast(pl.String), null_equal=True):
            sys.exit(f"the replay's {name} is not the sweep's")
    return outcomes


def speeds(market: Market, book: Book, table: Table, repeats: int, whose: str) -> None:
    """Time every case in turns with the sweep and its kernel."""
    loop = loop_seconds(market, book, require_same(market, book))
    given: list[Any] = []
    cases = {name: CASES[name] for name in (HELD if whose else CASES)}

    def job(venue: Venue, more: dict[str, Any]) -> Callable[[], None]:
        def run() -> None:
            found = replay(book, market, venue, exogenous=True, **{"fund": 1e9, **more}, **RULES)
            assert int(found.ledger["total"].sum()) == 0
            given.append(found.adl.height)

        return run

    kernel, _ = kernel_of(market, book)
    jobs = [kernel, lambda: sweep(book, market, VENUE, **RULES), *(job(*case) for case in cases.values())]
    seconds = in_turns(*jobs, repeats=repeats)
    names = ["the sweep's kernel", "the sweep, frame to frame", *cases]
    for name, taken, rows in zip(names, seconds, [0, 0, *given[-len(cases) :]], strict=True):
        ratios = [f"{taken / seconds[0]:.1f}", f"{taken / seconds[1]:.1f}", f"{loop / taken:,.0f}"]
        table.add(f"{len(book):,}{whose}", name, f"{taken:.2f}", *ratios, f"{rows:,}")


class Peak:
    """Watches the highest memory of the process, beyond what it had."""

    def __enter__(self) -> Peak:
        gc.collect()
        self.before = self.highest = self._now()
        self.stopped = False
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped = True
        self.thread.join()
        self.taken = self.highest - self.before

    def _watch(self) -> None:
        while not self.stopped:
            self.highest = max(self.highest, self._now())
            time.sleep(0.005)

    def _now(self) -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def memory(market: Market, book: Book, table: Table) -> None:
    """Add up the arrays of a replay, and watch what the process takes for the first one of a run.

    Later ones find memory that earlier ones had.
    """
    stages: list[state.Setup] = []
    finished = session.finished
    for name in ("feedback", "deleveraging storm, profit and leverage"):
        venue, more = CASES[name]
        session.finished = lambda setup: stages.append(finished(setup)) or stages[-1]
        with Peak() as peak:
            replay(book, market, venue, exogenous=True, **{"fund": 1e9, **more}, **RULES)
        session.finished = finished
        process = "" if table.rows else f"{peak.taken / len(book):.0f}"
        world, plan, entrants, found = stages.pop()
        outcomes = sum(array.nbytes for array in found)
        planned = plan.entry.nbytes + plan.exit.nbytes + world.places.nbytes
        open_ = sum(array.nbytes for array in (world.book, world.nodes, world.wave, world.ranking, world.table))
        a_bar = sum(
            array.nbytes for array in (world.steps, world.bars, *plan[:4], plan.exit_first, plan.change_first)
        )
        del world, plan, entrants, found
        count = len(book)
        cells = [f"{size / count:.0f}" for size in (outcomes, planned, open_, outcomes + planned + open_)]
        table.add(f"{count:,}", name, *cells, f"{a_bar / BARS:.0f}", process)


def main() -> None:
    """Run every comparison; with --write put the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/README.md")
    options = parser.parse_args()
    where = machine()
    market = market_of(BARS, np.random.default_rng(7))
    small = positions(market, 1_000, np.random.default_rng(9))
    loop_seconds(market, small, require_same(market, small))  # compiles
    speed = Table(
        f"The replay ({BARS:,} bars, funding, ten tiers, one thread)",
        "positions", "what", "seconds", "times the sweep's kernel", "times the sweep",
        "times faster than the loop",
        "deleveragings",
        about="Every line has fund, fees and a ledger that closes; frames in, frames out. The loop is compiled "
        "and evaluates the margin formula for every open position in every bar (funding and tiers, no ledger, "
        f"nothing coupled). It is timed on {ROUND:,} bars in the middle of the history, where it must find the "
        "sweep's liquidations. It has an advantage: holders close half of all positions within twelve hours.",
    )  # fmt: skip
    size = Table(
        "Memory of a replay, bytes",
        "positions", "what", "outcomes a position", "order of events", "open positions and table", "together",
        "and a bar", "process beyond book and market, a position",
        about="The engine's own arrays by purpose, and the highest memory of the process less its memory before "
        "the call. The latter includes the result, its frames and all arrays by bar.",
    )  # fmt: skip
    for count in options.positions:
        book = positions(market, count, np.random.default_rng(8))
        memory(market, book, size)
        speeds(market, book, speed, options.repeats if count <= 1_000_000 else 1, "")
        if count <= 1_000_000:
            book = positions(market, count, np.random.default_rng(8), held=True)
            speeds(market, book, speed, options.repeats, ", held until liquidated")
    if options.write:
        write([speed, size], where)


if __name__ == "__main__":
    main()
