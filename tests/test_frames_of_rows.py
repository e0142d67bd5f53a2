"""A frame that is made of rows says the types of its columns: no value of a row decides them."""

from __future__ import annotations

import ast
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

import backtest
from backtest import Venue, market
from backtest.study import holders, margins, stats
from backtest.study.survival import excursions

PACKAGE = Path(backtest.__file__).parent

#: A caller's own frame, whose values may well decide.
GIVEN = PACKAGE / "schemas" / "given_frames.py"


def unnamed(source: Path) -> list[str]:
    """Return the frames of a file that are made of rows and name no types."""
    found = []
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) in ("pl.DataFrame", "pl.from_dicts")):
            continue
        named = {keyword.arg for keyword in node.keywords} & {"schema", "schema_overrides"}
        of_rows = bool(node.args) and not isinstance(node.args[0], ast.Dict | ast.DictComp)
        series = "Series" in ast.unparse(node) or ".alias(" in ast.unparse(node)
        if of_rows and not named and not series:
            found.append(f"{source.relative_to(PACKAGE)}:{node.lineno}")
    return found


#: Frames of columns that have their types, or of keys that a caller chooses.
TYPED = {
    "trades/files.py": "columns, each a series",
    "population/cohorts.py": "columns of arrays",
    "market/inside_bars.py": "columns of arrays",
    "trades/open_positions.py": "columns, each a series",
    "study/stats/rates.py": "the caller's keys, typed by all of them",
}


def test_frames_of_rows__name_their_types():
    sources = [path for path in sorted(PACKAGE.rglob("*.py")) if path != GIVEN]
    untyped = [each for source in sources for each in unnamed(source)]
    assert {each.split(":")[0] for each in untyped} == set(TYPED), untyped


@pytest.fixture(scope="module")
def hours():
    return market.sample().resample("1h").select(symbols=["BTCUSDT"])


def test_whole_numbers__give_the_types_that_fractions_give(hours):
    terms = margins.Closing(daily_volume=1e10)
    whole, parts = (margins.bad_debt(hours, sizes=sizes, rates=[0.5], closing=terms) for sizes in ([10**5], [1e5]))
    assert whole.schema == parts.schema
    assert whole.equals(parts)


def test_no_rows__give_the_columns_that_rows_give(hours):
    some = margins.bad_debt(hours, sizes=[1e5], rates=[0.005], closing=margins.Closing(daily_volume=1e10))
    none = margins.bad_debt(hours, sizes=[], rates=[], closing=margins.Closing(daily_volume=1e10))
    assert none.schema == some.schema
    span = {"crash": (hours.bars["time"][100], hours.bars["time"][300])}
    crash = excursions.crashes(hours, span, maintenance_rate=0.004)
    assert excursions.crashes(hours, {}, maintenance_rate=0.004).schema == crash.schema
    assert crash.schema["horizon"] == pl.Duration("us")


def test_keys_of_rates__may_mix_whole_numbers_and_fractions(hours):
    times = hours.bars["time"].to_physical().to_numpy()
    events = times % 5 == 0
    rates = [stats.Rate({"leverage": number if number < 101 else 101.5}, times, events) for number in range(103)]
    found = stats.banded_rates(rates, seed=1, length=timedelta(days=2), draws=0)
    assert found["leverage"].to_list() == [*map(float, range(101)), 101.5, 101.5]


def test_stops__take_whole_numbers_first():
    contract = Venue.load("binance").contract("BTCUSDT")
    terms = {"side": 1, "quantity": 1, "entry_price": 40_000, "margin": 2_000, "stop_price": 39_000}
    found = holders.options.stop_against_liquidation(contract, contract.tables[0], **terms)
    assert found.schema["price"] == pl.Float64
