"""``backtest sweep`` in batches: a book that need not fit in memory, on processes or a cluster."""

from __future__ import annotations

import math
from argparse import Namespace
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from backtest.amounts import DOLLARS, number, percentage, plural
from backtest.cli.common import assumptions, summary_file, tables
from backtest.cli.common.inputs import read_conventions
from backtest.cli.common.outputs import outputs, require_folder
from backtest.cli.common.progress import Line
from backtest.cli.common.swept import CENT, SATOSHI, one_currency
from backtest.cli.common.text import facts, paragraph
from backtest.engine.input_warnings import unread
from backtest.errors import ArgumentError
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.scale import Cluster, Executor, Prices, Processes, Progress, Result, Serial, sweep
from backtest.scale.batched_sweeps import BATCH_ROWS
from backtest.scale.batches import columns_of
from backtest.scale.cluster import LOCAL
from backtest.study.levels.grid import LevelGrid, level_grid
from backtest.study.liquidations import flow


@dataclass(frozen=True, eq=False)
class Totals:
    """What a run in batches says about itself, in the place of a whole book and its outcomes."""

    result: Result
    currency: str
    unit: float
    invented: bool = False

    @cached_property
    def outcomes(self) -> pl.DataFrame:
        """The outcomes, condensed."""
        return self.result.flow()

    @cached_property
    def totals(self) -> dict[str, Any]:
        """The totals of the run by name."""
        return flow.summary(self.outcomes, unit=self.unit).row(0, named=True)

    @property
    def left_out(self) -> int:
        """How many positions were not swept."""
        return self.result.positions - self.result.rows


def is_asked_for(options: Namespace) -> bool:
    """Whether any option makes a sweep one in batches."""
    asked = (options.batch_rows, options.workers, options.cluster, options.storage, options.levels)
    return options.no_outcomes or any(value is not None for value in asked)


def run(options: Namespace) -> None:
    """Sweep the positions given in batches, and write their outcomes, their sums and a summary."""
    require_folder(options.out)
    venue, conventions = Venue.load(options.venue), read_conventions(options)
    storage = None if options.storage is None else dict(options.storage)
    prices = _prices(options, storage)
    currency = one_currency(venue, prices.known) or "USD"
    unit = CENT if currency in DOLLARS else SATOSHI
    with Line() as line:
        result = sweep(
            str(options.positions),
            prices,
            venue,
            options.out,
            adjustments=options.adjustments,
            batch_rows=options.batch_rows or BATCH_ROWS,
            unit=unit,
            keep_outcomes=not options.no_outcomes,
            levels=_grids(options, prices),
            executor=_executor(options),
            report=lambda progress: line.show(_told(progress)),
            storage=storage,
            conventions=conventions,
        )
    told = Totals(result, currency, unit)
    with outputs(options.out) as files:
        for found in result.levels():
            files.write_parquet(f"levels_{found.grid.symbol}.parquet", found.to_frame())
        files.write_summary(_summary(options, told, conventions.tiers))
    _print(told, options, [*result.written(), *files.written], storage)


def _prices(options: Namespace, storage: dict[str, str] | None) -> Prices:
    return Prices(
        str(options.bars),
        None if options.funding is None else str(options.funding),
        gap_limit=options.gap_limit,
        symbols=tuple(options.symbol or ()),
        start=options.start,
        end=options.end,
        storage=storage,
    )


def _grids(options: Namespace, prices: Prices) -> list[LevelGrid]:
    """Return the cells to count levels in, of the whole history of each symbol asked for."""
    symbols = list(dict.fromkeys(options.levels or ()))
    for symbol in symbols:
        if symbol not in prices.known:
            raise ArgumentError(
                f"--levels must name symbols of the bars ({', '.join(prices.known)}): {symbol} is none"
            )
    return [level_grid(prices.market((symbol,)), symbol) for symbol in symbols]


def _executor(options: Namespace) -> Executor:
    if options.cluster is not None:
        if options.workers is not None and options.cluster != LOCAL:
            raise ArgumentError("--workers is for processes of this machine: a cluster elsewhere has its own")
        return Cluster(options.cluster, options.workers)
    return Serial(options.threads) if options.workers is None else Processes(options.workers)


def _told(progress: Progress) -> str:
    """Return how far a run is, in a line."""
    share = percentage(progress.done / progress.positions if progress.positions else 1.0, 0)
    done = f"{share} %, {number(progress.done)} of {plural(progress.positions, 'position')}"
    if math.isnan(progress.rate):
        return f"{done} ..."
    left = progress.seconds_left
    time = f"{left:.0f} s" if left < 90 else f"{left / 60:.0f} min" if left < 5400 else f"{left / 3600:.1f} h"
    failed = f", {plural(progress.failed, 'batch')} failed" if progress.failed else ""
    return f"{done}, {number(progress.rate)} a second, {time} left{failed} ..."


def _summary(options: Namespace, told: Totals, tiers: Tiers) -> dict[str, Any]:
    """Return what goes into ``summary.json``; which files it was made from stands in the manifest."""
    result = told.result
    counts = flow.tally(told.outcomes)
    seconds = {**result.seconds, "wall": result.wall_seconds}
    summary = {
        **summary_file.asked(options),
        "venue": {"name": str(options.venue), "settlement": told.currency},
        "tiers": {"rule": tiers, "used": result.tiers().to_dicts()},
        "gaps": summary_file.gaps(result.gaps()),
        "batches": {"count": result.batches, "swept": result.swept, "positions": result.positions},
        "outcomes": {
            row["outcome"]: summary_file.plain_number(row["count"]) for row in counts.iter_rows(named=True)
        },
        "totals": {name: summary_file.plain_number(value) for name, value in told.totals.items()},
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }
    summary["arguments"]["storage"] = [name for name, _ in options.storage or ()]  # their values may be keys
    return summary


def _print(told: Totals, options: Namespace, written: list[Any], storage: dict[str, str] | None) -> None:
    result = told.result
    print(tables.counts(told))
    print(f"\n{paragraph(f'{tables.headline(told)} {tables.caveats(told)}')}\n")
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items())
    here = f"{plural(result.swept, 'batch')} of {result.batches:,} now, in {result.wall_seconds:.1f} s"
    named = [
        *((f"tiers {symbol}", text) for symbol, text in assumptions.tiers(result.tiers())),
        ("gaps", assumptions.gaps_found(result.gaps(), options.gap_limit)),
        *(("look twice", text) for text in unread(columns_of(str(options.positions), storage))),
        ("written", ", ".join(str(path) for path in written)),
        ("batches", here.replace("batchs", "batches")),
        ("seconds", f"of all workers together: {stages}"),
    ]
    print(facts(named, indent=""))
