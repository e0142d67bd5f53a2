"""Exports of levels, each read back: JSON by its schema, CSV as frames, series for a charting library."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from backtest.__main__ import main

WINDOW = ["--symbol", "BTCUSDT", "--from", "2021-05-18", "--until", "2021-05-20", "--count", "2000", "--seed", "1"]


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("levels") / "out"
    more = ["--since", "2021-05-19", "--columns", "48", "--bins", "60", "--formats", "json,csv", "parquet"]
    assert main(["levels", *WINDOW, *more, "--out", str(folder)]) == 0
    return folder


def read(out: Path, name: str):
    return json.loads((out / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", ["levels", "map"])
def test_json__follows_its_schema_and_the_schema_refuses_others(out: Path, name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema, found = read(out, f"{name}.schema"), read(out, name)
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    validator.validate(found)
    wrong = {**found, "y_axis": ["high"]} if name == "levels" else {**found, "100": [[100, 1.0, 7, None]]}
    assert not validator.is_valid(wrong)


def test_json__holds_the_cells_of_the_frame(out: Path) -> None:
    found, frame = read(out, "levels"), pl.read_parquet(out / "levels.parquet")
    assert sum(amount for _, _, amount in found["liquidation_leverage_data"]) == pytest.approx(
        frame["notional"].sum()
    )
    columns, bins = (max(triple[place] for triple in found["liquidation_leverage_data"]) for place in (0, 1))
    assert columns < len(found["price_candlesticks"])
    assert bins < len(found["y_axis"])
    amounts = sum(entry[1] for entries in read(out, "map").values() for entry in entries)
    assert amounts == pytest.approx(pl.read_parquet(out / "map.parquet")["notional"].sum(), rel=1e-6)


@pytest.mark.parametrize("name", ["levels", "map", "clusters", "cluster_outcomes", "tracks"])
def test_csv__holds_what_parquet_holds(out: Path, name: str) -> None:
    whole = pl.read_parquet(out / f"{name}.parquet")
    hours = pl.selectors.duration().dt.total_milliseconds() / 3_600_000
    flat = whole.select(~pl.selectors.nested()).with_columns(hours)
    found = pl.read_csv(out / f"{name}.csv", try_parse_dates=True)
    assert found.columns == flat.columns
    assert found.height == flat.height
    for column, kind in flat.schema.items():
        if kind.is_float():
            assert found[column].cast(pl.Float64).equals(flat[column], null_equal=True)
        if kind.is_temporal():
            assert found[column].dt.epoch("ms").equals(flat[column].dt.epoch("ms"), null_equal=True)


def test_series__are_what_a_charting_library_takes(out: Path) -> None:
    found, levels = read(out, "series"), read(out, "levels")
    assert [row["time"] for row in found["candles"]] == [row[0] for row in levels["price_candlesticks"]]
    for row, other in zip(found["candles"], levels["price_candlesticks"], strict=True):
        assert [row[name] for name in ("open", "high", "low", "close")] == pytest.approx(
            [float(x) for x in other[1:5]]
        )
        assert row["low"] <= min(row["open"], row["close"]) <= max(row["open"], row["close"]) <= row["high"]
    clusters = pl.read_parquet(out / "clusters.parquet")
    assert [line["price"] for line in found["price_lines"]] == pytest.approx(
        clusters["centre"].to_list(), rel=1e-9
    )
    times = [row["time"] for row in found["long"]]
    assert times == sorted(set(times))
    assert all(row["value"] >= 0 for row in found["long"])
    assert all(row["value"] <= 0 for row in found["short"])
