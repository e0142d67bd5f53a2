"""Accounts in cross margin: laws of the sweep, paths, charts, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from bad_accounts import good_account_files
from bad_kinds import VENUE, good_files
from matplotlib.figure import Figure
from random_accounts import MINUTE, START, Case, random_case
from test_accounts_reference import swept
from test_bad_input import run, write

from backtest import Accounts, Market, liquidate_accounts, sweep_accounts
from backtest.chart.venues.accounts import account, alert_lead_times, hedges
from backtest.engine.accounts.alerts import replay_alerts
from backtest.errors import ArgumentError, DataError, RulesError
from backtest.kernel.choices import AccountPrices
from backtest.study.holders.account_paths import account_path

OUTCOMES = ["outcome", "outcome_time", "earliest_liquidation", "equity", "maintenance_margin", "shortfall"]


def cases(first: int, count: int = 4, size: int = 40) -> list[Case]:
    return [random_case(np.random.default_rng([first, number]), size) for number in range(count)]


def market_of(case: Case) -> Market:
    limit = case.options["gap_limit_ms"]
    return Market(case.bars, case.funding, gap_limit=None if limit is None else timedelta(milliseconds=limit))


def test_sweep_accounts__brackets_every_convention() -> None:
    for case in cases(31, 6):
        found = {name: swept(case, convention=name).accounts for name in AccountPrices.names()}
        for own in found.values():
            assert own["earliest_liquidation"].equals(found["own_worst"]["earliest_liquidation"])
            assert own["latest_liquidation"].equals(found["own_worst"]["latest_liquidation"])
        assert_not_later(found["own_worst"], found["joint_worst"])
        assert_not_later(found["joint_worst"], found["closes"])
        liquidated = found["own_worst"]["liquidated"] != found["closes"]["liquidated"]
        assert (found["joint_worst"]["ambiguous"] == liquidated).all()


def assert_not_later(one: pl.DataFrame, other: pl.DataFrame) -> None:
    rows = other.filter("liquidated").join(one, on="account_id")
    assert rows["liquidated_right"].all()
    assert (rows["outcome_time_right"] <= rows["outcome_time"]).all()


def test_sweep_accounts__does_not_depend_on_order_threads_or_company() -> None:
    for case in cases(32):
        whole = swept(case)
        rng = np.random.default_rng(5)
        frames = {name: case.frames[name] for name in case.frames}
        frames["accounts"] = frames["accounts"].sample(fraction=1.0, shuffle=True, seed=int(rng.integers(99)))
        mixed = swept(case._replace(frames=frames), threads=2)
        assert mixed.accounts.sort("account_id").equals(whole.accounts)
        assert mixed.legs.equals(whole.legs)
        market, accounts = market_of(case), Accounts(**case.frames)
        rules = {name: case.options[name] for name in ("convention", "profit", "hedged")}
        for number in (0, 7):
            alone = sweep_accounts(accounts.only(number), market, case.venue, **rules).accounts
            assert alone.equals(whole.accounts.filter(pl.col("account_id") == number))


def test_sweep_accounts__bars_appended_change_no_earlier_liquidation() -> None:
    for case in cases(33):
        last = case.bars["time"].max()
        cut = case.bars.filter(pl.col("time") <= START + (last - START) / 2)
        if cut["symbol"].n_unique() < case.bars["symbol"].n_unique():
            continue
        before = swept(case._replace(bars=cut)).accounts.filter("liquidated")
        after = swept(case).accounts.join(before.select("account_id"), on="account_id", how="semi")
        assert after.select(OUTCOMES).equals(before.select(OUTCOMES))


def test_sweep_accounts__a_deposit_never_liquidates_earlier() -> None:
    for case in cases(34):
        before = swept(case).accounts
        richer = case.frames["accounts"].with_columns(pl.col("wallet") + 8.0)
        after = swept(case._replace(frames=case.frames | {"accounts": richer})).accounts
        both = after.filter("liquidated").join(before, on="account_id")
        assert both["liquidated_right"].all()
        assert (both["outcome_time"] >= both["outcome_time_right"]).all()


def test_sweep_accounts__without_a_bracket_leaves_it_out_and_changes_nothing_else() -> None:
    for case in cases(35, 3):
        full, bare = swept(case).accounts, swept(case, bracket=False).accounts
        left_out = ["earliest_liquidation", "latest_liquidation", "ambiguous"]
        assert bare.select(left_out).null_count().row(0) == (bare.height,) * 3
        assert bare.drop(left_out).equals(full.drop(left_out))


def test_sweep_accounts__refuses_bars_off_a_common_grid_and_prices_that_trigger_elsewhere() -> None:
    case = cases(36, 1)[0]
    accounts = Accounts(**case.frames)
    shifted = pl.when(pl.col("symbol") == "BBB").then(pl.col("time") + timedelta(seconds=30)).otherwise("time")
    with pytest.raises(DataError, match="bars: symbols of accounts must share one grid of openings"):
        sweep_accounts(accounts, Market(case.bars.with_columns(time=shifted)), case.venue)
    with pytest.raises(RulesError, match="accounts are valued at the mark price"):
        sweep_accounts(accounts, market_of(case), case.venue.with_(trigger_price="last"))
    mixed = {name: replace(own, settlement=name) for name, own in case.venue.contracts.items()}
    with pytest.raises(RulesError, match="all contracts an account holds must settle in one currency: AAA AAA"):
        sweep_accounts(accounts, market_of(case), replace(case.venue, contracts=mixed))
    with pytest.raises(ArgumentError, match="convention must be one of own_worst"):
        sweep_accounts(accounts, market_of(case), case.venue, convention="own_wurst")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="accounts must be an Accounts"):
        sweep_accounts(case.frames, market_of(case), case.venue)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="ratio must lie between 0 and 1"):
        replay_alerts(accounts, market_of(case), case.venue, ratio=1.5)


def test_path__meets_the_requirement_in_the_bar_that_liquidates() -> None:
    compared = 0
    for case in cases(37, 6):
        accounts, market = Accounts(**case.frames), market_of(case)
        rules = {name: case.options[name] for name in ("convention", "profit", "hedged")}
        rules["hedged"] = "liquidatable"
        found = sweep_accounts(accounts, market, case.venue, **rules).accounts
        for row in found.iter_rows(named=True):
            walked = account_path(accounts, row["account_id"], market, case.venue, **rules)
            used_up = walked.filter(pl.col("worst_equity") < pl.col("maintenance_margin") - 1e-9)
            if row["outcome"] == "liquidated":
                here = walked.filter(pl.col("time") == row["outcome_time"]).row(0, named=True)
                assert here["worst_equity"] <= here["maintenance_margin"] + 1e-9
                assert used_up.is_empty() or used_up["time"].min() >= row["outcome_time"]
                compared += 1
            elif row["outcome"] != "unknown":
                assert used_up.is_empty()
    assert compared > 60


def test_account_chart__shows_equity_requirement_and_event() -> None:
    times = pl.Series([START + MINUTE * bar for bar in range(5)])
    walked = pl.DataFrame(
        {
            "time": times,
            "equity": [9.0, 7.0, 5.0, 1.0, 3.0],
            "maintenance_margin": [2.0, 2.0, 2.0, 1.5, 1.5],
            "worst_equity": [8.0, 6.0, 4.0, 0.5, 2.0],
        }
    )
    ax = account(walked, Figure().subplots(), event=times[3])
    solid = [line for line in ax.lines if line.get_alpha() == 1.0]
    assert [line.get_ydata().tolist() for line in solid] == [[9.0, 7.0, 5.0, 1.0], [2.0, 2.0, 2.0, 1.5]]
    assert any("liquidated 19 May 00:03" in text.get_text() for text in ax.texts)
    alone = account(walked, Figure().subplots())
    assert not any("liquidated" in text.get_text() for text in alone.texts)


def test_alert_chart__falls_from_those_that_were_warned_to_none() -> None:
    replayed = pl.DataFrame(
        {
            "outcome": ["liquidated"] * 4 + ["open"],
            "alerts": [1, 1, 1, 0, 2],
            "warning": pl.Series([0, 2, 8, None, None]).cast(pl.Int64) * 60_000,
        }
    ).with_columns(pl.col("warning").cast(pl.Duration("ms")))
    ax = alert_lead_times({0.8: replayed}, Figure().subplots())
    assert ax.lines[0].get_ydata().tolist() == [0.5, 0.5, 0.25, 0.0]
    assert ax.get_legend().get_texts()[0].get_text() == "alert at 80 %: 25 % of alerted never liquidated"


def test_hedge_chart__spans_the_bracket() -> None:
    rows = pl.DataFrame({"event": ["one"], "isolated": [0.5], "least": [0.1], "common": [0.2], "most": [0.3]})
    ax = hedges(rows, Figure().subplots())
    drawn = [line.get_xdata() for line in ax.lines]
    assert [list(map(float, np.atleast_1d(xs))) for xs in drawn] == [[0.2, 0.5], [0.1, 0.3], [0.2], [0.5]]


def test_command__writes_what_became_of_accounts(tmp_path) -> None:
    write(good_files() | {"accounts.parquet": good_account_files()["accounts.parquet"]}, tmp_path)
    words = (
        "sweep --bars bars.parquet --funding funding.parquet --accounts accounts.parquet --legs legs.parquet "
        "--collateral collateral.parquet --haircuts haircuts.parquet --transfers transfers.parquet "
        "--venue venue.toml --convention own_worst --procedure --out out"
    )
    code, out, err = run(words, tmp_path)
    assert (code, err) == (0, "")
    assert "Under convention own_worst" in out
    names = sorted(file.name for file in (tmp_path / "out").glob("[!.]*"))
    assert names == ["accounts.parquet", "closed.parquet", "legs.parquet", "steps.parquet", "summary.json"]
    written = pl.read_parquet(tmp_path / "out" / "accounts.parquet")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert sum(summary["outcomes"].values()) == written.height == 2
    assert summary["arguments"]["convention"] == "own_worst"
    assert set(summary["inputs"]) >= {"accounts.parquet", "legs.parquet", "venue.toml"}


def test_command__tells_what_followed_the_first_trigger_beside_it(tmp_path) -> None:
    told = 'source = "an example", confidence = "assumed"'
    cross = f'[cross]\nsteps = {{ value = ["close"], {told} }}\nslippage = {{ value = 0.02, {told} }}\n'
    legs = good_account_files()["legs.parquet"].with_columns(side=pl.Series(["short", "short", "long"]))
    wallets = pl.DataFrame({"account_id": [1, 2], "wallet": [500.0, 9_000.0]})
    write(
        good_files() | {"accounts.parquet": wallets, "legs.parquet": legs, "venue.toml": f"{VENUE}{cross}"},
        tmp_path,
    )
    words = (
        "sweep --bars bars.parquet --accounts accounts.parquet --legs legs.parquet --venue venue.toml --out out"
    )
    code, out, err = run(f"{words} --procedure", tmp_path)
    assert (code, err) == (0, "")
    assert out.index("At the first trigger") < out.index("After the procedure")
    assert "1 accounts triggered; 1 of them fully closed, 1 with a shortfall, " in " ".join(out.split())
    written = pl.read_parquet(tmp_path / "out" / "accounts.parquet")
    steps = pl.read_parquet(tmp_path / "out" / "steps.parquet")
    first, second = written.to_dicts()
    assert first["outcome"] == first["outcome_after"] == "liquidated"
    assert first["equity"] > 0
    assert first["shortfall"] == 0  # closed at the trigger's price
    assert first["wallet_after"] == steps["wallet"][-1] == -first["shortfall_after"] < 0  # closed in the book
    assert steps["restored"].to_list() == [None]
    assert [second[name] for name in ("triggers", "wallet_after", "shortfall_after")] == [0, None, None]
    assert second["outcome_after"] == second["outcome"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert summary["after_procedure"]["shortfall"] == first["shortfall_after"]
    assert run(words, tmp_path)[1].startswith("outcome")
    assert "outcome_after" not in pl.read_parquet(tmp_path / "out" / "accounts.parquet").columns


def test_liquidate_accounts__refuses_what_a_sweep_refuses() -> None:
    case = cases(38, 1)[0]
    with pytest.raises(RulesError, match="accounts are valued at the mark price"):
        liquidate_accounts(Accounts(**case.frames), market_of(case), case.venue.with_(trigger_price="last"))
