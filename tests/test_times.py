"""Times in another unit than milliseconds are refused by the name of that unit, wherever frames hold times."""

import polars as pl
import pytest

from backtest.engine.replay import facts
from backtest.errors import DataError
from backtest.market.files import read_frame
from backtest.schemas import frames
from backtest.schemas.validation import Schema, check
from backtest.study.levels.evaluation.labels import EVENTS
from backtest.study.prediction.indicators import VALUES
from backtest.study.prediction.labels import FLOW

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
