"""The words of columns that hold one of few."""

from __future__ import annotations

import polars as pl

from backtest.kernel.choices import ContractKind, OutcomeCode

Side = pl.Enum(["long", "short"])
ReplayOutcome = pl.Enum(OutcomeCode.names())
#: Outcomes of a sweep, which has neither reduced nor deleveraged positions.
Outcome = pl.Enum(OutcomeCode.names()[: OutcomeCode.REDUCED])
#: Positions that were opened: rejected ones stand in no book and in no share.
OPENED = pl.col("outcome") != "rejected"
#: How a contract pays.
KindOfContract = pl.Enum(ContractKind.names())
