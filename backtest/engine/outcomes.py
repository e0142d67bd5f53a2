"""Frames of outcomes, from the arrays that kernels write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from backtest.engine import columns
from backtest.engine.notional import contract_kind, entry_notional
from backtest.kernel.choices import OutcomeCode
from backtest.rules.contract import Contract

#: Types of arrays that hold no float64.
TYPES = {"outcome": np.uint8, "ambiguous": np.bool_, "begun": np.bool_, "time": np.int64}


def empty(fields: Iterable[str], count: int, **sizes: int) -> dict[str, Any]:
    """Return an array for each field of outcomes; ``sizes`` of those whose size is not ``count``."""
    return {name: np.empty(sizes.get(name, count), TYPES.get(name, np.float64)) for name in fields}


def named(
    positions: pl.DataFrame,
    contracts: Sequence[Contract],
    outcome: pl.Enum,
    arrays: dict[str, Any],
    names: Iterable[str],
) -> pl.DataFrame:
    """Return positions with the columns of their outcomes; missing values are null.

    Parameters
    ----------
    contracts : of the positions' symbols
    outcome : what the codes of ``outcome`` mean
    arrays : (n,) by the name of their column
    names : of the columns, in order: those of the arrays, and what follows from them and from the positions
    """
    found: dict[str, Any] = {name: columns.numbers(array) for name, array in arrays.items()} | {
        "outcome": columns.categories(outcome, arrays["outcome"]),
        "liquidated": pl.Series(arrays["outcome"] == OutcomeCode.LIQUIDATED),
        "outcome_time": columns.times(arrays["outcome_time"]),
        "entry_notional": entry_notional(contracts),
        "contract_kind": contract_kind(contracts),
    }
    return positions.with_columns(**{name: found[name] for name in names})
