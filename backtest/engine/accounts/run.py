"""Kernel runs of prepared accounts: outcomes, alerts, or equity bar by bar."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from backtest.engine.accounts.prepare import Prepared
from backtest.engine.accounts.trees import plant
from backtest.errors import DataError
from backtest.kernel.accounts import alerts, sweep
from backtest.kernel.accounts.search import Terms
from backtest.kernel.accounts.terms import Holdings, scratch
from backtest.kernel.threads import in_chunks
from backtest.kernel.types import Floats, Integers, readonly
from backtest.schemas.validation import offence


def run(
    prepared: Prepared, threads: int | None, held: Holdings | None = None, who: Integers | None = None
) -> sweep.Ends:
    """Return how accounts end; ``held``: what is left of some, and ``who`` they are, where not all as prepared.

    Raises
    ------
    DataError
        For positions that grow beyond what their tables cover.
    """
    held = prepared.held.arrays if held is None else held
    world, ends = world_of(prepared, held), _empty_ends(held.wallet.size, held.kind.size)
    order = readonly(np.argsort(held.start[held.first[:-1]]))  # by first entry: neighbours read the same blocks

    def part(begin: int, stop: int) -> None:
        sweep.live(world, held, room_of(prepared, held), ends, order, begin, stop)

    in_chunks(part, held.wallet.size, threads)
    require_covered(prepared, ends, who)
    return ends


def watch(
    prepared: Prepared, demand: float, until: Integers, quiet: int, threads: int | None
) -> tuple[Integers, Integers, Integers]:
    """Return the first and last bar to its end in which each account has less than asked for, and how many.

    It is asked for its maintenance margin ``demand`` times; bars counted lie at least ``quiet`` apart.
    """
    options = prepared.options._replace(demand=demand, strict=False)
    prepared, held = replace(prepared, options=options), prepared.held.arrays
    world, ends = world_of(prepared, held), _empty_ends(held.wallet.size, held.kind.size)
    first, last, count = (np.empty(held.wallet.size, np.int64) for _ in range(3))

    def part(begin: int, stop: int) -> None:
        room = room_of(prepared, held)
        alerts.alert(world, held, room, ends, readonly(until), quiet, first, last, count, begin, stop)

    in_chunks(part, held.wallet.size, threads)
    require_covered(prepared, ends, None)
    return first, last, count


def followed(prepared: Prepared) -> tuple[Floats, Floats, Floats]:
    """Return V of the first account by bar, at closes and under the convention, and its need at closes.

    NaN where it holds no leg.
    """
    held = prepared.held.arrays
    closes, worst, needed = (np.full(prepared.bars.times.size, np.nan) for _ in range(3))
    alerts.trace(world_of(prepared, held), held, room_of(prepared, held), 0, closes, worst, needed)
    return closes, worst, needed


def world_of(prepared: Prepared, held: Holdings) -> sweep.World:
    """Return the world of accounts, with shortcuts for those that hold one position."""
    shortcuts = plant(prepared.bars, prepared.rules, held, allowed=prepared.options.demand == 1.0)
    return sweep.World(prepared.bars.arrays, prepared.rules.rules, shortcuts, prepared.options)


def room_of(prepared: Prepared, held: Holdings) -> Terms:
    """Return room for the terms of the largest account."""
    terms = int(np.diff(held.first).max(initial=1))
    tiers = int(np.diff(prepared.rules.rules.tier_first).max(initial=1))
    haircuts = int(np.diff(held.haircut_first).max(initial=1))
    return scratch(terms, terms * max(2 * tiers, haircuts))


def require_covered(prepared: Prepared, ends: sweep.Ends, who: Integers | None) -> None:
    """Refuse accounts with positions larger than their tables cover."""
    if ends.beyond.any():
        frame = prepared.accounts.accounts
        bad = np.zeros(frame.height, np.bool_)
        bad[np.arange(frame.height) if who is None else who] = ends.beyond
        sentence = "positions must be of a size their tiers cover"
        raise DataError(offence(frame, "accounts", sentence, pl.lit(pl.Series(bad)), ()))


def _empty_ends(accounts: int, rows: int) -> sweep.Ends:
    def money() -> Floats:
        return np.full(accounts, np.nan)

    return sweep.Ends(
        outcome=np.empty(accounts, np.uint8),
        bar=np.empty(accounts, np.int64),
        earliest=np.empty(accounts, np.int64),
        latest=np.empty(accounts, np.int64),
        left_over=money(),
        maintenance_margin=money(),
        equity_at_fill=money(),
        wallet=money(),
        beyond=np.zeros(accounts, np.bool_),
        fill_price=np.full(rows, np.nan),
        triggered=np.zeros(rows, np.bool_),
    )
