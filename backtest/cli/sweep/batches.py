"""``backtest sweep`` in batches: a book larger than memory, on processes or a cluster."""

from __future__ import annotations

import math
from argparse import Namespace
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from backtest.amounts import DOLLARS, number, percentage, plural
from backtest.cli.common import assumptions, summary_file, tables
from backtest.cli.common.changed_rules import read_venue
from backtest.cli.common.inputs import hashes_of, read_conventions
from backtest.cli.common.outputs import outputs
from backtest.cli.common.progress import Line
from backtest.cli.common.swept import CENT, SATOSHI, one_currency
from backtest.cli.common.text import facts, paragraph
from backtest.engine.input_warnings import unread
from backtest.errors import ArgumentError
from backtest.rules.rule_files import rule_files
from backtest.rules.timeline import Tiers
from backtest.scale import Cluster, Executor, Prices, Processes, Progress, Result, Serial, sweep
from backtest.scale.batched_sweeps import BATCH_ROWS
from backtest.scale.batches import columns_of
from backtest.scale.cluster import LOCAL
from backtest.study.levels.grid import LevelGrid, level_grid
from backtest.study.liquidations import flow


@dataclass(frozen=True, eq=False)
class Totals:
    """Totals of a run in batches, in place of a whole book and its outcomes."""

    result: Result
    currency: str
    unit: float
    synthetic: bool = False

    @cached_property
    def outcomes(self) -> pl.DataFrame:
        """The sums of the outcomes."""
        return self.result.flow()

    @cached_property
    def totals(self) -> dict[str, Any]:
        """The totals of the run by name."""
        return flow.summary(self.outcomes, unit=self.unit).row(0, named=True)

    @property
    def left_out(self) -> int:
        """The number of positions not swept."""
        return self.result.positions - self.result.rows


def is_requested(options: Namespace) -> bool:
    """Whether any option requests a sweep in batches."""
    given = (options.batch_rows, options.workers, options.cluster, options.storage, options.levels)
    return options.no_outcomes or any(value is not None for value in given)


def run(options: Namespace) -> None:
    """Sweep the given positions in batches, and write their outcomes, their sums and a summary."""
    venue, conventions = read_venue(options), read_conventions(options)
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
            report=lambda progress: line.show(_progress_line(progress)),
            storage=storage,
            conventions=conventions,
        )
    totals = Totals(result, currency, unit)
    with outputs(options.out) as files:
        for found in result.levels():
            files.write_parquet(f"levels_{found.grid.symbol}.parquet", found.to_frame())
        swept = [path.name for path in result.written()]
        files.write_summary(_summary(options, totals, conventions.tiers), swept)
    whose = assumptions.whose_prices(prices.price_venue, venue)
    _print(totals, options, whose, [*result.written(), *files.written], storage)


def _prices(options: Namespace, storage: dict[str, str] | None) -> Prices:
    return Prices(
        str(options.bars),
        None if options.funding is None else str(options.funding),
        gap_limit=options.gap_limit,
        symbols=tuple(options.symbol or ()),
        start=options.start,
        end=options.end,
        storage=storage,
        price_venue=options.price_venue or "",
    )


def _grids(options: Namespace, prices: Prices) -> list[LevelGrid]:
    """Return the level grid of each requested symbol over its whole history."""
    symbols = list(dict.fromkeys(options.levels or ()))
    for symbol in symbols:
        if symbol not in prices.known:
            raise ArgumentError(
                f"--levels must name symbols of the bars ({', '.join(prices.known)}): {symbol} is not in them"
            )
    return [level_grid(prices.market((symbol,)), symbol) for symbol in symbols]


def _executor(options: Namespace) -> Executor:
    if options.cluster is not None:
        if options.workers is not None and options.cluster != LOCAL:
            raise ArgumentError("--workers is for processes on this machine: a remote cluster has its own workers")
        return Cluster(options.cluster, options.workers)
    return Serial(options.threads) if options.workers is None else Processes(options.workers)


def _progress_line(progress: Progress) -> str:
    """Return the progress of a run in one line."""
    share = percentage(progress.done / progress.positions if progress.positions else 1.0, 0)
    done = f"{share} %, {number(progress.done)} of {plural(progress.positions, 'position')}"
    if math.isnan(progress.rate):
        return f"{done} ..."
    left = progress.seconds_left
    time = f"{left:.0f} s" if left < 90 else f"{left / 60:.0f} min" if left < 5400 else f"{left / 3600:.1f} h"
    failed = f", {plural(progress.failed, 'batch')} failed" if progress.failed else ""
    return f"{done}, {number(progress.rate)} a second, {time} left{failed} ..."


def _summary(options: Namespace, totals: Totals, tiers: Tiers) -> dict[str, Any]:
    """Return the contents of ``summary.json``."""
    result = totals.result
    counts = flow.tally(totals.outcomes)
    seconds = {**result.seconds, "wall": result.wall_seconds}
    summary = {
        **summary_file.request(options),
        "inputs": {**result.inputs, **hashes_of(rule_files(options.venue))},
        "prices": {"price_venue": options.price_venue},
        "venue": {"name": str(options.venue), "settlement": totals.currency},
        "tiers": {"rule": tiers, "used": result.tiers().to_dicts()},
        "gaps": summary_file.gaps(result.gaps()),
        "batches": {"count": result.batches, "swept": result.swept, "positions": result.positions},
        "outcomes": {
            row["outcome"]: summary_file.plain_number(row["count"]) for row in counts.iter_rows(named=True)
        },
        "totals": {name: summary_file.plain_number(value) for name, value in totals.totals.items()},
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }
    summary["arguments"]["storage"] = [name for name, _ in options.storage or ()]  # their values may be keys
    return summary


def _print(
    totals: Totals, options: Namespace, whose: str, written: list[Any], storage: dict[str, str] | None
) -> None:
    result = totals.result
    print(tables.counts(totals))
    print(f"\n{paragraph(f'{tables.headline(totals)} {tables.caveats(totals)}')}\n")
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items())
    this_run = f"{plural(result.swept, 'batch')} of {result.batches:,} in this run, in {result.wall_seconds:.1f} s"
    named = [
        *((f"tiers {symbol}", text) for symbol, text in assumptions.tiers(result.tiers())),
        *([("prices", whose)] if whose else []),
        ("gaps", assumptions.gaps_found(result.gaps(), options.gap_limit)),
        *(("warning", text) for text in unread(columns_of(str(options.positions), storage))),
        ("written", ", ".join(str(path) for path in written)),
        ("batches", this_run.replace("batchs", "batches")),
        ("seconds", f"{stages} (all workers together)"),
    ]
    print(facts(named, indent=""))
