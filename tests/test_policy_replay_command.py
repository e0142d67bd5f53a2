"""``backtest policy`` on replays: the example runs, cells are taken up again, mistakes are told by path."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_policy_command import Page, changed, grid_file, shown_by_a_browser  # noqa: F401

from backtest.__main__ import main
from backtest.cli.policy.grid_file import read_grid
from backtest.cli.policy.who_pays import borne
from backtest.errors import RulesError
from backtest.rules.venue import Venue
from backtest.study.policy.frontier import per_million
from backtest.study.policy.grid import KEYS

EXAMPLE = Path(__file__).parent.parent / "docs" / "procedures_may_2021.toml"


@pytest.fixture
def replays(grid_file: Path) -> Path:  # noqa: F811
    """The grid of a month of hours, settled by replays of five procedures."""
    text = grid_file.read_text()
    text = text.replace('venue = "binance"', 'venue = "binance"\nsettlement = "replay"', 1)
    text = text.replace(
        "[grid]\n", '[grid]\nprocedures = ["returned", "current rules", "mexc", "own", "wide"]\n', 1
    )
    text = text.replace("liquidation_fees = [0, 0.005]", 'liquidation_fees = ["current rules", 0.005]')
    text = text.replace("rate_scales = [1, 2]\n", "").replace('[changes."entry basis"]\nbasis = "entry"\n', "")
    text = text.replace("[bands]", PROCEDURES + "[bands]")
    grid_file.write_text(text)
    return grid_file


PROCEDURES = """
[procedures.own]
like = "ascend"
step_fraction = 0.5
[procedures.wide]
takeover_price = "backstop"
takeover_discount = 0.02
remainder = "shared"
inventory = "backstop"
[impact]
linear = 1e-8
"""


def test_the_example__runs_and_tells_procedures_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["policy", str(EXAMPLE), "--out", str(out)]) == 0
    printed, summary = capsys.readouterr().out, json.loads((out / "summary.json").read_text())
    policies = pl.read_parquet(out / "policies.parquet")
    assert policies.height == 2 * 2 * 2 * 8
    assert policies.select(pl.struct(KEYS).is_unique().all()).item()
    assert summary["settlement"].startswith("replay, liquidation by liquidation in time order (no limit on volume")
    assert (out / "procedures.png").exists()
    page = Page((out / "report.html").read_text("utf-8"))
    assert len(page.pictures) == 3
    assert page.fetched == []
    told = " ".join(page.words)
    for words in (
        "Costs of each procedure to the liquidated, May 2021, reconstructed, highest leverage none, fund 0, from "
        "fills at the liquidation price to fills at the worst price of the bar",
        "Who pays, May 2021, reconstructed, highest leverage none, from fills at the liquidation price",
        "closed by 40 % of the position at a time; until it is healthy; a fee of 0.5 %",
        "Feedback: liquidations do not move the mark price here",
    ):
        assert words in told
    assert (
        "Caps on leverage, May 2021, reconstructed, filled at the worst price of the bar, fully closed" in printed
    )
    assert "least is left to others under current rules (0)" in told.replace("\n", " ")
    shown = shown_by_a_browser(out / "report.html", tmp_path / "page.png")
    assert shown.count("<table") == 5
    assert "Clawed back: taken from others' unrealised profits" in shown


def test_replays__are_taken_up_where_they_were(tmp_path: Path, capsys, replays: Path, monkeypatch) -> None:
    out = tmp_path / "out"
    assert main(["policy", str(replays), "--out", str(out)]) == 0
    first = capsys.readouterr()
    assert first.err == ""
    assert "(" not in first.out.splitlines()[-3]
    monkeypatch.setattr(
        "backtest.cli.policy.command.evaluate", lambda *_, **__: pytest.fail("a finished cell was redone")
    )
    assert main(["policy", str(replays), "--out", str(out)]) == 0
    assert "(16 cells finished before)" in capsys.readouterr().out
    changed(replays, "step_fraction = 0.5", "step_fraction = 0.25")
    assert main(["policy", str(replays), "--out", str(out)]) == 2
    assert "holds the finished parts of another job" in capsys.readouterr().err
    policies = pl.read_parquet(out / "policies.parquet")
    assert policies.height == 2 * 2 * 2 * 2 * 3 * (2 * 2 * 5)
    own = policies.filter(procedure="own", fund=1000.0, cap=20.0)
    fees = [own.filter(pl.col("liquidation_fee").is_null())["fees"], own.filter(liquidation_fee=0.005)["fees"]]
    assert fees[0].to_numpy() == pytest.approx(fees[1].to_numpy())  # Ascend's own fee is half a per cent
    assert np.abs(policies.filter(procedure="wide")["backstop"].to_numpy()).max() > 0
    assert policies.filter(procedure="returned")["adl_notional"].to_numpy().max() == 0


def test_procedures__are_what_the_file_says(replays: Path) -> None:
    named = read_grid(replays).settlement.named  # type: ignore[attr-defined]
    binance, ascend = Venue.load("binance"), Venue.load("ascend")
    assert named["current rules"]["procedure"] is not None
    assert named["current rules"]["remainder"] == binance.remainder == "fund"
    assert vars(named["own"]["procedure"]) == vars(ascend.procedure) | {"step_fraction": 0.5}
    assert vars(named["wide"]["procedure"]) == vars(binance.procedure) | {"inventory": "backstop"}
    assert (named["wide"]["takeover_discount"], named["wide"]["remainder"]) == (0.02, "shared")


def test_a_venue_file_beside_the_grid__is_a_procedure(replays: Path) -> None:
    text = Path("backtest/rules/venues/primexbt.toml")
    source = Path(__file__).parent.parent / text
    (replays.parent / "mine.toml").write_text(source.read_text("utf-8"))
    file = read_grid(changed(replays, '"mexc"', '"mine.toml"'))
    assert vars(file.settlement.named["mine.toml"]["procedure"]) == vars(Venue.load("primexbt").procedure)
    assert str(replays.parent / "mine.toml") in file.hashes()


@pytest.mark.parametrize(
    ("old", "new", "path", "told"),
    [
        (
            'settlement = "replay"',
            "",
            "grid.procedures",
            'needs settlement = "replay": the fund path fully closes',
        ),
        ('settlement = "replay"', 'settlement = "simple"', "settlement", "must be one of fund path, replay"),
        (
            '"mexc"',
            '"mexico"',
            "grid.procedures",
            "'mexico' is neither 'current rules', returned, to_fund, a venue",
        ),
        ('"own", ', "", "procedures.own", "is not used: grid.procedures are returned"),
        ('like = "ascend"', 'like = "own"', "procedures.own.like", "'own' is neither 'current rules'"),
        ('like = "ascend"', 'like = ["okx"]', "procedures.own.like", "['okx'] is neither 'current rules'"),
        ("step_fraction = 0.5", "step_fraction = 1.5", "procedures.own.step_fraction", "must lie between 0 and 1"),
        (
            "step_fraction = 0.5",
            "steps = 2",
            "procedures.own.steps",
            "is not a setting of a procedure: there are like",
        ),
        (
            'remainder = "shared"',
            'remainder = "kept"',
            "procedures.wide.remainder",
            "must be one of returned, fund",
        ),
        (
            "takeover_discount = 0.02",
            "takeover_discount = 1",
            "procedures.wide.takeover_discount",
            "must lie betw",
        ),
        ("[procedures.own]", "[procedures.okx]", "procedures.okx", "is the name of another procedure"),
        ("linear = 1e-8", "linear = -1", "impact.linear", "must lie between 0 and 1e+12, is -1"),
        (
            "linear = 1e-8",
            "mark = 1e-8",
            "impact.mark",
            "the mark price stays that of the history, which contains its own cascade",
        ),
        (
            '"current rules", 0.005',
            '"own", 0.005',
            "grid.liquidation_fees",
            'must be a list of numbers or "current rules"',
        ),
        (
            'leverage_mix = "high"',
            'population = "volume"',
            "books[1].population",
            "a replay needs single positions",
        ),
        ("[bands]", '[changes.x]\nstep = "tier"\n[bands]', "changes.x", "procedures are an axis of their own"),
    ],
)
def test_mistakes__are_told_by_their_path(replays: Path, old: str, new: str, path: str, told: str) -> None:
    with pytest.raises(RulesError) as refused:
        read_grid(changed(replays, old, new))
    assert any(found == path and told in what for found, what in refused.value.problems), refused.value.problems


def test_a_book_of_weights__is_refused_by_its_name(tmp_path: Path, capsys, replays: Path) -> None:
    bars = pl.read_parquet(replays.parent / "bars.parquet")
    pl.DataFrame(
        {
            "position_id": [1], "symbol": ["BTCUSDT"], "side": ["long"], "entry_time": [bars["time"][3]],
            "entry_price": [bars["close"][3]], "quantity": [0.1], "leverage": [10.0], "weight": [3.0],
        }
    ).write_parquet(replays.parent / "rows.parquet")  # fmt: skip
    changed(replays, "count = 300\nseed = 1", 'positions = "rows.parquet"')
    assert main(["policy", str(replays), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "book 'mixed' cannot be settled by \"replay\": positions: a replay steps single positions" in said


def test_bearers__add_up_to_the_losses_beyond_margins(tmp_path: Path, capsys, replays: Path) -> None:
    out = tmp_path / "out"
    assert main(["policy", str(replays), "--out", str(out)]) == 0
    policies = per_million(pl.read_parquet(out / "policies.parquet"))
    assert policies["backstop"].abs().max() > 0
    for row in policies.iter_rows(named=True):
        beyond = row["shortfall_per_million"] - row["backstop_per_million"]
        assert sum(borne(row).values()) == pytest.approx(beyond, rel=1e-9, abs=1e-6)
    printed = capsys.readouterr().out.replace("\n", " ")
    for words in ("losses", "beyond margins", "paid by", "the fund", "lost by", "the backstop"):
        assert words in printed
