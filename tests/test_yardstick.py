"""Outcomes stay what they were: every column of a stored set of results, by its canonical hash."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import yardstick
from canonical import column_hash


@pytest.mark.parametrize("kind", yardstick.CASES)
def test_results__equal_the_stored_ones(kind: str) -> None:
    told = list(yardstick.differences(kind, json.loads(yardstick.STORED.read_text())))
    changed = [line for line in told if "drawn differently" not in line]
    assert not changed, "\n".join(changed[:20])


def test_hash__knows_values_and_not_their_storage() -> None:
    same = pl.Series("x", [0.0, np.nan, None, 1.0])
    negative = np.array([-0.0, -np.nan, 0.0, 1.0])
    again = pl.concat([pl.Series("y", negative[:2]), pl.Series("y", [None, 1.0])])
    assert column_hash(same) == column_hash(again)
    assert column_hash(same) != column_hash(same.fill_null(0.0))
    assert column_hash(same) != column_hash(same.fill_nan(None))
    text = pl.Series("x", ["long", None, "short"])
    assert column_hash(text) == column_hash(text.cast(pl.Enum(["short", "long"])))
