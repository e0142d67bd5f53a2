"""The words of columns that hold one of few."""

from __future__ import annotations

import polars as pl

Side = pl.Enum(["long", "short"])
Outcome = pl.Enum(["liquidated", "stopped", "took_profit", "exited", "open", "unknown"])
#: A replay has two outcomes more.
ReplayOutcome = pl.Enum([*Outcome.categories, "reduced", "deleveraged"])
#: How a contract pays.
ContractKind = pl.Enum(["linear", "inverse", "face_value"])
