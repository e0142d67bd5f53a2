"""Sweep of one batch by a worker: read, sweep, add up, write. It receives paths and returns sums."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import Conventions
from backtest.engine.sweep.sweep import sweep, tiers_used
from backtest.errors import DataError
from backtest.market.market import Market
from backtest.rules.timeline import of_symbols
from backtest.rules.venue import Venue
from backtest.scale.atomic_files import draft, settle
from backtest.scale.batches import Batch, StorageOptions, ids_of, is_remote, readable_parquet, scan
from backtest.scale.inputs import Identity, content_of, require_same, require_same_code
from backtest.scale.manifest import quick_checksum_of
from backtest.scale.prices import Prices
from backtest.scale.result import FLOW, GAPS, LEVELS, LIVES, OUTCOMES, PARTS, PULSES, TIERS
from backtest.schemas.frames import ADJUSTMENTS
from backtest.schemas.validation import conform, offence
from backtest.study.levels.grid import LevelGrid
from backtest.study.levels.levels import levels_of
from backtest.study.partial_sums.levels import NOTHING, level_changes
from backtest.study.partial_sums.outcomes import coarsen, condense, condense_ends, pulses_of

#: A tenth larger than by polars' default, and written in two thirds of the time.
COMPRESSION: dict[str, Any] = {"compression": "lz4"}


@dataclass(frozen=True, eq=False)
class Job:
    """Settings shared by all batches of a run."""

    folder: Path
    prices: Prices
    files: Mapping[str, Identity | Sequence[int] | None]  #: all inputs as the driver sees them, by path
    positions: frozenset[str]  #: of these, those of positions
    code: str  #: digest of the driver's
    venue: Venue
    conventions: Conventions  #: tables by symbol, of all that the prices hold
    adjustments: str | None
    every: str  #: finest interval of the flow
    unit: float
    keep_outcomes: bool
    threads: int | None
    storage: StorageOptions | None
    grids: tuple[LevelGrid, ...] = ()  #: that levels are counted in
    drift: bool = False  #: whether levels move with funding


@dataclass(frozen=True)
class Swept:
    """Result of a batch: rows, files with checksums, seconds by stage."""

    rows: int
    content: Sequence[int] | None  #: of the batch's rows, where they are of object storage
    files: Mapping[str, str]  #: checksum by path below the folder
    seconds: Mapping[str, float]


@dataclass
class Stopwatch:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def sweep_batch(job: Job, batch: Batch) -> Swept:
    """Sweep one batch and leave its outcomes and its partial sums in the job's folder.

    Raises
    ------
    BacktestError
        For positions that cannot be read, or are invalid for the market or the venue.
    OSError
        Where its files cannot be written.
    """
    watch = Stopwatch()
    require_same_code(job.code)
    with watch.stage("read"):
        _require_inputs(job, batch)
        positions = batch.read(job.storage)
        content = content_of(positions.lazy()) if is_remote(batch.path) else None
        book = _book(job, positions)
        del positions  # the book has a copy
        market = _market(job, book)
    with watch.stage("sweep"):
        outcomes = sweep(book, market, job.venue, conventions=conventions_of(job, market), threads=job.threads)
    with watch.stage("sums"):
        parts = _parts(job, book, market, outcomes)
    with watch.stage("write"):
        written = {f"{PARTS}/{kind}/{batch.name}.parquet": part for kind, part in parts.items()}
        if job.keep_outcomes:
            written[f"{OUTCOMES}/{batch.name}.parquet"] = outcomes
        sums = _write_all(job.folder, written)
    return Swept(outcomes.height, content, sums, watch.seconds)


def conventions_of(job: Job, market: Market) -> Conventions:
    """Return a job's conventions for the symbols of a market, which need not be all."""
    return replace(job.conventions, tiers=of_symbols(job.conventions.tiers, market.symbols))


def _require_inputs(job: Job, batch: Batch) -> None:
    """Raise where this worker sees other files than the driver."""
    for path, found in job.files.items():
        own = path in batch.paths or path not in job.positions
        if own and not is_remote(path) and not isinstance(found, list):
            require_same(path, found, "positions" if path in batch.paths else "input")  # type: ignore[arg-type]


