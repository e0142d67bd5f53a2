"""Settings of TOML files: nested too deep, what no TOML may hold, dates as text, what no venue would do."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backtest import Impact, Venue
from backtest.__main__ import main
from backtest.errors import DataError, RulesError
from backtest.market.sources import read

DEEP = "[" * 3_000 + "]" * 3_000


@pytest.mark.parametrize("words", [["policy"], ["venues"]])
def test_toml__nested_too_deep_is_refused(tmp_path, capsys, words):
    (tmp_path / "deep.toml").write_text(f"a = {DEEP}\n")
    assert main([*words, str(tmp_path / "deep.toml")]) == 2
    assert "is not valid TOML: maximum recursion depth exceeded" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["candles", "hyperliquid_fills"])
def test_json__nested_too_deep_is_refused(tmp_path, kind):
    (tmp_path / "deep.json").write_text("[" * 200_000 + "]" * 200_000)
    with pytest.raises(DataError, match=r"deep\.json"):
        read(tmp_path / "deep.json", kind, symbol="BTC")


@pytest.mark.parametrize(("where", "line"), [("tiers", "tiers = 1.0\n"), ("tiers", "tiers = { BTCUSDT = 1 }\n")])
def test_tiers_of_a_grid__are_names(tmp_path, capsys, where, line):
    grid = '[[histories]]\nname = "May"\nsample = true\n[[books]]\nname = "b"\ncount = 100\nseed = 1\n'
    (tmp_path / "grid.toml").write_text(f"{line}{grid}")
    assert main(["policy", str(tmp_path / "grid.toml"), "--out", str(tmp_path / "out")]) == 2
    assert f"{where}: must be text, or a table of it by symbol, is" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["9" * 5_000, str(2**63), str(-(2**63) - 1), r'"a\u0000b"'])
@pytest.mark.parametrize("words", [["policy"], ["venues"]])
def test_toml__refuses_what_no_toml_may_hold(tmp_path, capsys, words, value):
    (tmp_path / "odd.toml").write_text(f"a = [{{ b = {value} }}]\n")
    assert main([*words, str(tmp_path / "odd.toml")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is not valid TOML: " in said
    assert len(value) > 30 or "a[0].b " in said


def test_too_many_positions__are_refused(capsys):
    assert main(["run", "--count", "9" * 400]) == 2
    assert "--count must be at most 10,000,000,000, is 9999" in capsys.readouterr().err


def test_not_enough_memory__is_one_line(capsys, monkeypatch):
    def short(*_, **__):
        raise MemoryError("Unable to allocate 1. TiB")

    monkeypatch.setattr("backtest.cli.run.command.read_market", short)
    assert main(["run"]) == 2
    assert capsys.readouterr().err == "backtest: error: there is not enough memory: Unable to allocate 1. TiB\n"


ONE = """
name = "x"
title = "X"
[contracts.BTCUSDT]
[[contracts.BTCUSDT.tables]]
name = "a"
{}
rows = [
  {{ floor = 0, rate = 0.01, max_leverage = {} }},
  {{ floor = 1_000, rate = 0.02, max_leverage = 10, amount = 10 }},
]
"""


def loaded(folder, dates="", leverage="100", more=""):
    (folder / "v.toml").write_text(ONE.format(dates, leverage) + more)
    return Venue.load(folder / "v.toml")


def test_dates_of_a_venue_file__may_be_text(tmp_path):
    table = loaded(tmp_path, 'from = "2020-03-01"\nuntil = "2020-04-01T03:00:00Z"').contract("BTCUSDT").tables[0]
    assert (table.start, table.end) == (datetime(2020, 3, 1, tzinfo=UTC), datetime(2020, 4, 1, 3, tzinfo=UTC))
    assert loaded(tmp_path, 'seen = ["2020-03-01"]').contract("BTCUSDT").tables[0].dated == "seen"
    with pytest.raises(RulesError, match=r"from: must be a date, is 'spring'"):
        loaded(tmp_path, 'from = "spring"')


def test_amount_of_the_first_tier__is_zero_where_it_is_left_out(tmp_path):
    assert loaded(tmp_path).contract("BTCUSDT").tables[0].amounts.tolist() == [0.0, 10.0]


def test_highest_leverage__opens_no_position_below_its_maintenance_margin(tmp_path):
    said = r"rows\[0\]\.max_leverage: 101 would open positions below .*: initial margin 0\.9901 %, maintenance 1 %"
    with pytest.raises(RulesError, match=said):
        loaded(tmp_path, leverage="101")


def test_closing_fees_and_participation__are_shares(tmp_path):
    rules = '[rules]\nclosing_fee = "at_mark"\nclosing_fee_rate = {}\n'
    assert loaded(tmp_path, more=rules.format(0.1), leverage="5").contract("BTCUSDT").closing_fee_rate == 0.1
    with pytest.raises(RulesError, match=r"closing_fee_rate: is 50 % of the notional: 0.05 % is written 0.0005"):
        loaded(tmp_path, more=rules.format(0.5))
    assert Impact(participation=1.0).participation == 1.0
    with pytest.raises(RulesError, match="participation: must lie between 0 and 1, is 2"):
        Impact(participation=2.0)


def test_hint_of_venues__names_the_file_that_was_given(tmp_path, capsys):
    loaded(tmp_path)
    assert main(["venues", str(tmp_path / "v.toml")]) == 0
    *_, hint = capsys.readouterr().out.strip().splitlines()
    words = hint.removeprefix("backtest ").removesuffix(" prints every tier of a contract.")
    assert main(words.replace("SYMBOL", "BTCUSDT").split()) == 0
    price = "price --side long --entry-price 40000 --quantity 1 --leverage 10 --venue"
    assert main([*price.split(), str(tmp_path / "v.toml")]) == 0
    assert not [line for line in capsys.readouterr().out.splitlines() if line.endswith(" ") and "margin" in line]


def test_captions__in_a_script_without_a_font_draw_no_warning(tmp_path, capfd):
    words = "run --count 200 --symbol BTCUSDT --from 2021-05-19 --until 2021-05-20"
    assert main([*words.split(), "--caption", "\u6e05\u7b97", "--out", str(tmp_path)]) == 0
    assert capfd.readouterr().err == ""
