"""Reading trade lists: every format gives the same trades, and what one lacks is asked for in a line."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import trade_logs
from trade_logs import LOGS, TRADES, at, ms

from backtest import trades
from backtest.errors import ArgumentError, BacktestError, DataError
from backtest.trades.netting import net
from backtest.trades.symbols import pair_of, same


def fills(*rows: tuple[float, str, float, float], **more: Any) -> pl.DataFrame:
    """Return fills as (hour, side, price, quantity)."""
    hours, sides, prices, quantities = zip(*rows, strict=True)
    return pl.DataFrame(
        {
            "symbol": "BTCUSDT",
            "time": [at(hour) for hour in hours],
            "side": sides,
            "price": prices,
            "quantity": quantities,
        }
        | more
    ).with_columns(pl.col("time").dt.cast_time_unit("ms"), pl.col("side").cast(pl.Enum(["buy", "sell"])))


@pytest.mark.parametrize("name", LOGS)
def test_read__finds_the_format_and_gives_the_same_trades(name: str, tmp_path: Path) -> None:
    make, lacking = LOGS[name]
    found = trades.read(make(tmp_path), **lacking)
    assert found.source == name
    shift = 1 if name == "vectorbt" else 0  # stamped with the bar whose close they fill at
    wanted = [
        (side, at(opened - shift), entry, quantity, at(closed - shift), exit_)
        for side, quantity, opened, entry, closed, exit_, _ in TRADES
    ]
    got = found.trades.select("side", "entry_time", "entry_price", "quantity", "exit_time", "exit_price").rows()
    assert got == wanted
    assert all(same(symbol, ["BTCUSDT", "ETHUSDT"]) == ["BTCUSDT"] for symbol in found.trades["symbol"])
    assert found.changes.is_empty()


@pytest.mark.parametrize(
    "name", [name for name in LOGS if not name.startswith(("trades", "fills", "ccxt", "bybit"))]
)
def test_read__keeps_the_log_s_profit(name: str, tmp_path: Path) -> None:
    make, lacking = LOGS[name]
    found = trades.read(make(tmp_path), **lacking).trades
    # after fees, except where a position history gives none
    before = found["logged_pnl"] + found["fees"].fill_null(0.0)
    np.testing.assert_allclose(before, [pnl for *_, pnl in TRADES], rtol=1e-12)


def test_read__takes_freqtrade_s_zip(tmp_path: Path) -> None:
    path = trade_logs.freqtrade(tmp_path)
    with zipfile.ZipFile(tmp_path / "backtest-result.zip", "w") as archive:
        archive.write(path, "backtest-result.json")
        archive.writestr("backtest-result_config.json", "{}")
        archive.writestr("backtest-result_Mine.py", "")
    found = trades.read(tmp_path / "backtest-result.zip")
    assert (found.source, len(found), found.has_leverage) == ("freqtrade", 2, True)


def test_freqtrade__later_entries_are_additions(tmp_path: Path) -> None:
    result = json.loads(trade_logs.freqtrade(tmp_path).read_text())
    first = result["strategy"]["Mine"]["trades"][0]
    first["exit_reason"] = "liquidation"
    first["orders"] = [
        {"amount": amount, "safe_price": price, "ft_is_entry": entry, "order_filled_timestamp": ms(hour)}
        for amount, price, entry, hour in (
            (0.3, 40_200.0, True, 10),
            (0.2, 39_700.0, True, 11),
            (0.5, 38_500.0, False, 13),
        )
    ]
    found = trades.read(result)
    assert found.trades.select("entry_price", "quantity", "recorded").row(0) == (40_200.0, 0.3, "liquidated")
    assert found.changes.rows() == [(0, at(11), 39_700.0, 0.2)]


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no opening time": (
        [{"symbol": "BTCUSDT", "side": "Sell", "qty": "1", "avgEntryPrice": "1", "avgExitPrice": "1",
          "closedPnl": "0", "createdTime": "1621382400000"}],
        {},
        r"no opening times: export the trade history \(executions",
    ),
    "open positions": (
        [{"symbol": "BTC/USDT:USDT", "side": "long", "contracts": 1, "entryPrice": 1, "liquidationPrice": 1,
          "marginMode": "isolated"}],
        {},
        "open positions",
    ),
    "unknown columns": ({"a": [1], "b": [2]}, {}, "in no known format"),
    "unknown format": ({"a": [1]}, {"source": "freqtrad"}, "did you mean freqtrade"),
    "no zone": ("binance_trades", {}, r"has no offset from UTC.*timezone='UTC'"),
    "no symbol": ("backtesting_py", {}, r"names no symbol.*symbol='BTCUSDT'"),
    "a number for a name": (
        {
            "Column": [0], "Size": [1.0], "Entry Timestamp": ["2021-05-19"], "Avg Entry Price": [1.0],
            "Entry Fees": 0.0, "Exit Timestamp": ["2021-05-20"], "Avg Exit Price": [1.0], "Exit Fees": 0.0,
            "PnL": 0.0, "Direction": "Long", "Status": "Closed", "Exit Trade Id": [0],
        },
        {},
        "names no symbol",
    ),
    "a symbol for several": (
        {"time": ["2021-04-03T10:00:00Z"] * 2, "side": "buy", "price": [1.0, 1.0], "quantity": [1.0, 1.0],
         "symbol": ["BTC", "ETH"]},
        {"symbol": "BTCUSDT"},
        "symbol is for a list of one symbol",
    ),
    "an unknown zone": ("binance_trades", {"timezone": "Mars"}, "timezone must be a zone"),
    "an unknown column": ("plain_trades", {"columns": {"open": "entry_time"}}, "names 'open', which"),
    "two orders of a date": (
        {"time": ["03/04/2021 10:00:00"], "side": ["buy"], "price": [1.0], "quantity": [1.0], "symbol": ["BTC"]},
        {"timezone": "UTC"},
        "can be read with day or month first",
    ),
    "a word for a number": (
        {"time": ["2021-04-03T10:00:00Z"], "side": "buy", "price": ["cheap"], "quantity": [1.0], "symbol": "BTC"},
        {},
        r"price must be a number: 1 of 1 rows breaks this, first row 0 \('cheap'\)",
    ),
    "an unknown side": (
        {"time": ["2021-04-03T10:00:00Z"], "side": ["hold"], "price": [1.0], "quantity": [1.0], "symbol": ["BTC"]},
        {},
        "side must be one of",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_read__refuses_in_one_line(name: str, tmp_path: Path) -> None:
    given, options, message = REFUSED[name]
    if isinstance(given, str):
        given = getattr(trade_logs, given)(tmp_path)
    with pytest.raises(BacktestError, match=message) as found:
        trades.read(given, **options)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"{", "cannot be read as JSON"),
        (b"[]", "holds no rows"),
        (b'{"strategy": {"A": {"trades": []}, "B": {"trades": []}}}', "2 strategies .*choose one"),
        (b"a,b\n", "holds no rows, only a header"),
        (b"hello", "is no table"),
        (b"PK\x03\x04rest", "is damaged"),
        (b"\xd0\xcf\x11\xe0", "is a workbook"),
        (b"PAR1", "cannot be read"),
    ],
)
def test_read__names_a_damaged_file(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)
    with pytest.raises(BacktestError, match=message) as found:
        trades.read(path)
    assert str(path) in str(found.value)
    assert "\n" not in str(found.value)


def test_net__averages_additions_closes_parts_and_turns() -> None:
    found = net(
        fills((1, "buy", 100.0, 1.0), (2, "buy", 90.0, 1.0), (3, "sell", 95.0, 0.5), (4, "sell", 80.0, 2.5))
    )
    first, second = found.trades.rows(named=True)
    assert (first["side"], first["quantity"], first["exit_price"]) == ("long", 1.0, 80.0)
    assert found.changes.select("price", "quantity_change").rows() == [(90.0, 1.0), (95.0, -0.5)]
    assert (second["side"], second["quantity"], second["entry_price"]) == ("short", 1.0, 80.0)
    assert second["exit_time"] is None


def test_net__never_nets_the_two_sides_of_hedge_mode() -> None:
    rows = [(1, "buy", 100.0, 1.0), (2, "sell", 101.0, 1.0), (3, "sell", 102.0, 1.0), (4, "buy", 99.0, 1.0)]
    sides = pl.Series(["long", "short", "long", "short"], dtype=pl.Enum(["long", "short"]))
    found = net(fills(*rows, position_side=sides)).trades
    got = found.select("side", "entry_price", "exit_price").rows()
    assert got == [("long", 100.0, 102.0), ("short", 101.0, 99.0)]


def test_net__leaves_out_closes_of_what_the_log_does_not_open() -> None:
    rows = [(1, "sell", 100.0, 1.0), (2, "buy", 90.0, 1.0), (3, "sell", 95.0, 1.0)]
    found = net(fills(*rows, closed_pnl=[5.0, 0.0, 5.0]))
    assert (found.began_open, found.trades.height) == (1, 1)
    assert found.trades["entry_price"].to_list() == [90.0]


def test_net__merges_fills_of_one_moment() -> None:
    found = net(fills((1, "buy", 100.0, 1.0), (1, "buy", 110.0, 3.0), (2, "sell", 120.0, 4.0)))
    assert found.trades.select("entry_price", "quantity").rows() == [(107.5, 4.0)]
    assert found.changes.is_empty()


def test_net__conserves_quantity_and_money() -> None:
    rng = np.random.default_rng(5)
    count = 2_000
    sides = np.where(rng.random(count) < 0.5, "buy", "sell")
    prices, sizes = 100 * np.exp(rng.normal(0, 0.02, count).cumsum() / 10), rng.integers(1, 9, count) / 4
    rows = zip(np.arange(count) / 60, sides.tolist(), prices.tolist(), sizes.tolist(), strict=True)
    found = net(fills(*rows))
    signs = np.where(sides == "buy", 1.0, -1.0)
    side = pl.when(pl.col("side") == "long").then(1.0).otherwise(-1.0)
    left = found.changes.group_by("trade_id").agg(
        changed=pl.col("quantity_change").sum(), paid=(pl.col("quantity_change") * pl.col("price")).sum()
    )
    held = found.trades.join(left, on="trade_id", how="left").with_columns(
        pl.col("changed", "paid").fill_null(0.0)
    )
    held = held.with_columns(rest=pl.col("quantity") + pl.col("changed"), sign=side)
    still = held.filter(pl.col("exit_time").is_null())
    assert still.select((pl.col("sign") * pl.col("rest")).sum()).item() == pytest.approx(
        float((signs * sizes).sum())
    )
    spent = held.select(
        (
            pl.col("sign")
            * (
                pl.col("quantity") * pl.col("entry_price")
                + pl.col("paid")
                - pl.col("rest") * pl.col("exit_price").fill_null(0.0)
            )
        ).sum()
    ).item()
    assert spent == pytest.approx(float((signs * sizes * prices).sum()))


@pytest.mark.parametrize(
    ("spelling", "pair"),
    [
        ("BTCUSDT", ("BTC", "USDT", False)),
        ("BTC/USDT:USDT", ("BTC", "USDT", False)),
        ("BTC/USD:BTC", ("BTC", "USD", True)),
        ("BTC-USDT-SWAP", ("BTC", "USDT", False)),
        ("BTC-USD-SWAP", ("BTC", "USD", True)),
        ("BTC_USDT", ("BTC", "USDT", False)),
        ("BTC", ("BTC", None, False)),
        ("BTCUSD_PERP", ("BTC", "USD", True)),
        ("XBTUSD", ("BTC", "USD", True)),
        ("BTC-PERPETUAL", ("BTC", "USD", True)),
        ("BTCUSDT-PERP.BINANCE", ("BTC", "USDT", False)),
        ("1000SHIBUSDT", ("1000SHIB", "USDT", False)),
        ("BTC-14MAR25", None),
        ("BTCUSDT_210625", None),
    ],
)
def test_pair_of__reads_every_spelling_and_guesses_none(
    spelling: str, pair: tuple[str, str | None, bool] | None
) -> None:
    assert pair_of(spelling) == pair


def test_page__lists_every_format() -> None:
    page = (Path(__file__).parent.parent / "docs" / "my_trades.md").read_text()
    listed = page[page.index("## Formats") : page.index("## Symbols")]
    assert [name for name in trades.SOURCES if f"`{name}`" not in listed and not name.endswith("-csv")] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timezone": "Mars"}, "timezone must be a zone like UTC or Europe/Berlin, is 'Mars'"),
        ({"strategy": "S"}, "strategy chooses one of a freqtrade result's strategies, trades names none"),
    ],
)
def test_options_without_effect__are_refused(options, said):
    row = {"symbol": "X", "side": "long", "entry_time": "2021-05-19T10:00Z", "entry_price": 1.0, "quantity": 1.0}
    closed = {"exit_time": "2021-05-19T11:00Z", "exit_price": 1.0}
    with pytest.raises(ArgumentError, match=said):
        trades.read([row | closed], **options)


def test_an_empty_object__is_named(tmp_path):
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(DataError, match=r"trades file .*result\.json holds no list of trades: it is empty"):
        trades.read(tmp_path / "result.json")