def _book(job: Job, positions: pl.DataFrame) -> Book:
    if job.adjustments is None or "position_id" not in positions.columns:
        return Book(positions)
    own = ids_of(positions.lazy()).collect()
    lowest, highest = pl.lit(own["position_id"].min()), pl.lit(own["position_id"].max())
    with readable_parquet("adjustments", job.adjustments):
        rows = scan(job.adjustments, False, job.storage)
        rows = rows.with_columns(pl.col("position_id").cast(own.schema["position_id"]))
        near = rows.filter(pl.col("position_id").is_between(lowest, highest)).collect()
    changes = conform(near, ADJUSTMENTS)
    return Book(positions, changes.join(own, on="position_id", how="semi", maintain_order="left"))


#: The last market and its key; batches come in the order of their files, mostly symbol by symbol.
_last: list[tuple[Any, Market]] = []


def _market(job: Job, book: Book) -> Market:
    key = (job.prices, {path: found for path, found in job.files.items() if path not in job.positions})
    for known, market in _last:
        if known == key and set(book.symbols) <= set(market.symbols):
            return market
    _last.clear()  # before the next is read: one at a time in memory
    unknown = [symbol for symbol in book.symbols if symbol not in job.prices.known]
    if unknown:
        sentence = f"symbol must be one of the bars' ({', '.join(job.prices.known)})"
        raise DataError(
            offence(book.positions, "positions", sentence, pl.col("symbol").is_in(unknown), ("symbol",))
        )
    market = job.prices.market(book.symbols or job.prices.known[:1])
    _last.append((key, market))
    return market


def _parts(job: Job, book: Book, market: Market, outcomes: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the sums that are added up over batches, by kind."""
    stamps = condense(outcomes, None, unit=job.unit)
    found = {
        FLOW: coarsen(stamps, job.every),
        LIVES: condense_ends(outcomes, market),
        PULSES: pulses_of(stamps, unit=job.unit),
        TIERS: tiers_used(book, market, job.venue, conventions=conventions_of(job, market)),
        GAPS: market.gaps().filter(pl.col("symbol").is_in(book.symbols)),
    }
    return found | {LEVELS: _levels(job, book, market)} if job.grids else found


def _levels(job: Job, book: Book, market: Market) -> pl.DataFrame:
    """Return the book's contribution to the cells of each grid."""
    held = [(number, replace(grid)) for number, grid in enumerate(job.grids) if grid.symbol in book.symbols]
    parts = []
    for number, grid in held:  # built anew: arrays that came from another process can be written to
        found = levels_of(
            _of_symbol(book, grid.symbol), market, job.venue, grid, drift=job.drift, unit=job.unit,
            conventions=conventions_of(job, market), threads=job.threads,
        )  # fmt: skip
        parts.append(level_changes(found, number))
    return pl.concat([NOTHING, *parts])


def _of_symbol(book: Book, symbol: str) -> Book:
    """Return the positions of a symbol and their adjustments."""
    if book.symbols == (symbol,):
        return book
    own = book.positions.filter(pl.col("symbol") == symbol)
    if book.adjustments is None:
        return Book(own)
    changes = book.adjustments.join(own, on="position_id", how="semi", maintain_order="left")
    return Book(own, changes)


def _write_all(folder: Path, written: Mapping[str, pl.DataFrame]) -> dict[str, str]:
    """Write the files of a batch and return their checksums; where one cannot be written, none is left."""
    try:
        return {file: _write(folder, file, frame) for file, frame in written.items()}
    except OSError:
        for file in written:
            (folder / file).unlink(missing_ok=True)
        raise


def _write(folder: Path, file: str, frame: pl.DataFrame) -> str:
    """Write a frame, whole or not at all, and return its checksum."""
    with draft(folder, file) as path:
        frame.write_parquet(path, **COMPRESSION)
        checksum = quick_checksum_of(path)
        if file.startswith(OUTCOMES):
            settle(path)
        return checksum
