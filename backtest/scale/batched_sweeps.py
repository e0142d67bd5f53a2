"""Sweep of a book that need not fit in memory: batch by batch, with the outcomes of a single sweep."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import USUAL, Changes, Conventions
from backtest.engine.sweep.sweep import sweep as sweep_in_memory
from backtest.errors import ArgumentError, require_folder_of_this_machine
from backtest.market.market import INTERVAL
from backtest.market.panics import UNREADABLE, quiet
from backtest.rules.timeline import by_symbol
from backtest.rules.venue import Venue
from backtest.scale import unique_ids
from backtest.scale.atomic_files import discard
from backtest.scale.batches import Batch, StorageOptions, files, is_remote, plan, scan
from backtest.scale.executors import Executor, Serial, is_unwritable
from backtest.scale.inputs import absolute, code_digest, content_of, contents, identity_of
from backtest.scale.levels import grids_asked, require_known
from backtest.scale.manifest import opened
from backtest.scale.merge import merge
from backtest.scale.prices import Prices
from backtest.scale.result import SHARDS, Progress, Result
from backtest.scale.run import Run
from backtest.scale.storage_options import require_known as require_known_options
from backtest.scale.worker import Job, conventions_of
from backtest.schemas.arguments import checked
from backtest.study.levels.grid import LevelGrid

#: Settings of prices other than their files.
WINDOW = ("gap_limit", "symbols", "start", "end", "price_venue")

#: Positions a batch: about 0.9 GB a worker; smaller ones spend more of their time on opening files.
BATCH_ROWS = 2_000_000


@checked
def sweep(
    positions: str | Path,
    prices: Prices,
    venue: Venue,
    folder: str | Path,
    *,
    adjustments: str | Path | None = None,
    batch_rows: int = BATCH_ROWS,
    every: str = "1h",
    unit: float = 0.01,
    keep_outcomes: bool = True,
    levels: LevelGrid | Sequence[LevelGrid] = (),
    drift: bool = False,
    executor: Executor | None = None,
    report: Callable[[Progress], None] | None = None,
    storage: StorageOptions | None = None,
    conventions: Conventions = USUAL,
    **changes: Unpack[Changes],
) -> Result:
    """Sweep a book that need not fit in memory, batch by batch, and write outcomes and sums to a folder.

    Row for row the outcomes equal those of ``backtest.sweep`` over the whole book, whatever the batches and
    wherever they are swept. A run that was stopped, in any way, continues from its last finished batch when it is
    called again.

    Parameters
    ----------
    positions, adjustments
        Parquet: a file, a folder of files (hive or not), a pattern, or an address of object storage.
    prices, venue
        Files of prices, and the rules.
    folder
        Results of this run: ``outcomes/`` (a file a batch, in order), ``flow.parquet``, ``lives.parquet``,
        ``tiers.parquet``, ``gaps.parquet``, ``pulses/``, ``levels.parquet`` where requested, and the manifest.
    batch_rows
        Most positions in a batch. Memory grows with it, and with the symbols of a batch.
    every, unit
        Finest interval of the flow, and the unit that amounts are rounded to before they are added up.
    keep_outcomes
        Whether to write the outcomes, or their sums only.
    levels, drift
        Grids to count open liquidation levels in, as ``study.levels.levels_of`` does for the whole book, and
        whether funding moves the levels; this sweeps the positions of their symbols once more.
    executor
        Where batches are swept; None: in this process, one after another. It is closed at the end.
    report
        Called with the :class:`Progress` at the start and after every batch.
    storage
        Options of polars' readers of object storage.
    conventions, **changes
        As :func:`~backtest.sweep` takes them.

    Raises
    ------
    IncompleteError
        Where some batches could not be swept, because of a damaged file or invalid positions, or results could not
        be written. All other batches are swept; the next run sweeps the missing ones.
    ArgumentError
        For invalid options, a folder that holds another run, or one that another process writes to.
    DataError, RulesError
        For invalid prices, ids used twice across batches, or an invalid venue.

    Examples
    --------
    >>> from backtest.scale import Prices, sweep
    >>> prices = Prices(folder / "bars.parquet")
    >>> result = sweep(folder / "positions.parquet", prices, venue, folder / "run", batch_rows=400)
    >>> result.batches, result.rows
    (3, 1000)
    >>> result.outcomes().filter("liquidated").collect().height
    334
    """
    if not INTERVAL.fullmatch(every):
        raise ArgumentError(f"must be an interval like 15m, 1h or 1d, is {every!r}", argument="every")
    if not 0 < unit < float("inf"):
        raise ArgumentError(f"must be above zero, is {unit!r}", argument="unit")
    require_folder_of_this_machine(folder, "folder")
    require_known_options(storage)
    conventions = conventions.with_(**changes)
    tables = by_symbol(conventions.tiers, venue.contracts_of(prices.known, ()))
    prices = _absolute(prices, conventions)
    conventions = conventions.with_(tiers=tables, gap_limit="market")
    changed = None if adjustments is None else absolute(str(adjustments))
    with closing(executor or Serial()) as executor:
        grids = grids_asked(levels, drift)
        require_known(grids, prices.known if grids else ())
        batches = plan(absolute(str(positions)), batch_rows, storage)
        own = frozenset(path for batch in batches for path in batch.paths)
        job = Job(
            folder=Path(folder).absolute(),
            prices=prices,
            files=_identities(prices, own, changed, storage),
            positions=own,
            code=code_digest(),
            venue=venue,
            conventions=conventions,
            adjustments=changed,
            every=every,
            unit=unit,
            keep_outcomes=keep_outcomes,
            threads=executor.threads,
            storage=storage,
            grids=grids,
            drift=drift,
        )
        settings = _settings(job, batches, batch_rows)
        _rehearse(job, batches)
        unique_ids.check(batches, job.adjustments, storage)
        with opened(job.folder / SHARDS, settings, suffix=".json") as manifest:
            discard(job.folder)
            run = Run(job, manifest, batches)
            try:
                run.sweep(executor, report)
                merge(job.folder, run.batches, unit, levels=bool(grids))
            except OSError as error:
                if is_unwritable(error):
                    raise run.unwritable(error) from None
                raise
            finally:
                executor.close()
                discard(job.folder)
            return run.result()


def _absolute(prices: Prices, conventions: Conventions) -> Prices:
    """Return prices at absolute paths, with the gap limit of the conventions where they set one."""
    if conventions.gap_limit != "market":  # gaps are then reported by it too
        prices = dataclasses.replace(prices, gap_limit=conventions.gap_limit)
    return dataclasses.replace(
        prices,
        bars=absolute(str(prices.bars)),
        funding=None if prices.funding is None else absolute(str(prices.funding)),
    )


def _identities(prices: Prices, own: frozenset[str], changed: str | None, storage: Any) -> dict[str, Any]:
    """Return what identifies the contents of each file of a run: prices, positions, adjustments."""
    inputs: dict[str, Any] = dict(prices.identities())
    for path in [*own, *([] if changed is None else files(changed, "adjustments"))]:
        inputs[path] = identity_of(path) if not is_remote(path) else None
    if changed is not None and is_remote(changed):
        inputs[changed] = content_of(scan(changed, False, storage))
    return inputs


def _rehearse(job: Job, batches: Sequence[Batch]) -> None:
    """Sweep no position, so that options invalid for every batch raise once, as a symbol without rules does."""
    market = job.prices.market(job.prices.known[:1])
    whole = next((batch for batch in batches if batch.rows is not None), None)
    if whole is not None:
        none = whole.scan(job.storage).head(0).collect()
        sweep_in_memory(Book(none), market, job.venue, threads=1, conventions=conventions_of(job, market))
        with suppress(*UNREADABLE), quiet():  # the batch reports what is damaged
            held = whole.scan(job.storage).select(pl.col("symbol").cast(pl.String).unique()).collect()
            job.venue.contracts_of(symbol for symbol in held["symbol"] if symbol in job.prices.known)


def _settings(job: Job, batches: Sequence[Batch], batch_rows: int) -> dict[str, Any]:
    """Return all inputs that outcomes and sums depend on, which do not include the executor."""
    prices = dataclasses.replace(job.prices, storage=None)
    others = {path: found for path, found in job.files.items() if path not in job.positions}
    return {
        "code": job.code,
        "version": import_module("backtest").__version__,
        "positions": list(dict.fromkeys(_resolved(path) for batch in batches for path in batch.paths)),
        "files": {_resolved(path): found for path, found in contents(others).items()},
        "batch_rows": batch_rows,
        "prices": {name: str(value) for name, value in vars(prices).items() if name in WINDOW},
        "venue": _digest(job.venue),
        "conventions": json.loads(json.dumps(dataclasses.asdict(job.conventions), default=str)),
        "every": job.every,
        "unit": job.unit,
        "keep_outcomes": job.keep_outcomes,
        "levels": [_digest(grid) for grid in job.grids],
        "drift": job.drift,
    }


def _resolved(path: str) -> str:
    return path if is_remote(path) else str(Path(path).resolve())


def _digest(rules: Venue | LevelGrid) -> str:
    """Return a name for a venue's rules, or a grid's cells, that is the same wherever they are the same."""
    return sha256(json.dumps(dataclasses.asdict(rules), default=_plain).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):  # a file of tables
        return sha256(value).hexdigest()
    return value.tolist() if isinstance(value, np.ndarray) else str(value)
