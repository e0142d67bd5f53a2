"""The bundled venue files, and what the loader makes of files that are wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backtest.errors import RulesError
from backtest.rules import margin
from backtest.rules.contract import Contract
from backtest.rules.rule_files import venue_files
from backtest.rules.timeline import timeline
from backtest.rules.venue import Venue

BUNDLED = [
    "ascend",
    "ascendex",
    "ascendex-2021-09",
    "binance",
    "bitmex",
    "bybit",
    "deribit",
    "dydx",
    "hyperliquid",
    "mexc",
    "okx",
    "primexbt",
]
RULES = {"kind", "basis", "closing_fee", "trigger", "trigger_price", "takeover_price", "remainder", "release"}
CRASH = datetime(2021, 5, 19, 13, tzinfo=UTC)

BROKEN = """
name = "broken"
colour = "red"
unknown = "everything"

[rules]
basis = "middle"
trigger = { value = "<=", source = "page", confidence = "sure" }
trigger_price = { source = "page" }

[contracts.BTCUSDT]
[[contracts.BTCUSDT.tables]]
name = "first"
rows = [{ floor = 0, rate = "half" }, { rate = 0.01 }]

[contracts.ETHUSDT]
[[contracts.ETHUSDT.tables]]
name = "printed"
rows = [{ floor = 0, rate = 0.01, amount = 0 }, { floor = 100, rate = 0.02 }]

[contracts.XRPUSDT]

