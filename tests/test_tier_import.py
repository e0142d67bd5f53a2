"""Imported tiers: each format against the table that it states, days, names, and files that are wrong."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import tier_answers

from backtest.__main__ import main
from backtest.errors import ArgumentError, BacktestError, DataError
from backtest.rules import TierTable, Venue, import_tiers
from backtest.rules.imported import tiers_folder
from backtest.rules.rule_files import rule_files
from backtest.rules.timeline import timeline
from backtest.scale.batched_sweeps import _digest

DAY = date(2026, 11, 20)
OWN = """name = "{name}"
title = "Own"
settlement = "USDT"
[rules]
basis = "mark"
[contracts.BTCUSDT]
[[contracts.BTCUSDT.tables]]
name = "first"
model = "{model}"
seen = 2024-01-01
rows = [{{ floor = 0, rate = 0.2 }}]
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKTEST_DATA", str(tmp_path / "data"))


def written(tmp_path: Path, answer: Any, name: str = "answer.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(answer))
    return path


def own_venue(tmp_path: Path, name: str, model: str = "marginal") -> Path:
    path = tmp_path / f"{name}.toml"
    path.write_text(OWN.format(name=name, model=model))
    return path


def by_hand(model: str = "marginal", scale: float = 1.0, **more: Any) -> TierTable:
    floors, caps, rates, leverages, amounts = zip(*tier_answers.TIERS, strict=True)
    return TierTable(
        name="by hand",
        model=model,
        floors=[floor * scale for floor in floors],
        rates=rates,
        amounts=amounts if model == "marginal" else None,
        max_leverages=leverages,
        cap=caps[-1] * scale,
        **more,
    )


@pytest.mark.parametrize(
    ("answer", "venue", "more", "expected"),
    [
        (tier_answers.binance(), "binance", {"date": DAY}, by_hand()),
        ({"BTC/USDT:USDT": tier_answers.ccxt()}, "binance", {"date": DAY}, by_hand()),
        (tier_answers.ccxt(), "binance", {"date": DAY}, by_hand()),
        (tier_answers.ccxt(amounts=False), "binance", {"date": DAY}, by_hand()),
        (tier_answers.older_ccxt(), "binance", {"date": DAY, "symbol": "BTCUSDT"}, by_hand()),
        (tier_answers.freqtrade(), "binance", {}, by_hand()),
        (tier_answers.older_freqtrade(), "binance", {"date": DAY}, by_hand()),
        (tier_answers.bybit(), "bybit", {"name": "date unknown"}, by_hand()),
        (
            tier_answers.okx(),
            "okx",
            {"date": DAY, "contract_sizes": {"BTC-USDT": 0.01}},
            by_hand("flat", 1e-3, size="contracts", contract_size=0.01),
        ),
        (tier_answers.gate(), "gate", {"date": DAY}, by_hand()),
        (tier_answers.bitget(), "bitget", {}, by_hand("flat")),
        (tier_answers.kucoin(), "kucoin", {"date": DAY, "model": "marginal"}, by_hand()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_import__equals_the_table_made_by_hand(tmp_path, answer, venue, more, expected):
    if venue in ("gate", "bitget", "kucoin"):
        venue = own_venue(tmp_path, venue, "flat" if venue == "bitget" else "marginal")
    found = import_tiers(written(tmp_path, answer), venue, **more)
    assert found.symbols == found.new == ("BTCUSDT",)
    table = Venue.load(venue).contract("BTCUSDT").tables[-1]
    assert table.same_as(expected)
    assert (table.dated, table.source) == ("seen", f"answer.json: {found.format}")
    assert table.start.date() == found.day


def test_hyperliquid__asks_half_of_one_over_the_highest_leverage_under_both_names(tmp_path):
    found = import_tiers(written(tmp_path, tier_answers.hyperliquid()), "hyperliquid", date=DAY)
    assert found.symbols == ("BTC", "XRP")
    venue = Venue.load("hyperliquid")
    for name in ("XRP", "XRPUSDT"):
        table = venue.contract(name).tables[-1]
        assert (table.rates.tolist(), table.max_leverages.tolist()) == ([0.025], [20])
    assert venue.contract("XRPUSDT").symbol == "XRPUSDT"
    for name in ("BTC", "BTCUSDT"):
        table = venue.contract(name).tables[-1]
        assert table.rates.tolist() == [0.0125, 0.025]
        assert table.amounts.tolist() == [0, 1_875_000]


def test_dydx__has_one_tier_a_market(tmp_path):
    venue = own_venue(tmp_path, "dydx")
    assert import_tiers(written(tmp_path, tier_answers.dydx()), venue, date=DAY).symbols == ("BTCUSD",)
    table = Venue.load(venue).contract("BTCUSD").tables[0]
    assert (table.rates.tolist(), table.max_leverages.tolist(), table.cap) == ([0.012], [50], float("inf"))


def test_older_bybit_limits__without_amounts_are_flat(tmp_path):
    answer = tier_answers.bybit()
    for row in answer["result"]["list"]:
        del row["mmDeduction"]
    import_tiers(written(tmp_path, answer), "bybit", name="date unknown")
    assert Venue.load("bybit").contract("BTCUSDT").tables[-1].same_as(by_hand("flat"))


def test_tables__join_those_carried_and_are_in_force_between_copies_that_are_alike(tmp_path):
    carried = Venue.load("binance").contract("XRPUSDT").tables
    answer = {"XRP/USDT:USDT": tier_answers.ccxt("XRP/USDT:USDT"), "BTC/USDT:USDT": tier_answers.ccxt()}
    first = import_tiers(written(tmp_path, answer), "binance", date=date(2026, 10, 15))
    again = import_tiers(written(tmp_path, answer), "binance", date=DAY)
    assert (set(first.new), again.new) == ({"XRPUSDT", "BTCUSDT"}, ())
    contract = Venue.load("binance").contract("XRPUSDT")
    assert [table.name for table in contract.tables] == [*(table.name for table in carried), "2026-10-15"]
    assert contract.tables[-1].period == "seen 2026-10-15 to 2026-11-20"
    line = timeline(contract)
    assert line.at(datetime(2026, 11, 1, tzinfo=UTC))[1] == "seen"
    assert line.at(datetime(2026, 10, 1, tzinfo=UTC)) == (None, "")


def test_table_of_the_same_name__takes_the_place_of_the_one_carried(tmp_path):
    with pytest.raises(DataError, match=r"BTCUSDT: it differs from 2025-08-31 \(seen 2025-08-31 to"):
        import_tiers(written(tmp_path, tier_answers.binance()), "binance", date=date(2026, 1, 15))
    assert not tiers_folder().exists()
    import_tiers(written(tmp_path, tier_answers.binance()), "binance", date=date(2026, 1, 15), name="2025-08-31")
    tables = Venue.load("binance").contract("BTCUSDT").tables
    assert [table.name for table in tables[-2:]] == ["2025-07-02", "2025-08-31"]
    assert tables[-1].period == "seen 2026-01-15"


def test_copy_of_a_table_carried__changes_nothing_inside_its_period(tmp_path):
    own = Venue.load("binance").contract("BTCUSDT").tables[-1]
    ends = [*own.floors[1:].tolist(), own.cap]
    rows = zip(
        own.floors.tolist(),
        ends,
        own.rates.tolist(),
        own.max_leverages.tolist(),
        own.amounts.tolist(),
        strict=True,
    )
    names = ("notionalFloor", "notionalCap", "maintMarginRatio", "initialLeverage", "cum")
    answer = [{"symbol": "BTCUSDT", "brackets": [dict(zip(names, row, strict=True)) for row in rows]}]
    found = import_tiers(written(tmp_path, answer), "binance", date=date(2026, 1, 15))
    assert found.new == ()
    later = import_tiers(written(tmp_path, answer), "binance", date=DAY)
    assert later.new == ("BTCUSDT",)
    assert timeline(Venue.load("binance").contract("BTCUSDT")).at(datetime(2026, 11, 1, tzinfo=UTC))[1] == "seen"


def test_imports__are_inputs_with_hashes_and_travel_with_the_venue(tmp_path):
    before = _digest(Venue.load("okx"))
    import_tiers(written(tmp_path, tier_answers.okx()), "okx", date=DAY, contract_sizes={"BTCUSDT": 0.01})
    path = tiers_folder() / "okx.parquet"
    assert rule_files("okx")[str(path)] == path
    assert _digest(Venue.load("okx")) != before


def test_contracts_that_end_or_pay_in_coin__are_left_out(tmp_path):
    answer = {
        name: tier_answers.ccxt(name)
        for name in ("BTC/USDT:USDT", "BTC/USDT:USDT-261225", "ETH/USD:ETH", "BTC/USD:BTC")
    }
    found = import_tiers(written(tmp_path, answer), "binance", date=DAY)
    assert found.symbols == ("BTCUSDT",)
    assert found.left_out == {
        "ends on a day": ("BTC/USDT:USDT-261225",),
        "margined in the coin, which the venue's file does not list": ("ETH/USD:ETH", "BTC/USD:BTC"),
    }


def changed(answer: Any, change: Any) -> Any:
    change(answer)
    return answer


@pytest.mark.parametrize(
    ("answer", "venue", "more", "said"),
    [
        ("[", "binance", {"date": DAY}, r"answer\.json is not JSON"),
        (
            {"a": 1},
            "binance",
            {"date": DAY},
            r"answer\.json: is of no format that is known here: Bin",
        ),
        (tier_answers.binance(), "binance", {}, "date is needed: .* does not say on which day"),
        (tier_answers.binance(), "binance", {"date": date(2999, 1, 1)}, "date lies in the future: 2999-01-01"),
        (tier_answers.older_ccxt(), "binance", {"date": DAY}, r"the tiers name no symbol: say which \(symbol="),
        (
            tier_answers.okx(),
            "okx",
            {"date": DAY},
            "contract_sizes is needed: the tiers of 1 symbol count contracts",
        ),
        (tier_answers.kucoin(), "bybit", {"date": DAY}, "venue is bybit, but .* is an answer of KuCoin"),
        (
            tier_answers.ccxt("ETH/USDT:USDT", amounts=False),
            "bybit",
            {"date": DAY},
            "model is needed: neither .* nor venue bybit says how the tiers of 1 symbol apply, first ETHUSDT",
        ),
        (
            changed(tier_answers.binance(), lambda a: a[0]["brackets"][1].update(maintMarginRatio="a lot")),
            "binance",
            {"date": DAY},
            "tier 2 of BTCUSDT: maintMarginRatio must be a finite number, is 'a lot'",
        ),
        (
            changed(tier_answers.binance(), lambda a: a[0]["brackets"][1].pop("notionalFloor")),
            "binance",
            {"date": DAY},
            "tier 2 of BTCUSDT has no notionalFloor",
        ),
        (
            changed(tier_answers.binance(), lambda a: a[0]["brackets"].pop(1)),
            "binance",
            {"date": DAY},
            r"tier 2 of BTCUSDT must begin where tier 1 ends \(50,000\), begins at 600,000",
        ),
        (
            changed(tier_answers.binance(), lambda a: a[0]["brackets"][2].update(cum=7)),
            "binance",
            {"date": DAY},
            r"tiers of 1 of 1 symbol break a rule, first BTCUSDT: .*amount: must be 3,050 for a continuous",
        ),
        (
            changed(tier_answers.binance(), lambda a: a[0]["brackets"][2].update(initialLeverage=124)),
            "binance",
            {"date": DAY},
            "must not rise with the size: tier 3 allows 124x, tier 2 100x",
        ),
        (
            changed(
                tier_answers.binance(), lambda a: a[0]["brackets"].sort(key=lambda row: -row["maintMarginRatio"])
            ),
            "nowhere",
            {"date": DAY},
            "venue 'nowhere' is neither a file nor one of",
        ),
        (
            changed(tier_answers.binance(), lambda a: a[0].update(notionalCoef=1.5)),
            "binance",
            {"date": DAY},
            "widened by a factor of 1.5 for one user",
        ),
    ],
)
def test_bad_file__is_refused_in_one_line_and_nothing_is_written(tmp_path, answer, venue, more, said):
    path = tmp_path / "answer.json"
    path.write_text(answer if isinstance(answer, str) else json.dumps(answer))
    with pytest.raises(BacktestError, match=said) as caught:
        import_tiers(path, venue, **more)
    assert "\n" not in str(caught.value)
    assert not tiers_folder().exists()


def test_damaged_imports__are_named_when_the_venue_is_loaded():
    tiers_folder().mkdir(parents=True)
    (tiers_folder() / "okx.parquet").write_text("nothing")
    with pytest.raises(BacktestError, match=r"imported tables: .*okx\.parquet: is not a Parquet file of tiers"):
        Venue.load("okx")


def test_model__must_be_one_of_two(tmp_path):
    with pytest.raises(ArgumentError, match="model must be one of marginal, flat, is 'steep'"):
        import_tiers(written(tmp_path, tier_answers.binance()), "binance", date=DAY, model="steep")


def test_command__imports_lists_shows_and_compares(tmp_path, capsys):
    path = written(tmp_path, tier_answers.freqtrade(), "leverage_tiers_USDT.json")
    assert main(["tiers", "import", str(path), "--venue", "binance"]) == 0
    assert "seen      2026-11-20" in capsys.readouterr().out
    assert main(["tiers", "list"]) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert rows["binance"] == ["binance", "970", "4,429", "1", "1", "2026-11-20"]
    assert main(["tiers", "list", "--venue", "binance"]) == 0
    assert "BTCUSDT  2026-11-20  2026-11-20  2026-11-20  leverage_tiers_USDT.json" in capsys.readouterr().out
    assert main(["tiers", "show", "BTCUSDT", "--at", "2026-11-20"]) == 0
    assert "BTCUSDT, table 2026-11-20, marginal, seen 2026-11-20" in capsys.readouterr().out
    assert main(["tiers", "show", "XRPUSDT", "--at", "2024-08-20"]) == 2
    assert "--tiers earlier or --tiers later" in capsys.readouterr().err
    assert main(["tiers", "show", "XRPUSDT", "--at", "2024-08-20", "--tiers", "later"]) == 0
    assert "At 2024-08-20 00:00 UTC: later" in capsys.readouterr().out
    assert main(["tiers", "diff", "XRPUSDT", "--from", "2025-08-01", "--until", "2025-09-01"]) == 0
    printed = capsys.readouterr().out
    assert (
        "2025-07-02 to 2025-08-14: between 2025-08-03 and 2025-08-14" in printed
        or "2025-08-14: between" in printed
    )
    assert main(["tiers", "diff", "XRPUSDT", "--from", "2026-09-01"]) == 0
    assert "No change of XRPUSDT is known in this period." in capsys.readouterr().out


def test_command__names_its_options_where_something_lacks(tmp_path, capsys):
    path = written(tmp_path, tier_answers.okx())
    assert main(["tiers", "import", str(path), "--venue", "okx"]) == 2
    assert "--date is needed" in capsys.readouterr().err
    assert main(["tiers", "import", str(path), "--venue", "okx", "--date", "2026-11-20"]) == 2
    assert "--contract-size is needed" in capsys.readouterr().err
    words = ["tiers", "import", str(path), "--venue", "okx", "--date", "2026-11-20", "--contract-size"]
    assert main([*words, "BTC-USDT=0"]) == 2
    assert "--contract-size must be SYMBOL=SIZE with a size above zero" in capsys.readouterr().err
    assert main([*words, "BTC-USDT=0.01"]) == 0


def exported(day: datetime, most: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return tables of Binance in force on a day as ccxt and as freqtrade write them."""
    venue, tool, bot = Venue.load("binance"), {}, {}
    for symbol in list(venue.contracts)[:most]:
        table = timeline(venue.contract(symbol)).at(day)[0]
        if table is None or not symbol.endswith("USDT"):
            continue
        pair = f"{symbol.removesuffix('USDT')}/USDT:USDT"
        rows = [
            {
                "minNotional": float(floor),
                "maxNotional": float(cap),
                "maintenanceMarginRate": float(rate),
                "maxLeverage": float(leverage),
            }
            for floor, cap, rate, leverage in zip(
                table.floors, [*table.floors[1:], table.cap], table.rates, table.max_leverages, strict=True
            )
        ]
        amounts = [float(amount) for amount in table.amounts]
        tool[pair] = [
            row | {"tier": number + 1, "symbol": pair, "currency": "USDT", "info": {"cum": str(amount)}}
            for number, (row, amount) in enumerate(zip(rows, amounts, strict=True))
        ]
        bot[pair] = [row | {"maintAmt": amount} for row, amount in zip(rows, amounts, strict=True)]
    return tool, {"updated": f"{day:%Y-%m-%d} 10:00:00+00:00", "data": bot}


def test_files_of_tools__round_trip(tmp_path):
    day = datetime(2025, 10, 10, tzinfo=UTC)
    tool, bot = exported(day, most=150)
    assert len(tool) > 60
    for name, answer in (("ccxt.json", tool), ("freqtrade.json", bot)):
        found = import_tiers(written(tmp_path, answer, name), "binance", date=day.date())
        assert len(found.symbols) == len(tool)
        assert found.new == ()
    empty = tmp_path / "empty.toml"
    empty.write_text(OWN.format(name="empty", model="marginal"))
    for name in ("ccxt.json", "freqtrade.json"):
        import_tiers(tmp_path / name, empty, date=day.date())
        for symbol in list(Venue.load("binance").contracts)[2:150:20]:
            carried = timeline(Venue.load("binance").contract(symbol)).at(day)[0]
            if carried is not None and symbol.endswith("USDT"):
                assert timeline(Venue.load(empty).contract(symbol)).at(day)[0].same_as(carried)
