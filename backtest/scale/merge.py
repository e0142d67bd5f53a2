"""Merging the sums of all batches, with memory for one symbol at a time."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

import polars as pl

from backtest.engine.sweep.sweep import TIERS_USED
from backtest.scale.atomic_files import draft
from backtest.scale.result import FLOW, GAPS, LEVELS, LIVES, OUTCOMES, PARTS, PULSES, SUMMARY, TIERS
from backtest.study.partial_sums.levels import merge_level_changes
from backtest.study.partial_sums.outcomes import merge as merge_condensed
from backtest.study.partial_sums.outcomes import merge_lives, merge_pulses


def merge(folder: Path, batches: Collection[str], unit: float, *, levels: bool) -> None:
    """Write the sums of all batches, and remove results of earlier batches that no longer exist."""
    for kind in (OUTCOMES, *(f"{PARTS}/{kind}" for kind in (FLOW, LIVES, TIERS, GAPS, PULSES, LEVELS))):
        for path in (folder / kind).glob("*.parquet"):
            if path.stem not in batches:
                path.unlink()
    _write(folder, f"{FLOW}.parquet", merge_condensed(_parts(folder, FLOW)))
    _write(folder, f"{LIVES}.parquet", merge_lives(_parts(folder, LIVES)))
    _write(folder, f"{TIERS}.parquet", _merged_tiers(_parts(folder, TIERS)))
    gaps = _parts(folder, GAPS).unique().sort("symbol", "start")
    _write(folder, f"{GAPS}.parquet", gaps.collect())
    if levels:
        _write(folder, f"{LEVELS}.parquet", merge_level_changes(_parts(folder, LEVELS)))
    pulses = _parts(folder, PULSES)
    symbols = pulses.select("symbol").unique().collect(engine="streaming")["symbol"].sort()
    for number, symbol in enumerate(symbols):
        own = merge_pulses(pulses.filter(pl.col("symbol") == symbol), unit=unit)
        _write(folder, f"{PULSES}/{number:05d}.parquet", own)
    if symbols.is_empty():
        _write(folder, f"{PULSES}/{0:05d}.parquet", pulses.collect())


def forget(folder: Path) -> None:
    """Remove the sums of all batches, which are outdated, the summary of them first."""
    (folder / SUMMARY).unlink(missing_ok=True)
    for kind in (FLOW, LIVES, TIERS, GAPS, LEVELS):
        (folder / f"{kind}.parquet").unlink(missing_ok=True)
    shutil.rmtree(folder / PULSES, ignore_errors=True)


def _parts(folder: Path, kind: str) -> pl.LazyFrame:
    return pl.scan_parquet(folder / PARTS / kind, glob=False)


def _merged_tiers(parts: pl.LazyFrame) -> pl.DataFrame:
    """Return the tables used in any batch."""
    keys = [name for name in TIERS_USED if name != "positions"]
    sums = parts.group_by(keys, maintain_order=True).agg(pl.col("positions").sum())
    return sums.sort("symbol", "start", "source", maintain_order=True).collect()


def _write(folder: Path, file: str, frame: pl.DataFrame) -> None:
    with draft(folder, file) as path:
        frame.rechunk().write_parquet(path)  # chunks, which become row groups, follow the number of threads
