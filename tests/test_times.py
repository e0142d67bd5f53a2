"""Times in another unit are refused by its name, wherever frames hold times; written ones are read alike."""

from datetime import UTC, datetime

import polars as pl
import pytest

from backtest.__main__ import main
from backtest.engine.replay import facts
from backtest.errors import DataError
from backtest.market import sample
from backtest.market.files import read_frame
from backtest.schemas import frames
from backtest.schemas.times import with_zone
from backtest.schemas.validation import Schema, check
from backtest.study.levels.evaluation.labels import EVENTS
from backtest.study.prediction.indicators import VALUES
from backtest.study.prediction.labels import FLOW
from backtest.trades.table import Table

NOON = 1_621_425_600_000  # 2021-05-19 12:00 UTC, ms
WRITTEN = {"seconds": NOON // 1_000, "microseconds": NOON * 1_000, "nanoseconds": NOON * 1_000_000}
SCHEMAS = (
    *(frames.BARS, frames.FUNDING, frames.POSITIONS, frames.ADJUSTMENTS, frames.LEGS, frames.TRANSFERS),
    *(EVENTS, FLOW, VALUES, facts.FLOW),
)
CASES = [
    pytest.param(schema, column.name, id=f"{schema.name}-{column.name}")
    for schema in SCHEMAS
    for column in schema.columns
    if column.dtype == frames.Time
]


@pytest.mark.parametrize(("schema", "name"), CASES)
@pytest.mark.parametrize("unit", WRITTEN)
def test_times__in_another_unit_are_refused_by_its_name(schema, name, unit):
    alone = Schema(schema.name, tuple(column for column in schema.columns if column.name == name))
    frame = pl.DataFrame({name: pl.Series([WRITTEN[unit]]).cast(frames.Time)})
    sentence = f"^{schema.name}: {name} must lie in the years 2009 to 9999: .*: they look like {unit}"
    with pytest.raises(DataError, match=sentence):
        check(frame, alone)


@pytest.mark.parametrize("unit", WRITTEN)
def test_csv__in_another_unit_is_refused_by_its_name(tmp_path, unit):
    path = tmp_path / "funding.csv"
    path.write_text(f"symbol,time,rate\nBTCUSDT,{WRITTEN[unit]},0.0001\n")
    with pytest.raises(DataError, match=f"time must lie in the years 2009 to 9999.*they look like {unit}"):
        read_frame(path, frames.FUNDING)


def test_times__before_prices_existed_are_refused_without_a_unit():
    frame = pl.DataFrame({"time": pl.Series([NOON // 10]).cast(frames.Time)})
    alone = Schema("bars", (frames.BARS.columns[1],))
    with pytest.raises(DataError, match=r"years 2009 to 9999: .*time=1975-02-20 15:36:00 UTC\)$"):
        check(frame, alone)


TWELVE = datetime(2024, 8, 5, 12, tzinfo=UTC)
ZONED = (
    "2024-08-05T12:00Z", "2024-08-05 12:00 UTC", "2024-08-05 12:00+00:00", "2024-08-05 14:00+02",
    "2024/08/05 12:00Z", "2024-08-05T12:00:00z", "2024-08-05 12:00:00 +0000", "2024-08-05T12:00:00.000Z",
)  # fmt: skip
NO_TIMES = ("2024-08-05T12Z", "2024-08-05T12: 0Z", "2024-08-05 12:60Z", "2024-13-05 12:00Z", "noon", "2024-08-05")


def test_with_zone__reads_times_without_seconds_and_near_iso_8601():
    read = with_zone(pl.Series([*ZONED, *NO_TIMES, None, "2024-08-05 12:00"]), "ms")
    assert read.to_list() == [TWELVE] * len(ZONED) + [None] * (len(NO_TIMES) + 2)


@pytest.mark.parametrize("text", ZONED)
def test_times__with_a_zone_are_read_alike_in_files_trades_and_options(text, tmp_path):
    (tmp_path / "funding.csv").write_text(f"symbol,time,rate\nBTCUSDT,{text},0.1\n")
    assert read_frame(tmp_path / "funding.csv", frames.FUNDING)["time"].to_list() == [TWELVE]
    assert Table("trades", pl.DataFrame({"time": [text, None]})).time("time").to_list() == [TWELVE, None]


@pytest.mark.parametrize(
    "text", ["2024-08-05 12:00", "2024-08-05T12:00:00", "2024/08/05 12:00", "05.08.2024 12:00"]
)
def test_times__without_a_zone_or_seconds_are_read_with_the_zone_of_the_list(text):
    own = Table("trades", pl.DataFrame({"time": [text]}), timezone="UTC", dates="day_first")
    assert own.time("time").to_list() == [TWELVE]


def test_times__slashed_ones_may_have_a_zone():
    own = Table(
        "trades", pl.DataFrame({"time": ["05/08/2024 12:00Z", "05/08/2024 12:00:00 UTC"]}), dates="day_first"
    )
    assert own.time("time").to_list() == [TWELVE] * 2


def test_check__takes_times_without_seconds(tmp_path, capsys):
    trades = tmp_path / "trades.csv"
    head = "symbol,side,entry_time,entry_price,quantity,exit_time,leverage\n"
    opening = sample().select(["BTCUSDT"], datetime(2021, 5, 19, 11, tzinfo=UTC)).bars["open"][0]
    trades.write_text(f"{head}BTCUSDT,long,2021-05-19 11:00Z,{opening},0.1,2021-05-19 14:00 UTC,10\n")
    assert main(["check", str(trades), "--out", str(tmp_path / "out")]) == 0
    assert "1 of 1" in capsys.readouterr().out
