"""How far a run over batches is, and what it left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

OUTCOMES, PARTS, SHARDS = "outcomes", "parts", "shards"
FLOW, LIVES, TIERS, PULSES = "flow", "lives", "tiers", "pulses"


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

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
        """How long the rest takes at the rate so far; NaN before the first."""
        return (self.positions - self.done) / self.rate


@dataclass(frozen=True)
class Result:
    """What a finished run left in its folder."""

    folder: Path
    positions: int
    rows: int  #: outcomes: fewer than positions where some were filtered out
    batches: int
    swept: int  #: batches of this call; others were there already
    seconds: Mapping[str, float]  #: of all workers together: read, sweep, sums, write
    wall_seconds: float  #: of this call

    def written(self) -> list[Path]:
        """Return the files and folders it is in."""
        names = (OUTCOMES, f"{FLOW}.parquet", f"{LIVES}.parquet", f"{TIERS}.parquet", PULSES)
        return [self.folder / name for name in names if (self.folder / name).exists()]

    def outcomes(self) -> pl.LazyFrame:
        """Return the outcomes of all positions in their order, unread."""
        return pl.scan_parquet(self.folder / OUTCOMES)

    def flow(self) -> pl.DataFrame:
        """Return the outcomes condensed, which every function of ``study.flow`` takes in their place."""
        return pl.read_parquet(self.folder / f"{FLOW}.parquet")

    def lives(self) -> pl.DataFrame:
        """Return how many lived how long, which ``study.survival`` takes in place of each life."""
        return pl.read_parquet(self.folder / f"{LIVES}.parquet")

    def tiers(self) -> pl.DataFrame:
        """Return the tables of tiers that were used, as ``tiers_used`` does."""
        return pl.read_parquet(self.folder / f"{TIERS}.parquet")

    def pulses(self) -> pl.LazyFrame:
        """Return what was liquidated at each stamp, as ``study.cascades.pulses`` does, unread."""
        return pl.scan_parquet(self.folder / PULSES)
