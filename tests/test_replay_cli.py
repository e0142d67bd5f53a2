"""``backtest replay``: what it prints and writes, and how it refuses."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from backtest.__main__ import main
from backtest.chart.venues import fund
from backtest.cli.parser import build_parser

START = datetime(2021, 5, 18, tzinfo=UTC)


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Two days of hourly bars that fall by a third, and three positions."""
    hour = np.arange(48)
    close = 45_000 - 15_000 / (1 + np.exp(-(hour - 24) / 2))
    opening = np.append(45_000.0, close[:-1])
    bars = pl.DataFrame(
        {
            "symbol": "BTCUSDT",
            "time": [START + timedelta(hours=int(n)) for n in hour],
            "open": opening,
            "high": np.maximum(opening, close) * 1.001,
            "low": np.minimum(opening, close) * 0.995,
            "close": close,
        }
    )
    bars.write_parquet(tmp_path / "bars.parquet")
    pl.DataFrame(
        {
            "position_id": [1, 2, 3],
            "symbol": "BTCUSDT",
            "side": ["long", "long", "short"],
            "entry_time": [START] * 3,
            "entry_price": [45_000.0] * 3,
            "quantity": [1.0, 1.0, 2.0],
            "leverage": [20.0, 2.0, 10.0],
        }
    ).write_parquet(tmp_path / "positions.parquet")
    files = ["--bars", str(tmp_path / "bars.parquet"), "--positions", str(tmp_path / "positions.parquet")]
    return ["replay", *files, "--venue", "binance", "--out", str(tmp_path / "out")]


def test_replay__prints_who_bore_the_loss_and_writes_everything(words, tmp_path, capsys) -> None:
    assert main([*words, "--fund", "1000", "--trace", "1"]) == 0
    printed = capsys.readouterr().out
    assert "the ledger sums to 0" in printed
    assert "fully closed, by immediate-or-cancel orders" in printed
    assert "The procedure closed 1 position in whole or in part: " in printed
    assert "entered at 45,000" in printed
    assert "triggered" in printed
    names = {"outcomes", "fund", "adl", "impact", "ledger", "trace"}
    written = {path.name for path in (tmp_path / "out").glob("[!.]*")}
    assert written == {f"{name}.parquet" for name in names} | {"fund.png", "losses.png", "summary.json"}
    outcomes = pl.read_parquet(tmp_path / "out" / "outcomes.parquet")
    assert outcomes["outcome"].to_list() == ["liquidated", "open", "open"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["procedure"]["adl_rank"] == "binance"
    assert sum(summary["ledger"].values()) == 0
    assert summary["fund"]["end"] > 1000


def test_replay__says_on_screen_and_chart_that_the_fund_is_of_a_synthetic_book(words, capsys, monkeypatch) -> None:
    drawn: list[dict[str, Any]] = []
    figure = fund.fund_figure
    monkeypatch.setattr(
        fund, "fund_figure", lambda *given, **named: drawn.append(named) or figure(*given, **named)
    )
    assert main([*words, "--fund", "1000"]) == 0
    printed = capsys.readouterr().out
    assert "read shares" not in printed
    assert re.search(r"^fund +gained \$", printed, re.MULTILINE)
    at = words.index("--positions")
    assert main([*words[:at], *words[at + 2 :], "--count", "50"]) == 0
    assert "The book is synthetic, and so are its losses and its fund" in capsys.readouterr().out
    given, synthetic = drawn
    assert re.search(r"2021: the fund gained \$\d", given["subtitle"])
    assert synthetic["subtitle"].startswith("Insurance fund of a synthetic book, ")
    assert "$" not in synthetic["title"] + synthetic["subtitle"]
    assert "synthetic book of 50 positions (read shares, not amounts)" in synthetic["notes"]


def test_replay__set_changes_a_rule(words, tmp_path) -> None:
    assert main([*words, "--set", "adl_rank=pro_rata", "--set", "rounds=7", "--set", "clawback=true"]) == 0
    procedure = json.loads((tmp_path / "out" / "summary.json").read_text())["procedure"]
    assert (procedure["adl_rank"], procedure["rounds"], procedure["clawback"]) == ("pro_rata", 7, True)


def test_replay__feedback_on_prices_said_to_be_exogenous_draws_the_moved_mark(words, tmp_path) -> None:
    assert main([*words, "--mark-impact", "1e-7", "--exogenous"]) == 0
    assert (tmp_path / "out" / "mark_BTCUSDT.png").stat().st_size > 10_000
    assert pl.read_parquet(tmp_path / "out" / "impact.parquet")["offset"].min() < 0


def test_replay__compares_another_policy_with_the_history(words, tmp_path, capsys) -> None:
    asked = [
        "--policy-set",
        "rate_scale=4",
        "--policy-set",
        "step=fraction",
        "--strength",
        "1e-7",
        "--fund",
        "1000",
    ]
    assert main([*words, *asked]) == 0
    printed = capsys.readouterr().out
    assert "history" in printed
    assert "only under the policy" in printed
    assert "an estimate, not a measurement" in printed
    names = {path.name for path in (tmp_path / "out").glob("[!.]*")}
    assert {"policy_outcomes.parquet", "policy_impact.parquet", "flow.parquet", "mark_BTCUSDT.png"} <= names
    assert {f"comparison_{name}.parquet" for name in ("positions", "totals", "marks")} <= names
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())["counterfactual"]
    assert summary["strength"] == 1e-7
    assert sum(summary["liquidated"].values()) == 3
    plain = pl.read_parquet(tmp_path / "out" / "outcomes.parquet")
    assert plain["outcome"].to_list() == ["liquidated", "open", "open"]
    assert pl.read_parquet(tmp_path / "out" / "policy_impact.parquet")["offset"].abs().max() > 0


