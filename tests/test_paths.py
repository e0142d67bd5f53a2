"""A path that exists is that file or folder, also where its name could be read as a pattern."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from backtest import book, market
from backtest.scale import batches
from backtest.schemas.frames import Time

START = datetime(2021, 5, 19, tzinfo=UTC)

#: Names that mean something to a shell, each with a neighbour that it would match.
NAMES = [("bars[1]", "bars1"), ("bars*", "bars2"), ("bars?", "barsx")]


def bars(price: float) -> pl.DataFrame:
    times = pl.Series([START + timedelta(minutes=minute) for minute in range(3)]).cast(Time)
    prices = dict.fromkeys(("open", "high", "low", "close"), [price] * 3)
    return pl.DataFrame({"symbol": ["BTCUSDT"] * 3, "time": times, **prices})


def positions(count: int) -> pl.DataFrame:
    columns = {"symbol": "BTCUSDT", "side": "long", "entry_price": 100.0, "quantity": 1.0, "leverage": 10.0}
    rows = pl.DataFrame([{"position_id": n, **columns} for n in range(count)])
    return rows.with_columns(entry_time=pl.lit(START).cast(Time))


def write(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
@pytest.mark.parametrize(("name", "neighbour"), NAMES)
@pytest.mark.parametrize("folder", ["plain", "my [data]"])
def test_bars_and_positions__are_read_from_the_file_that_is_named(tmp_path, folder, name, neighbour, ending):
    home = tmp_path / folder
    home.mkdir()
    write(bars(100.0), home / f"{name}{ending}")
    write(bars(200.0), home / f"{neighbour}{ending}")
    assert market.load(home / f"{name}{ending}").bars["close"].unique().to_list() == [100.0]
    write(positions(2), home / f"p{name}{ending}")
    write(positions(5), home / f"p{neighbour}{ending}")
    assert len(book.load(home / f"p{name}{ending}")) == 2


@pytest.mark.parametrize(("name", "neighbour"), NAMES)
def test_batches__take_an_existing_file_or_folder_before_a_pattern(tmp_path, name, neighbour):
    for folder in (name, neighbour):
        (tmp_path / folder).mkdir()
    write(positions(2), tmp_path / name / f"{name}.parquet")
    write(positions(5), tmp_path / neighbour / f"{neighbour}.parquet")
    for source in (tmp_path / name, tmp_path / name / f"{name}.parquet"):
        assert [batch.rows for batch in batches.plan(str(source), 10)] == [2]
        assert batches.plan(str(source), 10)[0].read(None).height == 2


def test_batches__still_take_patterns(tmp_path):
    for number in range(3):
        write(positions(number + 1), tmp_path / f"part{number}.parquet")
    assert [batch.rows for batch in batches.plan(str(tmp_path / "part[01].parquet"), 10)] == [3]
    assert [batch.rows for batch in batches.plan(str(tmp_path / "part?.parquet"), 3)] == [3, 3]
