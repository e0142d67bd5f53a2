"""Progress and results of a run over batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from backtest.shown import shown
from backtest.study.levels.grid import LevelGrid
from backtest.study.levels.levels import MOVED, STILL, Levels
from backtest.study.partial_sums.levels import levels_from

OUTCOMES, PARTS, SHARDS = "outcomes", "parts", "shards"
#: Summary of a command; a folder without it holds no result of one.
SUMMARY = "summary.json"
FLOW, LIVES, TIERS, PULSES, LEVELS, GAPS = "flow", "lives", "tiers", "pulses", "levels", "gaps"


@dataclass(frozen=True)
class Progress:
    """Progress of a run."""

    batches: int
    finished: int  #: batches, of earlier calls too
    failed: int
    positions: int
    done: int  #: positions in finished batches
    done_before: int  #: of these, by earlier calls
    seconds: float  #: since this call began

    @property
    def rate(self) -> float:
        """Positions a second in this call; NaN before the first."""
        return (self.done - self.done_before) / self.seconds if self.done > self.done_before else float("nan")

    @property
    def seconds_left(self) -> float:
        """Seconds for the remaining positions at the rate so far; NaN before the first."""
        return (self.positions - self.done) / self.rate


@dataclass(frozen=True)
@shown()
class Result:
    """Results of a finished run, in its folder."""

    folder: Path
    positions: int
    rows: int  #: outcomes: fewer than positions where some were filtered out
    batches: int
    swept: int  #: batches of this call; the others were finished before
    seconds: Mapping[str, float]  #: of all workers together: read, sweep, sums, write
    wall_seconds: float  #: of this call
    grids: tuple[LevelGrid, ...] = ()  #: grids of levels
    unit: float = 0.01  #: of amounts
    moved: bool = False  #: whether funding or holders moved levels
    #: SHA-256 of each local input by its path; of object storage the number of rows and the sum of their hashes
    inputs: Mapping[str, str] = field(default_factory=dict)

    def written(self) -> list[Path]:
        """Return its files and folders."""
        sums = (f"{kind}.parquet" for kind in (FLOW, LIVES, TIERS, GAPS))
        names = (OUTCOMES, *sums, PULSES, *([f"{LEVELS}.parquet"] if self.grids else []))
        return [self.folder / name for name in names if (self.folder / name).exists()]

    def outcomes(self) -> pl.LazyFrame:
        """Return the outcomes of all positions in their order, unread."""
        return pl.scan_parquet(self.folder / OUTCOMES, glob=False)

    def flow(self) -> pl.DataFrame:
        """Return sums of the outcomes, which every function of ``study.liquidations.flow`` accepts as outcomes."""
        return pl.read_parquet(self.folder / f"{FLOW}.parquet", glob=False)

    def lives(self) -> pl.DataFrame:
        """Return counts of holding periods, which ``study.survival`` accepts as single ones."""
        return pl.read_parquet(self.folder / f"{LIVES}.parquet", glob=False)

    def tiers(self) -> pl.DataFrame:
        """Return the tier tables used, as ``tiers_used`` does."""
        return pl.read_parquet(self.folder / f"{TIERS}.parquet", glob=False)

    def pulses(self) -> pl.LazyFrame:
        """Return the liquidations at each time, as ``study.liquidations.cascades.pulses`` does, unread."""
        return pl.scan_parquet(self.folder / PULSES, glob=False)

    def gaps(self) -> pl.DataFrame:
        """Return the gaps of the symbols held, as ``Market.gaps`` does."""
        return pl.read_parquet(self.folder / f"{GAPS}.parquet", glob=False)

    def levels(self) -> list[Levels]:
        """Return the open liquidation levels in each grid, in their order."""
        if not self.grids:
            return []
        changes = pl.read_parquet(self.folder / f"{LEVELS}.parquet", glob=False)
        assumptions = (MOVED if self.moved else STILL,)
        return [
            levels_from(changes, grid, number, unit=self.unit, assumptions=assumptions)
            for number, grid in enumerate(self.grids)
        ]