def test_replay__the_same_policy_leaves_the_mark_alone(words, tmp_path) -> None:
    assert main([*words, "--policy", "binance", "--strength", "1e-7"]) == 0
    assert (pl.read_parquet(tmp_path / "out" / "policy_impact.parquet")["offset"] == 0).all()
    outcomes = [
        pl.read_parquet(tmp_path / "out" / name) for name in ("outcomes.parquet", "policy_outcomes.parquet")
    ]
    assert outcomes[0].equals(outcomes[1])


def test_venues__tells_the_procedure_with_its_sources(capsys) -> None:
    assert main(["venues", "ascendex"]) == 0
    printed = capsys.readouterr().out
    assert "procedure.adl_rank" in printed
    assert "top_ten" in printed


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--set", "colour=red"], "--set must be RULE=VALUE"),
        (["--set", "stpe=fraction"], "--set stpe=fraction: there is no rule stpe, did you mean step?"),
        (["--policy-set", "maximum_leverage=5", "--strength", "1e-9"], "under the policy: positions: leverage"),
        (["--set", "rounds=many"], "must be a whole number"),
        (["--set", "clawback=yes"], "must be true or false"),
        (["--set", "step=half"], "must be one of all, fraction, tier, enough"),
        (["--mark-impact", "1e-9"], "add --exogenous where"),
        (["--participation", "0.1"], "bars must have a column volume"),
        (["--fund", "-1"], "zero or more"),
        (["--policy", "binance"], "--policy and --policy-set need --strength"),
        (["--strength", "1e-9"], "name it with --policy"),
        (["--policy", "nowhere.toml", "--strength", "1e-9"], "nowhere.toml"),
        (["--policy-set", "colour=red", "--strength", "1e-9"], "--policy-set must be RULE=VALUE"),
        (["--policy", "okx", "--strength", "1e-9", "--exogenous"], "leave out --mark-impact and --exogenous"),
        (
            ["--policy", "okx", "--strength", "1e-9", "--entry-bar", "tested"],
            "must be 'untested' in a counterfactual",
        ),
        (["--trace", "99"], "--trace must be the position_id"),
        (["--count", "5"], "--count is for a synthetic book"),
    ],
)
def test_replay__refuses_in_one_line(words, tmp_path, capsys, more, told) -> None:
    assert main([*words, *more]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_help__gives_examples_that_the_command_line_knows(capsys) -> None:
    assert main(["replay", "--help"]) == 0
    examples = re.findall(r"^  backtest (replay .+)$", capsys.readouterr().out, re.MULTILINE)
    assert len(examples) == 5
    for example in examples:
        assert build_parser().parse_args(example.split()).command == "replay"
