"""A file of releases beside a venue's file: tables of many symbols, read for the symbols that are asked for."""

import pickle
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from runpy import run_path

import polars as pl
import pytest

from backtest.errors import RulesError
from backtest.rules.rule_files import rule_files, venue_files
from backtest.rules.timeline import timeline
from backtest.rules.venue import Venue
from backtest.scale.batched_sweeps import _digest

SCRIPT = Path(__file__).parents[1] / "docs" / "binance_tiers.py"
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


def test_releases__that_go_on_with_listed_copies_join_them(tmp_path):
    listed = HEAD + "\n".join(
        f'[[contracts.S0.tables]]\nname = "{name}"\nseen = [{first}, {last}]\ncap = 1e6\nrows = '
        f"[{{ floor = 0, rate = {rate}, max_leverage = 50 }}, "
        f"{{ floor = 1e5, rate = {2 * rate}, max_leverage = 20 }}]"
        for name, first, last, rate in (
            ("day of the change", "2022-04-20", "2022-05-03", 0.004),
            ("another", "2022-05-29", "2022-06-01", 0.0041),
        )
    )
    released(1, 3).write_parquet(tmp_path / "tiers.parquet")
    (tmp_path / "own.toml").write_text(listed)
    tables = Venue.load(tmp_path / "own.toml").contract("S0").tables
    assert [(table.name, table.period) for table in tables] == [
        ("day of the change", "seen 2022-04-20 to 2022-05-11"),
        ("another", "seen 2022-05-29 to 2022-06-10"),
        ("2022-06-30", "seen 2022-06-30 to 2022-07-10"),
    ]


def test_releases__that_contradict_listed_copies_are_refused(tmp_path):
    listed = (
        HEAD + '[[contracts.S0.tables]]\nname = "other"\nseen = [2022-04-20, 2022-05-03]\n'
        "rows = [{ floor = 0, rate = 0.5 }]"
    )
    released(1, 3).write_parquet(tmp_path / "tiers.parquet")
    (tmp_path / "own.toml").write_text(listed)
    with pytest.raises(RulesError, match=r"tables of S0 \(tiers\.parquet\): .*must not lie before"):
        Venue.load(tmp_path / "own.toml").contract("S0")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.drop("rate", "cap"), "lacks the columns cap, rate: there must be symbol, first_seen"),
        (lambda rows: rows.with_columns(rate=pl.lit("high")), "column rate must be Float64, is String"),
        (
            lambda rows: rows.with_columns(floor=pl.when(pl.col("tier") == 1).then("floor")),
            "column floor must have a value: 1 of 2 rows have none, first row 1",
        ),
    ],
)
def test_files__that_are_no_tables_are_refused_when_the_venue_is_loaded(tmp_path, change, said):
    change(released(1, 1)).write_parquet(tmp_path / "tiers.parquet")
    (tmp_path / "own.toml").write_text(HEAD + LISTED)
    with pytest.raises(RulesError, match=rf"releases: .*tiers\.parquet: {said}"):
        Venue.load(tmp_path / "own.toml")


def test_files__that_are_not_parquet_are_refused_when_the_venue_is_loaded(tmp_path):
    (tmp_path / "tiers.parquet").write_text("symbol,rate\n")
    (tmp_path / "own.toml").write_text(HEAD + LISTED)
    with pytest.raises(RulesError, match=r"releases: .*tiers\.parquet: is not a Parquet file of tiers"):
        Venue.load(tmp_path / "own.toml")


def test_tiers__of_a_release_begin_where_the_one_before_ends(tmp_path):
    released(1, 1).with_columns(cap=pl.col("cap") * 0.9).write_parquet(tmp_path / "tiers.parquet")
    (tmp_path / "own.toml").write_text(HEAD + LISTED)
    with pytest.raises(RulesError, match=r"S0: table 2022-05-01: tier 2 must begin where tier 1 ends \(90,000\)"):
        Venue.load(tmp_path / "own.toml").contract("S0")


