"""A file of releases beside a venue's file: tables of many symbols, read for the symbols that are asked for."""

import pickle
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from backtest.errors import RulesError
from backtest.rules.timeline import timeline
from backtest.rules.venue import Venue

HEAD = 'name = "own"\ntitle = "Own"\nsettlement = "USDT"\nreleases = "tiers.parquet"\n[rules]\nbasis = "mark"\n'
LISTED = """[contracts.S0]
[[contracts.S0.tables]]
name = "spring"
from = 2021-03-18
until = 2021-06-22
rows = [{ floor = 0, rate = 0.004 }]
"""
SYMBOLS, RELEASES = 970, 30


def released(symbols: int = SYMBOLS, releases: int = RELEASES) -> pl.DataFrame:
    """Return tables that change with every release, seen for ten days a month."""
    first = [date(2022, 5, 1) + timedelta(days=30 * number) for number in range(releases)]
    tables = pl.DataFrame({"first_seen": first, "rate": [0.004 + 0.0001 * number for number in range(releases)]})
    names = pl.DataFrame({"symbol": [f"S{number}" for number in range(symbols)]})
    tiers = pl.DataFrame(
        {"tier": [1, 2], "floor": [0.0, 1e5], "cap": [1e5, 1e6], "steps": [1.0, 2.0], "max_leverage": [50.0, 20.0]}
    )
    found = names.join(tables, how="cross").join(tiers, how="cross")
    return found.select(
        "symbol", "first_seen", "tier", "floor", "cap", "max_leverage",
        last_seen=pl.col("first_seen").dt.offset_by("10d"),
        rate=pl.col("rate") * pl.col("steps"),
        amount=pl.col("rate") * pl.col("floor"),
        source=pl.lit("a copy"),
    )  # fmt: skip


@pytest.fixture
def venue(tmp_path) -> Venue:
    released().write_parquet(tmp_path / "tiers.parquet")
    (tmp_path / "own.toml").write_text(HEAD + LISTED)
    return Venue.load(tmp_path / "own.toml")


def test_releases__make_the_contracts_that_are_asked_for_alone(venue):
    own = venue.contract("S500")
    assert list(venue.contracts.made) == ["S500"]
    assert len(own.tables) == RELEASES
    assert len(venue.contracts) == SYMBOLS
    assert own.tables[1].period == "seen 2022-05-31 to 2022-06-10"
    assert own.tables[1].rates.tolist() == pytest.approx([0.0041, 0.0082])
    assert timeline(own).at(datetime(2022, 6, 5, tzinfo=UTC)) == (own.tables[1], "seen")
    assert timeline(own).at(datetime(2022, 6, 20, tzinfo=UTC)) == (None, "")


def test_releases__follow_the_tables_that_the_file_lists(venue):
    tables = venue.contract("S0").tables
    assert [table.dated for table in tables[:2]] == ["announced", "seen"]
    assert len(tables) == RELEASES + 1


def test_releases__of_a_symbol_in_neither_are_refused_shortly(venue):
    with pytest.raises(RulesError, match=r"does not list 'XRPUSDT': it lists S0, .* and 962 others") as caught:
        venue.contract("XRPUSDT")
    assert len(str(caught.value)) < 400


def test_with__changes_released_contracts_too(venue):
    changed = venue.with_(rate_scale=2, maximum_leverage=10)
    assert changed.contract("S7").tables[0].rates.tolist() == pytest.approx([0.008, 0.016])
    assert changed.contract("S7").tables[0].max_leverages.tolist() == [10.0, 10.0]
    assert venue.contract("S7").tables[0].rates.tolist() == pytest.approx([0.004, 0.008])
    assert pickle.loads(pickle.dumps(changed)).contract("S8").tables[0].rates[0] == pytest.approx(0.008)


def test_releases__must_be_there_and_tables_must_have_a_meaning(tmp_path):
    (tmp_path / "own.toml").write_text(HEAD + LISTED)
    with pytest.raises(RulesError, match=r"releases: there is no file .*tiers\.parquet"):
        Venue.load(tmp_path / "own.toml")
    wrong = released(1, 1).with_columns(amount=pl.lit(7.0))
    wrong.write_parquet(tmp_path / "tiers.parquet")
    with pytest.raises(RulesError, match=r"releases of S0: tier table '2022-05-01' has .*amount: must be"):
        Venue.load(tmp_path / "own.toml").contract("S0")
