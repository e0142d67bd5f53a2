"""``backtest price`` of accounts in cross margin: from a file or from legs, and what it refuses."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from backtest.__main__ import main

FILE = """
wallet = 2_000
legs = [
  { symbol = "BTCUSDT", side = "long", quantity = 1, entry_price = 40_000 },
  { symbol = "ETHUSDT", side = "short", quantity = 10, entry_price = 3_000 },
]
prices = { BTCUSDT = 39_000 }
"""
LEGS = "--leg BTCUSDT long 1 40000 --leg ETHUSDT short 10 3000 --wallet 2000 --mark BTCUSDT=39000"
WORDS = "price --venue binance --date 2021-05-19 --tiers nearest"


def printed(capsys: pytest.CaptureFixture, words: str) -> str:
    assert main(words.split()) == 0
    return capsys.readouterr().out


def test_account__is_the_same_from_a_file_and_from_legs(capsys, tmp_path):
    (tmp_path / "account.toml").write_text(FILE)
    text = printed(capsys, f"{WORDS} --account {tmp_path / 'account.toml'}")
    assert text == printed(capsys, f"{WORDS} {LEGS}")
    rows = [line.split() for line in text.splitlines()]
    assert ["equity", "1,000", "USDT"] in rows
    # BTC: 2,000 + P - 40,000 = 0.004 P + 180; ETH: 1,000 - 10 (P - 3,000) = 156 + 0.0065 (10 P) - 15
    assert ["BTCUSDT", "39,000", f"{38_180 / 0.996:,.2f}", "-1.71", "-", "-"] in rows
    assert ["ETHUSDT", "3,000", "-", "-", f"{30_859 / 10.065:,.3f}", "+2.20"] in rows
    text = " ".join(text.split())  # lines end where the terminal does
    assert "33.60 % (maintenance margin over equity: 100 % liquidates), or 2.98 (equity over" in text
    assert "average entry prices of ETHUSDT" in text
    assert "ETHUSDT 2021-06-22 (nearest)" in text
    liquidated = printed(capsys, f"{WORDS} {LEGS.replace('2000 ', '1100 ')}")
    assert "equity 100 USDT: it is liquidated at these prices" in " ".join(liquidated.split())


def test_account__takes_marks_and_days_of_volatility_from_bars(capsys, tmp_path):
    rng = np.random.default_rng(1)
    times = pl.datetime_range(
        pl.datetime(2021, 5, 17), pl.datetime(2021, 5, 20), "1h", time_zone="UTC", eager=True
    )
    frames, closes = [], {}
    for symbol, price in (("BTCUSDT", 40_000.0), ("ETHUSDT", 3_000.0)):
        closes[symbol] = price * np.exp(np.cumsum(rng.normal(0, 0.01, times.len())))
        opening = np.append(price, closes[symbol][:-1])
        both = opening, closes[symbol]
        columns = {"open": opening, "high": np.maximum(*both), "low": np.minimum(*both), "close": closes[symbol]}
        frames.append(pl.DataFrame({"symbol": symbol, "time": times, **columns}))
    pl.concat(frames).with_columns(pl.col("time").cast(pl.Datetime("ms", "UTC"))).write_parquet(
        tmp_path / "b.parquet"
    )
    legs = "--leg BTCUSDT long 1 40000 --leg ETHUSDT long 10 3000 --wallet 20000"
    text = printed(capsys, f"{WORDS} {legs} --bars {tmp_path / 'b.parquet'}")
    daily = {name: np.diff(np.log(found)).std(ddof=1) * np.sqrt(24) for name, found in closes.items()}
    both = np.diff(sum(np.log(found) for found in closes.values()) / 2).std(ddof=1) * np.sqrt(24)
    lines = [line.split() for line in text.splitlines() if line.startswith("BTCUSDT") and "long" not in line]
    assert float(lines[0][1].replace(",", "")) == pytest.approx(closes["BTCUSDT"][-1], abs=0.01)
    move = float(lines[0][3]) / 100
    assert float(lines[0][4]) == pytest.approx(abs(np.log1p(move)) / daily["BTCUSDT"], abs=0.02)
    together = next(line.split() for line in text.splitlines() if line.startswith("all prices"))
    factor = float(together[together.index("x") + 1])
    assert float(together[6]) == pytest.approx(abs(np.log(factor)) / both, abs=0.02)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--leg BTCUSDT long 1", "--leg must be SYMBOL SIDE QUANTITY PRICE, or with a leverage after them"),
        ("--leg BTCUSDT long one 40000", "--leg quantity must be a number, is 'one'"),
        ("--leg BTCUSDT long 1 40000", "--wallet is needed, in the account file or here"),
        ("--leg BTCUSDT long 1 40000 --wallet 1 --mark ETHUSDT=1", "--mark 'ETHUSDT' is held by no account"),
        ("--leg BTCUSDT long 1 40000 --wallet 1 --mark BTCUSDT=x", "--mark of BTCUSDT must be a number"),
        ("--leg BTCUSDT long 1 40000 --wallet 1 --side long", "--side is for one position, not for an account"),
        ("--leg BTCUSDT long -1 40000 --wallet 1", "quantity must be a finite number above zero"),
        (
            "--side long --entry-price 1 --quantity 1 --leverage 2 --wallet 1",
            "--wallet is for an account in cross",
        ),
        ("--leg BTCUSDT long 1 40000 20 --leg ETHUSDT long 1 4 --wallet 1", "legs need a leverage each, or none"),
        ("--side long", "the following arguments are required: --entry-price, --quantity"),
    ],
)
def test_bad_words__are_refused_in_one_line(capsys, words, said):
    assert main([*WORDS.split(), *words.split()]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file"),
        ("wallet = ", "is not valid TOML"),
        ("wallet = 1", "--account holds no legs"),
        ("walet = 1", "there is no field 'walet', did you mean wallet?"),
        ("wallet = true", "wallet must be a number"),
        ("legs = 1", "legs must be a list of tables"),
        (
            'legs = [{ symbol = "BTCUSDT" }]',
            r"legs[0] must have symbol, side, quantity, entry_price: it lacks side",
        ),
        (FILE.replace("quantity = 10", "quantity = '10'"), "legs[1].quantity must be a number"),
        (FILE.replace('"short"', "1"), "legs[1].side must be text"),
        (FILE.replace("39_000", "'x'"), "prices.BTCUSDT must be a number"),
        (FILE.replace("{ BTCUSDT = 39_000 }", "3"), "prices must be a table of symbols"),
    ],
)
def test_bad_files__are_refused_by_name(capsys, tmp_path, text, said):
    path = tmp_path / "account.toml"
    if text is not None:
        path.write_text(text)
    assert main([*WORDS.split(), "--account", str(path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert str(path) in error or "--account" in error


@pytest.mark.parametrize(
    ("venue", "leg", "said"),
    [
        ("bybit", "BTCUSD long 10000 8000", "BTCUSD 0.075 % at the price where the wallet is lost"),
        (
            "bybit",
            "BTCUSD long 10000 8000 20",
            "BTCUSD 0.075 % at the price where the leverage's initial margin is",
        ),
        (
            "bybit",
            "BTCUSDT long 0.1 8000",
            "BTCUSDT 0.075 % left out: at which price it is reserved needs a leverage",
        ),
        ("okx", "ETHUSDT long 1 2000", "ETHUSDT 0.05 % of the notional at the mark, in the maintenance margin"),
    ],
)
def test_closing_fee__is_said_where_the_maintenance_margin_holds_one(capsys, venue, leg, said):
    words = f"price --venue {venue} --tiers nearest --wallet 500 --leg {leg}"
    assert said in " ".join(printed(capsys, words).split())
