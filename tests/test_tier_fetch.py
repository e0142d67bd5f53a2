"""Tiers asked of venues: the questions, the answers on the disk, and their import."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import tier_answers
from archive_server import Archive, serving

from backtest.__main__ import main
from backtest.market.sources.tier_answers import QUESTIONS
from backtest.rules import Venue

TODAY = f"{datetime.now(UTC):%Y-%m-%d}"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKTEST_DATA", str(tmp_path))


def fetch(archive: Archive, venue: str, *more: str) -> int:
    return main(["fetch", "tiers", venue, *more, "--host", f"{QUESTIONS[venue].host}={archive.address}"])


def test_bybit__is_asked_for_each_symbol_and_its_answer_is_imported(tmp_path, capsys):
    answer = tier_answers.bybit()
    for row in answer["result"]["list"]:
        row["symbol"] = "ETHUSDT"
    with serving() as archive:
        archive.answers["v5/market/risk-limit"] = lambda _: answer
        assert fetch(archive, "bybit", "--symbol", "ETHUSDT") == 0
        assert archive.queries == [{"category": "linear", "symbol": "ETHUSDT"}]
    assert (tmp_path / "tier-answers" / "bybit" / f"ETHUSDT-{TODAY}.json").is_file()
    assert "1 symbol of bybit: ETHUSDT" in capsys.readouterr().out
    assert Venue.load("bybit").contract("ETHUSDT").tables[0].period == f"seen {TODAY}"


def test_okx__is_asked_for_the_size_of_its_contracts_too():
    with serving() as archive:
        archive.answers["api/v5/public/position-tiers"] = lambda _: tier_answers.okx()
        archive.answers["api/v5/public/instruments"] = lambda _: {"code": "0", "data": [{"ctVal": "0.01"}]}
        assert fetch(archive, "okx", "--symbol", "BTC-USDT") == 0
    table = Venue.load("okx").contract("BTCUSDT").tables[0]
    assert (table.size, table.contract_size) == ("contracts", 0.01)


def test_hyperliquid__is_asked_once_for_every_coin():
    with serving() as archive:
        archive.answers["info"] = lambda _: tier_answers.hyperliquid()
        assert fetch(archive, "hyperliquid") == 0
        assert archive.posted == [{"type": "meta"}]
    assert Venue.load("hyperliquid").contract("XRPUSDT").tables[0].period == f"seen {TODAY}"


def test_venue_that_is_not_bundled__has_its_answer_kept_and_is_told_how_to_import_it(tmp_path, capsys):
    with serving() as archive:
        archive.answers["api/v4/futures/usdt/risk_limit_tiers"] = lambda _: tier_answers.gate()
        assert fetch(archive, "gate", "--symbol", "BTC_USDT") == 0
    path = tmp_path / "tier-answers" / "gate" / f"BTC_USDT-{TODAY}.json"
    assert path.is_file()
    assert f"backtest tiers import {path} --venue FILE --date {TODAY}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("binance", "cannot be binance, which shows its tiers to holders of a key alone"),
        ("mexc", "must be one of bybit, okx, gate, bitget, kucoin, hyperliquid, dydx, is 'mexc'"),
        ("bybit", "--symbol is needed: bybit is asked for each, as BTCUSDT"),
        ("bybit --symbol BTC/USDT", "--symbol must be written as the venue does, as BTCUSDT, is 'BTC/USDT'"),
        ("", "fetch tiers needs one venue: bybit, okx"),
        ("bybit --symbol BTCUSDT --offline", "fetch tiers asks the venue, which --offline forbids"),
    ],
)
def test_question_that_cannot_be_asked__is_refused_in_one_line(tmp_path, capsys, words, said):
    assert main(["fetch", "tiers", *words.split()]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