[default]
like = "DOGEUSDT"
"""


def in_force(symbol, moment, venue="binance"):
    return timeline(Venue.load(venue).contract(symbol)).at(moment)[0]


def written(tmp_path, text):
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def contracts_of(venue):
    return list(venue.contracts.items()) + ([("default", venue.default)] if venue.default else [])


def test_bundled_venues__are_these():
    assert list(venue_files()) == BUNDLED


@pytest.mark.parametrize("name", BUNDLED)
def test_venue__loads_under_the_name_of_its_file(name):
    venue = Venue.load(name)
    assert venue.name == name
    assert venue.title
    assert venue.settlement
    assert venue.contracts


@pytest.mark.parametrize("name", BUNDLED)
def test_every_rule__says_where_it_was_read(name):
    venue = Venue.load(name)
    assert set(venue.provenance) >= RULES
    for rule, provenance in venue.provenance.items():
        assert provenance.source, rule
        assert provenance.date, rule
        assert provenance.confidence != "unknown", rule


@pytest.mark.parametrize("name", BUNDLED)
def test_every_table__says_where_it_was_read(name):
    for symbol, contract in contracts_of(Venue.load(name)):
        for table in contract.tables:
            assert table.source, (symbol, table.name)
            assert table.note, (symbol, table.name)
            assert table.confidence != "unknown", (symbol, table.name)
            assert table.dated != "not stated", (symbol, table.name)


@pytest.mark.parametrize("name", BUNDLED)
def test_every_venue__says_what_its_sources_do_not_tell(name):
    venue = Venue.load(name)
    assert venue.unknown
    assert all(isinstance(entry, str) and len(entry) > 3 for entry in venue.unknown)


@pytest.mark.parametrize("name", BUNDLED)
def test_tables__do_not_overlap(name):
    for symbol, contract in contracts_of(Venue.load(name)):
        for earlier, later in zip(contract.tables, contract.tables[1:], strict=False):
            assert earlier.end <= later.start, (symbol, earlier.name, later.name)


def test_ascendex__asks_2_4_percent_at_25x_and_6_tenths_of_the_initial_rate_at_any():
    contract = Venue.load("ascendex").contract("BTCUSDT")
    held = {"side": 1, "quantity": [1.0] * 3, "entry_price": 50_000.0, "margin": 1e3, "price": 50_000.0}
    kept = margin.maintenance_margin(contract, contract.tables[0], leverage=[25.0, 10.0, 100.0], **held)
    assert kept / 50_000 == pytest.approx([0.024, 0.06, 0.006], abs=1e-15)
    assert contract.tables[0].max_leverages.tolist() == [100]


def test_ascendex__sells_to_the_backstop_one_percent_against_the_holder():
    venue = Venue.load("ascendex")
    contract = venue.contract("BTCUSDT")
    held = {"side": [1, -1], "quantity": 1.0, "entry_price": 50_000.0, "margin": 5_000.0, "leverage": 25.0}
    paid = margin.takeover_price(venue, contract, contract.tables[0], **held)
    assert paid == pytest.approx([46_200 * 0.99, 53_800 * 1.01])


def test_ascendex_size_table__starts_in_september_2021_and_puts_a_boundary_in_the_lower_tier():
    table = in_force("BTCUSDT", datetime(2021, 10, 1, tzinfo=UTC), venue="ascendex-2021-09")
    assert table.rates[table.tier_of([50_000, 50_001, 200_001])].tolist() == [0.006, 0.012, 0.024]
    assert in_force("BTCUSDT", CRASH, venue="ascendex-2021-09") is None


def test_ascend__covers_any_event_at_face_value():
    contract = Venue.load("ascend").contract("RAIN-TOMORROW")
    assert (contract.kind, contract.symbol) == ("face_value", "RAIN-TOMORROW")
    assert contract.requirement_is_constant


def test_binance_tiers_on_19_may_2021__are_the_printed_ones():
    table = in_force("BTCUSDT", CRASH)
    assert table.name == "2021-03-18"
    assert table.amounts.tolist() == [
        0,
        50,
        1_300,
        16_300,
        266_300,
        1_266_300,
        2_516_300,
        5_016_300,
        25_016_300,
        100_016_300,
    ]
    assert table.rates.tolist() == [0.004, 0.005, 0.01, 0.025, 0.05, 0.1, 0.125, 0.15, 0.25, 0.5]
    assert table.max_leverages.tolist() == [125, 100, 50, 20, 10, 5, 4, 3, 2, 1]
    assert table.cap == 500e6


def test_binance__knows_no_day_of_the_ether_tiers_of_2021_but_takes_them_as_the_nearest():
    own = Venue.load("binance").contract("ETHUSDT")
    assert in_force("ETHUSDT", CRASH) is None
    nearest, source = timeline(own, "nearest").at(CRASH)
    assert (nearest.name, source) == ("2021-06-22", "nearest")
    assert nearest.amounts.tolist() == [0, 15, 365, 5_365, 35_365, 135_365, 260_365, 510_365, 2_510_365]


@pytest.mark.parametrize(("symbol", "tables", "announced"), [("BTCUSDT", 14, 2), ("ETHUSDT", 12, 0)])
def test_binance_tables__are_announced_or_seen_on_days_of_copies(symbol, tables, announced):
    dated = Venue.load("binance").contract(symbol).tables
    assert len(dated) == tables
    assert sum(table.dated == "announced" for table in dated) == announced
    seen = [table for table in dated if table.dated == "seen"]
    assert len(seen) == tables - announced
    assert all(table.name == f"{table.start:%Y-%m-%d}" for table in seen if table.start.year > 2020)
    assert [table.period for table in dated[-3:]] == [
        "seen 2024-05-30 to 2025-05-31",
        "seen 2025-07-02 to 2025-08-14",
        "seen 2025-08-31 to 2026-09-29",
    ]


AUGUST_2024, OCTOBER_2025 = datetime(2024, 8, 5, tzinfo=UTC), datetime(2025, 10, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("symbol", "moment", "name", "rate", "leverage"),
    [
        ("SOLUSDT", AUGUST_2024, "2024-02-29", 0.005, 100),
        ("SOLUSDT", OCTOBER_2025, "2025-07-02", 0.005, 100),
        ("DOGEUSDT", AUGUST_2024, "2023-07-30", 0.005, 75),
        ("DOGEUSDT", OCTOBER_2025, "2025-07-02", 0.0065, 75),
        ("1000SHIBUSDT", AUGUST_2024, "2023-08-28", 0.0065, 50),
        ("1000SHIBUSDT", OCTOBER_2025, "2025-02-28", 0.0065, 75),
        ("XRPUSDT", AUGUST_2024, "2023-08-28", 0.005, 75),
        ("XRPUSDT", OCTOBER_2025, "2025-08-14", 0.005, 100),
    ],
)
def test_binance__knows_other_coins_in_the_crashes_of_2024_and_2025(symbol, moment, name, rate, leverage):
    table = in_force(symbol, moment)
    assert (table.name, table.rates[0], table.max_leverages[0]) == (name, rate, leverage)


def test_binance__lists_970_symbols_and_makes_those_asked_for():
    venue = Venue.load("binance")
    assert len(venue.contracts) == 970
    assert venue.contracts.made == {}
    assert (venue.settlement_of("SOLUSDT"), venue.settlement_of("SOLUSDC"), venue.settlement_of("ETHBTC")) == (
        "USDT",
        "USDC",
        "BTC",
    )
    assert list(venue.contracts.made) == ["SOLUSDT", "SOLUSDC", "ETHBTC"]


def test_binance__announced_tables_win_over_copies_and_copies_leave_unlike_months_open():
    venue = Venue.load("binance")
    line = timeline(venue.contract("BTCUSDT"))
    assert line.at(datetime(2021, 7, 1, tzinfo=UTC))[1] == "announced"
    assert line.at(datetime(2025, 6, 15, tzinfo=UTC)) == (None, "")
    assert timeline(venue.contract("XRPUSDT")).at(datetime(2024, 8, 20, tzinfo=UTC)) == (None, "")


def test_binance_amounts_computed_here__are_continuous():
    table = in_force("BTCUSDT", datetime(2021, 7, 1, tzinfo=UTC))
    assert table.amounts.tolist() == pytest.approx(
        [0, 50, 1_300, 16_300, 141_300, 1_141_300, 2_391_300, 4_891_300]
    )


def test_bybit_tables__change_over_and_leave_unknown_years_out():
    moments = [datetime(year, 6, 1, tzinfo=UTC) for year in (2020, 2021, 2022, 2025)]
    found = [in_force("BTCUSDT", moment, venue="bybit") for moment in moments]
    assert [table and table.model for table in found] == [None, "flat", None, "marginal"]


def test_hyperliquid__lists_its_coins_under_both_names():
    venue = Venue.load("hyperliquid")
    for own in ("BTC", "ETH", "SOL", "DOGE"):
        tables = venue.contract(own).tables, venue.contract(f"{own}USDT").tables
        for first, second in zip(*tables, strict=True):
            assert first.same_as(second)
            assert first.rates.tolist() == (0.5 / first.max_leverages).tolist()
    assert venue.contract("BTC").trigger == "<"


@pytest.mark.parametrize(
    ("symbol", "side", "entry", "quantity", "isolated", "shown"),
    [
        ("BTC", -1, 65_536.0, 0.00099, 21.604172, 86_493.46174617),
        ("ETH", 1, 2_521.9, 0.0237, 19.902091, 1_699.14071943),
        ("DOGE", 1, 0.11586, 437.0, 25.29769, 0.05945697),
    ],
)
def test_hyperliquid_of_2024__gives_the_liquidation_prices_it_showed(
    symbol, side, entry, quantity, isolated, shown
):
    contract = Venue.load("hyperliquid").contract(symbol)
    table, source = timeline(contract).at(datetime(2024, 9, 1, tzinfo=UTC))
    assert source == "seen"
    held = {"side": side, "quantity": quantity, "entry_price": entry, "margin": isolated, "leverage": 3.0}
    assert margin.liquidation_price(contract, table, **held) == pytest.approx([shown], rel=1e-7)


@pytest.mark.parametrize(("name", "symbol"), [("mexc", "ETHUSDT"), ("binance", "XRPEUR"), ("bybit", "ETHUSDT")])
def test_unlisted_symbol__is_refused_with_the_listed_ones(name, symbol):
    with pytest.raises(RulesError, match=rf"does not list '{symbol}': it lists BTCUSDT.*like='BTCUSDT'"):
        Venue.load(name).contract(symbol)


@pytest.mark.parametrize("symbol", ["ETH/USDT:USDT", "ETH-USDT-SWAP", "ETH_USDT", "ETH/USDT", "ethusdt"])
def test_symbol_in_another_spelling__is_refused_by_the_name_of_the_listed_one(symbol):
    with pytest.raises(RulesError, match=rf"does not list '{symbol}' \(is ETHUSDT meant\?\)"):
        Venue.load("binance").contract(symbol)


@pytest.mark.parametrize("name", ["ascend", "ascendex", "primexbt"])
def test_one_rule_for_every_market__lists_every_symbol(name):
    contract = Venue.load(name).contract("ANYTHING")
    assert (contract.symbol, contract.like) == ("ANYTHING", "")


def test_broken_file__tells_every_problem_by_its_path_in_one_message(tmp_path):
    path = written(tmp_path, BROKEN)
    with pytest.raises(RulesError) as caught:
        Venue.load(path)
    assert [where for where, _ in caught.value.problems] == [
        "colour",
        "title",
        "unknown",
        "rules.basis",
        "rules.trigger.confidence",
        "rules.trigger_price",
        "contracts.BTCUSDT.tables[0].rows[0].rate",
        "contracts.BTCUSDT.tables[0].rows[1].floor",
        "contracts.ETHUSDT.tables[0].rows[1].amount",
        "contracts.XRPUSDT.tables",
        "default.like",
    ]
    message = str(caught.value)
    assert message.startswith(f"venue file {path} has 11 problems: ")
    assert all(f"{where}: {what}" in message for where, what in caught.value.problems)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("rows = [{ floor = 1, rate = 0.01 }]", r"rows\[0\]\.floor: the first tier must begin at 0"),
        (
            "rows = [{ floor = 0, rate = 0.02 }, { floor = 9, rate = 0.01 }]",
            r"rows\[1\]\.rate: must be above the tier before \(0\.02\), is 0\.01",
        ),
        (
            "rows = [{ floor = 0, rate = 0.01, amount = 0 }, { floor = 100, rate = 0.02, amount = 7 }]",
            r"rows\[1\]\.amount: must be 1 for a continuous requirement, is 7",
        ),
        ("cap = 5\nrows = [{ floor = 0, rate = 0.01 }, { floor = 9, rate = 0.02 }]", r"cap: must lie above"),
        (
            "from = 2021-05-19\nuntil = 2021-05-01\nrows = [{ floor = 0, rate = 0.01 }]",
            r"until: must lie after",
        ),
        ('model = "leverage"', r"rate_factor: must lie between 0 and 1, is 0"),
        ('size = "contracts"\nrows = [{ floor = 0, rate = 0.01 }]', r"size: a marginal table is measured"),
    ],
)
def test_table_without_a_unique_meaning__is_refused(tmp_path, table, told):
    head = 'name = "own"\ntitle = "Own"\n[[contracts.BTCUSDT.tables]]\nname = "only"\n'
    with pytest.raises(RulesError, match=rf"contracts\.BTCUSDT\.tables\[0\]\.{told}"):
        Venue.load(written(tmp_path, head + table))


def test_overlapping_tables__are_refused(tmp_path):
    table = '[[contracts.BTCUSDT.tables]]\nname = "{}"\nfrom = {}\nrows = [{{ floor = 0, rate = 0.01 }}]\n'
    text = (
        'name = "own"\ntitle = "Own"\n'
        + table.format("a", "2021-01-01\nuntil = 2022-06-01")
        + table.format("b", "2022-01-01")
    )
    with pytest.raises(RulesError, match=r"tables\[1\]\.from: must not lie before the table above ends"):
        Venue.load(written(tmp_path, text))


def test_fee_without_a_rate__is_refused(tmp_path):
    text = venue_files()["primexbt"].read_text("utf-8").replace('value = "none"', 'value = "at_mark"')
    with pytest.raises(RulesError, match="closing_fee_rate: is 0 while closing_fee is 'at_mark'"):
        Venue.load(written(tmp_path, text))


def test_with__changes_rules_for_every_contract_and_leaves_the_venue_as_it_was():
    venue = Venue.load("binance")
    changed = venue.with_(basis="entry", trigger="<", remainder="returned", maximum_leverage=20, rate_scale=1.5)
    for contract in (
        changed.contract("BTCUSDT"),
        changed.contract("ETHUSDT"),
        changed.with_(like="BTCUSDT").contract("SOLEUR"),
    ):
        assert (contract.basis, contract.trigger) == ("entry", "<")
        assert all(table.max_leverages.max() == 20 for table in contract.tables)
    assert changed.remainder == "returned"
    before, after = venue.contract("BTCUSDT").tables[1], changed.contract("BTCUSDT").tables[1]
    assert after.rates.tolist() == (before.rates * 1.5).tolist()
    assert after.amounts.tolist() == (before.amounts * 1.5).tolist()
    assert (venue.contract("BTCUSDT").basis, venue.remainder) == ("mark", "fund")


def test_with__refuses_a_rule_that_does_not_exist():
    with pytest.raises(RulesError, match=r"there is no rule colour: there are .*maximum_leverage"):
        Venue.load("binance").with_(colour="red")


def test_with__refuses_rules_that_contradict_one_another():
    with pytest.raises(RulesError, match="closing_fee_rate"):
        Venue.load("binance").with_(closing_fee="at_mark")


def test_venue__loads_from_a_path(tmp_path):
    text = venue_files()["primexbt"].read_text("utf-8").replace('name = "primexbt"', 'name = "mine"')
    for path in (written(tmp_path, text), str(written(tmp_path, text))):
        assert Venue.load(path).name == "mine"


def test_unknown_venue__is_refused_with_those_there_are():
    with pytest.raises(RulesError, match="'nowhere' is neither a file nor one of ascend, ascendex, "):
        Venue.load("nowhere")


def test_dates_without_a_zone__are_utc(tmp_path):
    table = "from = 2021-05-01\nuntil = 2021-06-01T02:00:00+02:00\nrows = [{ floor = 0, rate = 0.01 }]"
    head = 'name = "own"\ntitle = "Own"\n[[contracts.BTCUSDT.tables]]\nname = "only"\n'
    (only,) = Venue.load(written(tmp_path, head + table)).contract("BTCUSDT").tables
    assert only.start == datetime(2021, 5, 1, tzinfo=UTC)
    assert only.end == datetime(2021, 6, 1, tzinfo=UTC)
    at = timeline(Contract(symbol="BTCUSDT", tables=(only,))).at
    assert at(only.start)[0] is only
    assert at(only.end)[0] is None
    assert at(only.end - timedelta(milliseconds=1))[0] is only


def test_with__twice_the_maintenance_cuts_off_what_could_not_be_held() -> None:
    table = Venue.load("binance").with_(rate_scale=2).contracts["BTCUSDT"].table("2021-03-18")
    assert table.rates.tolist() == [0.008, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5]
    assert table.cap == 300_000_000


def test_like__names_whose_rules_stand_in_for_a_symbol_that_is_not_listed():
    binance = Venue.load("binance").with_(like="BTCUSDT")
    assert binance.contract("DOGEEUR").like == "BTCUSDT"
    assert binance.contract("DOGEUSDT").like == ""
    assert binance.contract("ETHUSDT").like == ""
    with pytest.raises(RulesError, match="like must be a symbol that venue 'binance' lists, is 'DOGEEUR'"):
        binance.with_(like="DOGEEUR")


def test_alias__is_another_name_of_every_contract_but_not_of_one_that_is_listed(tmp_path):
    table = '[[contracts.{}.tables]]\nname = "t"\nin_force = "always"\nrows = [{{ floor = 0, rate = {} }}]\n'
    head = 'name = "own"\ntitle = "Own"\nalias = "{symbol}USDT"\n'
    own = Venue.load(written(tmp_path, head + table.format("BTC", 0.01) + table.format("BTCUSDT", 0.02)))
    assert list(own.contracts) == ["BTC", "BTCUSDT", "BTCUSDTUSDT"]
    assert own.contract("BTCUSDT").tables[0].rates[0] == 0.02
    assert own.with_(rate_scale=2).contract("BTC").tables[0].rates[0] == 0.02
    named = Venue.load("hyperliquid").contract("ETHUSDT")
    assert (named.symbol, named.like) == ("ETHUSDT", "")


@pytest.mark.parametrize("alias", ["USDT", "{symbol}{symbol}", "{name}USDT", "{symbol}{"])
def test_alias__holds_the_symbol_once(tmp_path, alias):
    text = f'name = "own"\ntitle = "Own"\nalias = "{alias}"\n[[contracts.BTC.tables]]\nname = "t"\nrows = []\n'
    with pytest.raises(RulesError, match=r"alias: must hold \{symbol\} once"):
        Venue.load(written(tmp_path, text))
