"""Files nested thousands deep, settings that no TOML may hold, and tiers of a grid that are no names: one line."""

from __future__ import annotations

import pytest

from backtest.__main__ import main
from backtest.errors import DataError
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
