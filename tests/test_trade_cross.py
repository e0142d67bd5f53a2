"""Trades in cross margin: legs of one account, beside isolated margin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from test_trade_check import FLAT, hours
from trade_logs import at

from backtest import Accounts, Market, sweep_accounts, trades
from backtest.__main__ import main
from backtest.errors import ArgumentError
from backtest.market import sample

BUNDLED = Path(__file__).parent.parent / "data" / "trades.json"

#: A fall of 1,000 an hour, and back.
FALL = hours(40_000, 40_000, 39_000, 38_000, 37_000, 36_000, 37_000, 38_000, 39_000, 40_000, 40_000)


def log(*rows: tuple[Any, ...]) -> trades.Trades:
    """Return trades of (side, quantity, entry hour, entry price, exit hour, exit price)."""
    names = ("side", "quantity", "entry_time", "entry_price", "exit_time", "exit_price")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    times = {name: [None if hour is None else at(hour) for hour in columns[name]] for name in names[2::2]}
    return trades.read({"symbol": "BTCUSDT"} | columns | times)


def check(given: trades.Trades, wallet: Any, leverage: float = 10, market: Market = FALL, **more: Any) -> Any:
    return trades.check(given, market, venues=[FLAT], leverages=[leverage], wallet=wallet, **more)


def test_cross__the_wallet_holds_what_isolated_margin_does_not() -> None:
    given = log(("long", 1.0, 1, 40_000.0, 9, 40_000.0))
    found = check(given, 10_000.0)
    assert found.rows.select("outcome", "cross_outcome").row(0) == ("liquidated", "exited")
    assert found.counts["end_wallet"][0] == pytest.approx(10_000.0)
    assert "would not have been liquidated; the wallet would hold 10,000.00" in found.sentence
    poor = check(given, 4_000.0).rows.row(0, named=True)  # the margin of isolated margin at 10x
    assert (poor["cross_outcome"], poor["cross_outcome_time"]) == ("liquidated", poor["outcome_time"])


def test_cross__one_trade_s_loss_is_the_other_s_margin() -> None:
    rows = ("long", 1.0, 1, 40_000.0, 9, 40_000.0), ("short", 1.0, 2, 39_000.0, 8, 39_000.0)
    alone = check(log(rows[0]), 3_000.0)
    hedged = check(log(*rows), 3_000.0)
    assert alone.rows["cross_outcome"].to_list() == ["liquidated"]
    assert hedged.rows["cross_outcome"].to_list() == ["exited", "exited"]
    late = check(log(rows[0], ("short", 1.0, 9, 40_000.0, 10, 40_000.0)), 3_000.0)
    assert late.rows["cross_outcome"].to_list() == ["liquidated", "after_liquidation"]
    assert late.counts.select("cross_liquidated", "after_liquidation", "account_liquidations").row(0) == (1, 1, 1)


def test_cross__equals_an_account_of_hand_made_legs() -> None:
    given = log(("long", 1.0, 1, 40_000.0, 9, 40_000.0), ("long", 0.5, 3, 38_000.0, 6, 37_000.0))
    for wallet in (4_000.0, 6_000.0, 8_000.0):
        legs = {
            "account_id": 0, "symbol": "BTCUSDT", "side": "long", "entry_time": [at(1), at(3)],
            "entry_price": [40_000.0, 38_000.0], "quantity": [1.0, 0.5], "exit_time": [at(9), at(6)],
        }  # fmt: skip
        own = sweep_accounts(Accounts({"account_id": [0], "wallet": [wallet]}, legs), FALL, FLAT)
        found = check(given, wallet)
        assert (
            found.rows["cross_outcome"].cast(pl.String).to_list()
            == own.legs["leg_outcome"].cast(pl.String).to_list()
        )
        assert found.counts["first_account_liquidation"][0] == (
            own.accounts["outcome_time"][0] if own.accounts["liquidated"][0] else None
        )


@pytest.mark.parametrize("sequential", [False, True])
def test_cross__of_inverse_contracts_is_counted_in_the_coin(sequential: bool) -> None:
    contract = replace(FLAT.contracts["BTCUSDT"], kind="inverse", settlement="BTC")
    venue = replace(FLAT, contracts={"BTCUSDT": contract})
    given = log(("long", 8_000.0, 1, 40_000.0, 4, 38_000.0), ("short", 4_000.0, 3, 39_000.0, 9, 40_000.0))
    found = trades.check(
        given, FALL, venues=[venue], leverages=[10], wallet=0.5, fees=0.001, sequential=sequential
    )
    earned = [8_000 * (1 / 40_000 - 1 / 38_000), 4_000 * (1 / 40_000 - 1 / 39_000)]
    paid = [0.001 * 8_000 * (1 / 40_000 + 1 / 38_000), 0.001 * 4_000 * (1 / 40_000 + 1 / 39_000)]
    results = [a - b for a, b in zip(earned, paid, strict=True)]
    assert found.rows["cross_outcome"].to_list() == ["exited", "exited"]
    assert found.rows["cross_realised_pnl"].to_list() == pytest.approx(results)
    assert found.counts["end_wallet"][0] == pytest.approx(0.5 + sum(results))
    assert f"the wallet would hold {0.5 + sum(results):.4f}." in found.sentence
    # 0.008 + 8,000 (1 / 40,000 - y) = 0.005 x 8,000 y at 38,653.85
    poor = trades.check(given, FALL, venues=[venue], leverages=[50], wallet=0.008, sequential=sequential)
    assert poor.rows["cross_outcome"][0] == "liquidated"


def test_cross__the_wallet_at_the_end_is_what_the_list_earned() -> None:
    given = trades.read(BUNDLED)
    found = trades.check(given, sample(), venues=["binance"], leverages=[3], wallet=1e6)
    rows = found.rows
    assert rows["cross_outcome"].unique().to_list() == ["exited"]
    assert rows["cross_realised_pnl"].to_list() == pytest.approx(rows["realised_pnl"].to_list(), abs=1e-6)
    assert found.counts["end_wallet"][0] == pytest.approx(1e6 + rows["realised_pnl"].sum())


def test_cross__partial_closes_and_additions_are_legs_of_their_own() -> None:
    fills = {
        "symbol": "BTCUSDT", "time": [at(1), at(2), at(3), at(4), at(9)],
        "side": ["buy", "buy", "sell", "buy", "sell"], "price": [40_000.0, 39_000.0, 38_000.0, 37_000.0, 40_000.0],
        "quantity": [1.0, 1.0, 0.5, 0.5, 2.0], "fee": 2.0,
    }  # fmt: skip
    row = check(trades.read(fills), 1e5).rows.row(0, named=True)
    assert row["cross_outcome"] == "exited"
    bought = 40_000 + 39_000 + 0.5 * 37_000
    assert row["cross_realised_pnl"] == pytest.approx(0.5 * 38_000 + 2 * 40_000 - bought - 10)
    poor = check(trades.read(fills), 3_000.0).rows.row(0, named=True)
    assert poor["cross_outcome"] == "liquidated"


def test_cross__in_sequence_trades_that_cannot_be_funded_are_left_out() -> None:
    given = log(
        ("long", 1.0, 1, 40_000.0, 2, 39_000.0),  # needs 4,000; leaves 3,500
        ("short", 1.0, 3, 38_000.0, 5, 36_000.0),  # needs 3,800: not there
        ("short", 0.5, 4, 37_000.0, 5, 36_000.0),  # needs 1,850
        ("long", 1.0, 6, 37_000.0, 7, 38_000.0),  # needs 3,700 of 4,000
    )
    found = check(given, 4_500.0, sequential=True)
    assert found.rows["cross_outcome"].to_list() == ["exited", "unfunded", "exited", "exited"]
    assert found.counts["unfunded"][0] == 1
    assert found.counts["end_wallet"][0] == pytest.approx(4_500 - 1_000 + 500 + 1_000)
    assert check(given, 100.0, sequential=True).counts.select("unfunded", "end_wallet").row(0) == (4, 100.0)


def test_cross__in_sequence_profit_of_open_trades_funds_others_and_their_margin_does_not() -> None:
    given = log(("short", 1.0, 1, 40_000.0, 9, 40_000.0), ("long", 0.5, 5, 36_000.0, 8, 39_000.0))
    # at 05:00 the short holds back 4,000 and is 4,000 up: what is free is the wallet
    assert check(given, 4_100.0, sequential=True).rows["cross_outcome"].to_list() == ["exited", "exited"]
    early = log(("short", 1.0, 1, 40_000.0, 9, 40_000.0), ("long", 0.5, 1, 40_000.0, 8, 39_000.0))
    assert check(early, 4_100.0, sequential=True).rows["cross_outcome"].to_list() == ["exited", "unfunded"]


def test_cross__in_sequence_the_account_goes_on_with_deposits_after_a_liquidation() -> None:
    given = log(("long", 1.0, 1, 40_000.0, 9, 40_000.0), ("long", 0.1, 7, 38_000.0, 9, 40_000.0))
    wallet = pl.DataFrame({"time": [at(0), at(6)], "wallet_change": [4_150.0, 1_000.0]})
    found = check(given, wallet, sequential=True)
    assert found.rows["cross_outcome"].to_list() == ["liquidated", "exited"]
    # 150 are left at the low of 36,000, below the 180 that are asked for, and the venue returns them
    assert found.counts["end_wallet"][0] == pytest.approx(150 + 1_000 + 200)
    keeps = trades.check(
        given, FALL, venues=[FLAT.with_(remainder="fund")], leverages=[10], wallet=wallet, sequential=True
    )
    assert keeps.counts["end_wallet"][0] == pytest.approx(1_000 + 200)


@pytest.mark.parametrize(
    ("wallet", "message"),
    [
        (0.0, "wallet must be a finite number above zero, is 0"),
        (
            pl.DataFrame({"when": [1]}),
            "wallet must be an amount, or a history with columns time and wallet_change",
        ),
        (None, "sequential needs a wallet"),
    ],
)
def test_cross__refuses_wallets_that_are_none(wallet: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        check(log(("long", 1.0, 1, 40_000.0, 9, 40_000.0)), wallet, sequential=True)


def test_check__shows_isolated_and_cross_margin_side_by_side(tmp_path: Path, capsys) -> None:
    (tmp_path / "wallet.csv").write_text("time,wallet_change\n2021-05-01 00:00:00,600\n2021-05-18 00:00:00,500\n")
    asked = ["check", str(BUNDLED), "--leverage", "5,20", "--out", str(tmp_path / "out")]
    cross = [
        "--margin-mode",
        "cross",
        "--sequential",
        "--wallet",
        str(tmp_path / "wallet.csv"),
        "--timezone",
        "UTC",
    ]
    assert main([*asked, *cross]) == 0
    said = capsys.readouterr().out
    assert "Isolated, and one account in cross margin" in said
    assert "could not have been funded" in " ".join(said.split())
    rows = pl.read_parquet(tmp_path / "out" / "trades.parquet")
    assert rows["cross_outcome"].null_count() == 0
    assert '<section id="cross"' in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--wallet", "5"], "--wallet needs --margin-mode cross"),
        (["--margin-mode", "cross"], "--wallet must be given with --margin-mode cross"),
        (["--margin-mode", "cross", "--wallet", "absent.csv"], "wallet file absent.csv does not exist"),
        (["--margin-mode", "cross", "--wallet", "-5"], "--wallet must be a finite number above zero"),
    ],
)
def test_check__refuses_wallets_in_one_line(options: list[str], message: str, tmp_path: Path, capsys) -> None:
    assert main(["check", str(BUNDLED), *options, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