def test_results__depend_on_the_content_of_the_file_and_not_on_its_folder_or_what_was_asked_for(venue, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    released().write_parquet(again / "tiers.parquet")
    (again / "own.toml").write_text(HEAD + LISTED)
    other, before = Venue.load(again / "own.toml"), _digest(venue)
    venue.contract("S7")
    assert _digest(venue) == before == _digest(other)
    released(3, 2).write_parquet(again / "tiers.parquet")
    assert other.contract("S5").tables[0].rates[0] == pytest.approx(0.004)
    assert _digest(Venue.load(again / "own.toml")) != before


def test_rule_files__name_the_file_of_tables_too(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(HEAD + LISTED)
    assert rule_files(own) == {str(own): own, str(tmp_path / "tiers.parquet"): tmp_path / "tiers.parquet"}
    assert list(rule_files("binance")) == ["binance", "binance_tiers.parquet"]
    assert list(rule_files("bybit")) == ["bybit"]


def test_copy_of_a_bundled_file__keeps_its_tables(tmp_path):
    copy = tmp_path / "copy.toml"
    copy.write_text(Path(str(venue_files()["binance"])).read_text("utf-8"), "utf-8")
    assert len(Venue.load(copy).contracts) == 970
    assert list(rule_files(copy).values())[1].name == "binance_tiers.parquet"


def test_contracts__of_a_file_of_tables_settle_in_the_currency_it_states(tmp_path):
    dollars = released(2, 1).with_columns(settlement=pl.when(pl.col("symbol") == "S1").then(pl.lit("USDC")))
    dollars.write_parquet(tmp_path / "tiers.parquet")
    (tmp_path / "own.toml").write_text(HEAD + LISTED)
    own = Venue.load(tmp_path / "own.toml")
    assert (own.settlement_of("S0"), own.settlement_of("S1")) == ("USDT", "USDC")


CHANGES = pl.DataFrame(
    {
        "symbol": ["BTCUSDT", "BTCUSDT", "BTCUSDT", "ETHUSDC", "ETHUSDC"],
        "first_seen": [date(2022, 5, 1), date(2022, 7, 1), date(2022, 7, 1), date(2022, 7, 1), date(2022, 7, 1)],
        "last_seen_before": [None, date(2022, 6, 1), date(2022, 6, 1), None, None],
        "source": ["release 2022.4", *["release 2022.6"] * 4],
        "tier": [1, 1, 2, 1, 2],
        "floor": [0.0, 0.0, 1e5, 0.0, 1e6],
        "cap": [1e6, 1e5, 9.223372036854775807e18, 1e6, 1e6],
        "rate": [0.004, 0.005, 0.01, 0.01, 0.02],
        "max_leverage": [125.0, 100.0, 50.0, 50.0, 25.0],
        "amount": [0.0, 0.0, 500.0, 0.0, 10_000.0],
    }
)


def test_script__turns_changes_into_days_of_the_first_and_last_copy():
    rows = run_path(str(SCRIPT))["releases"](CHANGES)
    assert rows.select("symbol", "first_seen", "last_seen", "cap", "settlement").rows() == [
        ("BTCUSDT", date(2022, 5, 1), date(2022, 6, 1), 1e6, None),
        ("BTCUSDT", date(2022, 7, 1), date(2022, 7, 1), 1e5, None),
        ("BTCUSDT", date(2022, 7, 1), date(2022, 7, 1), None, None),
        ("ETHUSDC", date(2022, 7, 1), date(2022, 7, 1), 1e6, "USDC"),
    ]
    assert rows["source"][0] == "freqtrade 2022.4: freqtrade/exchange/binance_leverage_tiers.json"


def test_announced_moments__replace_the_days_of_copies(tmp_path):
    came, went = datetime(2022, 4, 20, 6, 30, tzinfo=UTC), datetime(2022, 5, 25, 9, tzinfo=UTC)
    rows = released(1, 2).with_columns(
        announced_from=pl.when(pl.col("first_seen") == date(2022, 5, 1)).then(pl.lit(came)),
        announced_until=pl.when(pl.col("first_seen") == date(2022, 5, 1)).then(pl.lit(went)),
    )
    rows.write_parquet(tmp_path / "tiers.parquet")
    (tmp_path / "own.toml").write_text(HEAD)
    line = timeline(Venue.load(tmp_path / "own.toml").contract("S0"))
    minute = timedelta(minutes=1)
    moments = (came - minute, came, went - minute, went, datetime(2022, 5, 31, tzinfo=UTC))
    assert [table and table.name for table, _ in map(line.at, moments)] == [
        None, "2022-05-01", "2022-05-01", None, "2022-05-31"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("announced_from", datetime(2022, 5, 2, tzinfo=UTC)),
        ("announced_until", datetime(2022, 5, 10, 23, tzinfo=UTC)),
    ],
)
def test_announced_moments__that_copies_contradict_are_refused(tmp_path, name, moment):
    released(1, 1).with_columns(pl.lit(moment).alias(name)).write_parquet(tmp_path / "tiers.parquet")
    (tmp_path / "own.toml").write_text(HEAD)
    with pytest.raises(RulesError, match=rf"releases of S0: table 2022-05-01: {name} must agree with the copies"):
        Venue.load(tmp_path / "own.toml").contract("S0")


def noticed(*notices) -> pl.DataFrame:
    script = run_path(str(SCRIPT))
    rows = script["releases"](CHANGES)
    days = [date(2022, 5, 1), date(2022, 6, 1), date(2022, 7, 1)]
    made = [script["Notice"](("BTCUSDT",), *own) for own in notices]
    return script["with_notices"](rows, days, made).filter(symbol="BTCUSDT")


def test_script__dates_tables_by_notices_that_copies_bear_out():
    at = datetime(2022, 6, 20, 9, tzinfo=UTC)
    whole = run_path(str(SCRIPT))["releases"](CHANGES).filter(symbol="BTCUSDT")
    before, after = (
        tuple(whole.filter(first_seen=day).select("floor", "rate").iter_rows())
        for day in (date(2022, 5, 1), date(2022, 7, 1))
    )
    both = noticed((at, "a notice", after, before))
    assert both["announced_until"].to_list() == [at, None, None]
    assert both["announced_from"].to_list() == [None, at, at]
    assert both["note"][0].endswith(" Until 2022-06-20 09:00 UTC, as announced: a notice")
    one = noticed((at, "a notice", after, ((0.0, 0.9),)))  # another table was in force in between
    assert one["announced_until"].null_count() == 3
    assert one["announced_from"].to_list() == [None, at, at]
    with pytest.raises(ValueError, match="BTCUSDT, 2022-06-20: the copies show another table"):
        noticed((at, "a notice", ((0.0, 0.9),)))


def test_script__a_table_that_was_taken_back_before_the_next_copy_parts_what_copies_show():
    at, later = datetime(2022, 5, 10, 9, tzinfo=UTC), datetime(2022, 5, 12, tzinfo=UTC)
    found = noticed(
        (at, "one", ((0.0, 0.01), (100.0, 0.02)), (), (20.0, 10.0), 1e3),
        (later, "two", ((0.0, 0.03),), (), (5.0,), 1e3),
    )
    shown = found.unique(["first_seen", "last_seen"]).sort("first_seen")
    assert shown.select("first_seen", "last_seen", "announced_from", "announced_until").rows() == [
        (date(2022, 5, 1), date(2022, 5, 1), None, None),
        (at.date(), at.date(), at, later),
        (later.date(), later.date(), later, None),
        (date(2022, 6, 1), date(2022, 6, 1), None, None),
        (date(2022, 7, 1), date(2022, 7, 1), None, None),
    ]
    assert found.filter(first_seen=at.date()).select("floor", "cap", "rate", "max_leverage").rows() == [
        (0.0, 100.0, 0.01, 20.0), (100.0, 1e3, 0.02, 10.0)
    ]  # fmt: skip


def test_binance__changes_are_dated_by_announcements_that_copies_bear_out():
    venue = Venue.load("binance")
    notice = datetime(2025, 9, 15, 6, 30, tzinfo=UTC)
    hive, skyai, cyber = (timeline(venue.contract(symbol)) for symbol in ("HIVEUSDT", "SKYAIUSDT", "CYBERUSDT"))
    table, source = hive.at(notice - timedelta(minutes=1))
    assert (table.floors[2], table.rates[2], source) == (10_000, 0.025, "seen")
    assert hive.at(notice)[0].floors[2] == 10_000
    assert hive.at(notice)[0].rates[2] == 0.05
    # what was in force before is not what the last copy before shows
    assert skyai.at(notice - timedelta(minutes=1)) == (None, "")
    assert skyai.at(notice)[0].rates[2] == 0.05
    # tightened on 31 August and 2 September 2023, and taken back before the copy of 30 September
    days = (datetime(2023, 8, 29, tzinfo=UTC), datetime(2023, 8, 31, 5, tzinfo=UTC),
            datetime(2023, 9, 2, 10, 30, tzinfo=UTC), datetime(2023, 9, 3, tzinfo=UTC),
            datetime(2023, 9, 30, tzinfo=UTC))  # fmt: skip
    tables = [table and float(table.max_leverages[0]) for table, _ in map(cyber.at, days)]
    assert tables == [None, 11.0, 8.0, None, 20.0]
