"""Decimals and integers of any width, as databases export them, are read where float64 or int64 holds them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from backtest import Book, scale, sweep
from backtest.errors import DataError
from backtest.market.sources import read
from backtest.schemas import frames
from backtest.schemas.validation import Schema, conform
from tests import scale_cases

SCHEMAS = [value for value in vars(frames).values() if isinstance(value, Schema)]
WIDE = pl.Decimal(38, 18)


def column(schema: Schema, name: str, values: pl.Series) -> pl.Series:
    """Return what a schema makes of one column, the only one it has."""
    own = next(item for item in schema.columns if item.name == name)
    return conform(values.alias(name).to_frame(), Schema(schema.name, (own,))).to_series()


@pytest.mark.parametrize(
    ("schema", "name"),
    [(s, c.name) for s in SCHEMAS for c in s.columns if c.dtype == pl.Float64],
    ids=lambda item: getattr(item, "name", item),
)
@pytest.mark.parametrize("dtype", [pl.Decimal(18, 8), WIDE, pl.UInt64, pl.Int128, pl.UInt8])
def test_numbers__decimals_and_integers_are_the_same_values(schema, name, dtype):
    values = [0.1, 0.01, 0.99] if dtype.is_decimal() else [1, 1, 1]
    given = pl.Series([Decimal(str(value)) if dtype.is_decimal() else value for value in values], dtype=dtype)
    assert column(schema, name, given).to_list() == values


def test_numbers__decimals_of_many_places_are_the_nearest_float():
    prices = ["41234.1", "45000.123", "0.00000001", "38000"]
    given = pl.Series([Decimal(price) for price in prices], dtype=WIDE)
    assert column(frames.BARS, "open", given).to_list() == [float(price) for price in prices]


@pytest.mark.parametrize(
    ("values", "dtype", "first"),
    [
        ([Decimal("0.5"), Decimal("41234.123456789012345678")], WIDE, "41234.123456789012345678"),
        ([1, 2**53 + 1], pl.Int64, "9007199254740993"),
        ([1, 2**53 + 1], pl.UInt64, "9007199254740993"),
    ],
)
def test_numbers__that_float64_does_not_hold_are_refused_by_name(values, dtype, first):
    with pytest.raises(
        DataError, match=r"bars: open must be numbers that float64 holds exactly .*1 of 2 rows"
    ) as e:
        column(frames.BARS, "open", pl.Series(values, dtype=dtype))
    assert f"first row 1 (open={first}" in str(e.value).replace("Decimal('", "").replace("')", "")


@pytest.mark.parametrize("dtype", [pl.UInt64, pl.Decimal(20, 0), pl.Int128])
def test_ids__of_other_widths_are_int64(dtype):
    given = pl.Series([3, 2**63 - 1], dtype=pl.Int64).cast(dtype)
    assert column(frames.POSITIONS, "position_id", given).to_list() == [3, 2**63 - 1]


def test_ids__beyond_int64_are_refused():
    with pytest.raises(
        DataError, match=r"positions: position_id must be whole numbers below 2\^63 .*: 1 of 2 rows"
    ):
        column(frames.POSITIONS, "position_id", pl.Series([3, 2**63], dtype=pl.UInt64))
    with pytest.raises(DataError, match="position_id must be whole numbers"):
        column(frames.POSITIONS, "position_id", pl.Series([Decimal("1.5")]))


def test_sides__may_be_decimals():
    given = pl.Series([Decimal(1), Decimal(-1)])
    assert column(frames.POSITIONS, "side", given).to_list() == ["long", "short"]


def test_batches__give_the_outcomes_of_the_floats(tmp_path):
    case = scale_cases.case(tmp_path, count=300)
    ids = pl.col("position_id").cast(pl.UInt64)
    held = case.book.positions.with_columns(
        quantity=pl.col("quantity").round(6), leverage=pl.col("leverage").round(6)
    )
    expected = sweep(Book(held), case.market, case.venue)
    exact = held.with_columns(ids, pl.col("quantity", "leverage").cast(pl.Decimal(38, 6)))
    exact.write_parquet(tmp_path / "exact.parquet")
    found = scale.sweep(str(tmp_path / "exact.parquet"), case.prices, case.venue, tmp_path / "out", batch_rows=100)
    assert_frame_equal(found.outcomes().collect(), expected)


def test_tables__of_decimals_are_read(tmp_path: Path):
    path = tmp_path / "candles.parquet"
    prices = {name: pl.Series([Decimal("100.5")], dtype=WIDE) for name in ("open", "high", "low", "close")}
    pl.DataFrame({"time": [1_621_425_600_000], **prices}).write_parquet(path)
    assert read(path, "table", symbol="BTCUSDT").rows["open"].to_list() == [100.5]
    wrong = prices | {"high": pl.Series([Decimal("100.512345678901234567")], dtype=WIDE)}
    pl.DataFrame({"time": [1_621_425_600_000], **wrong}).write_parquet(path)
    with pytest.raises(DataError, match=r"candles\.parquet: high must be numbers that float64 holds exactly"):
        read(path, "table", symbol="BTCUSDT")
