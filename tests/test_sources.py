"""Readers of archives: every trap is met by rows that are right, and by a count of what was put right."""

import csv
import gzip
import json
import zipfile
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from archive_server import (
    HEADER,
    LIQUIDATIONS_HEADER,
    METRICS_HEADER,
    OTHER_HEADER,
    gzipped,
    kline_rows,
    lines,
    metrics_rows,
    zipped,
)
from polars.testing import assert_frame_equal

from backtest.errors import ArgumentError, BacktestError, DataError
from backtest.market import sources
from backtest.market.repairs import REPAIRS, Reading, Repairs
from backtest.market.sources.reader import symbol_of

DAY = date(2021, 5, 19)
RAW = Path(__file__).parents[2] / "shared" / "data" / "raw"


def write(folder: Path, text: str | bytes, name: str = "BTCUSDT-1m-2021-05-19.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def expected(rows: list[str], *names: str) -> dict[str, list[float]]:
    """Return columns of klines as Python reads them."""
    columns = HEADER.split(",")
    cells = list(csv.reader(rows))
    return {name: [float(row[columns.index(name)]) for row in cells] for name in names}


def assert_bars(frame: pl.DataFrame, rows: list[str]) -> None:
    right = expected(rows, "open_time", "open", "high", "low", "close")
    assert frame["time"].dt.epoch("ms").to_list() == right.pop("open_time")
    assert {name: frame[name].to_list() for name in right} == right
    assert frame.schema["time"] == pl.Datetime("ms", "UTC")


@pytest.mark.parametrize("wrap", [str.encode, zipped, gzipped], ids=["plain", "zip", "gzip"])
@pytest.mark.parametrize("header", [None, HEADER, OTHER_HEADER], ids=["no header", "header", "repeated names"])
def test_klines__read_the_same_however_they_are_packed_and_headed(tmp_path, header, wrap):
    rows = kline_rows(DAY)
    path = write(tmp_path, wrap(lines(*([header] if header else []), rows)))
    reading = sources.read(path, "klines")
    assert reading.rows.height == 1440
    assert_bars(reading.rows, rows)
    assert reading.rows["volume"].to_list() == expected(rows, "volume")["volume"]
    assert reading.rows["taker_buy_volume"].to_list() == expected(rows, "taker_buy_volume")["taker_buy_volume"]
    assert reading.rows["symbol"].unique().to_list() == ["BTCUSDT"]
    assert not reading.repairs


@pytest.mark.parametrize("kind", ["mark_klines", "index_klines", "premium_klines"])
def test_klines__of_prices_that_are_not_traded_have_no_volume(tmp_path, kind):
    path = write(tmp_path, lines(kline_rows(DAY, volume=False)))
    assert sources.read(path, kind).rows.columns == ["symbol", "time", "open", "high", "low", "close"]


def test_klines__whole_numbers_stay_prices(tmp_path):
    row = "1621382400000,100,102,99,101,5,1621382459999,500,3,2,200,0"
    frame = sources.read(write(tmp_path, lines([row])), "klines").rows
    assert frame.row(0)[2:7] == (100.0, 102.0, 99.0, 101.0, 5.0)
    assert frame.schema["high"] == pl.Float64


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_klines__lines_may_end_as_they_like(tmp_path, ending):
    rows = kline_rows(DAY)[:3]
    text = ending.join(rows) + ending if ending else "\n".join(rows)
    assert_bars(sources.read(write(tmp_path, b"\xef\xbb\xbf" + text.encode()), "klines").rows, rows)


def test_klines__microseconds_are_told_by_their_size(tmp_path):
    rows = kline_rows(date(2025, 1, 1))
    small = [f"{row.split(',', 1)[0]}000,{row.split(',', 1)[1]}" for row in rows]
    reading = sources.read(write(tmp_path, lines(small)), "klines")
    assert_bars(reading.rows, rows)
    assert reading.repairs == Repairs({"microseconds": 1440})


def test_klines__of_coin_margined_contracts_are_counted_in_base(tmp_path):
    row = "1621382400000,100,102,99,101,7000,1621382459999,63.5,3,2000,21.5,0"
    frame = sources.read(write(tmp_path, lines(HEADER, [row])), "coin_klines").rows
    assert frame.select("volume", "taker_buy_volume").row(0) == (63.5, 21.5)


def test_klines__shuffled_and_repeated_rows_come_out_once_in_order(tmp_path):
    rows = kline_rows(DAY)
    rng = np.random.default_rng(1)
    mixed = [rows[n] for n in rng.permutation(np.concatenate([np.arange(1440), rng.integers(0, 1440, 100)]))]
    reading = sources.read(write(tmp_path, lines(mixed)), "klines")
    assert_bars(reading.rows, rows)
    assert reading.repairs.counts["duplicate"] == 100
    times = [int(row.split(",")[0]) for row in mixed]
    late = sum(time < highest for time, highest in zip(times[1:], np.maximum.accumulate(times)[:-1], strict=True))
    assert reading.repairs.counts["unsorted"] == late


def test_klines__of_one_time_keep_the_row_written_last(tmp_path):
    first, second = kline_rows(DAY)[:2]
    corrected = first.replace(first.split(",")[4], first.split(",")[2], 1)
    reading = sources.read(write(tmp_path, lines([first, second, corrected])), "klines")
    assert_bars(reading.rows, [corrected, second])
    assert reading.repairs == Repairs({"unsorted": 1, "conflicting": 1})


def test_klines__that_cannot_be_are_left_out_and_counted(tmp_path):
    good = kline_rows(DAY)[:1]
    bad = [
        "1621386000000,0,0,0,0,1,1621386059999,1,1,1,1,0",
        "1621386060000,100,99,98,100,1,1621386119999,1,1,1,1,0",
        "1621386120000,100,,98,100,1,1621386179999,1,1,1,1,0",
        "1621386180000,nan,101,98,100,1,1621386239999,1,1,1,1,0",
        "1621386240000,100,inf,98,100,1,1621386299999,1,1,1,1,0",
    ]
    reading = sources.read(write(tmp_path, lines(good, bad)), "klines")
    assert_bars(reading.rows, good)
    assert reading.repairs == Repairs({"impossible": 5})


def test_klines__of_a_premium_may_be_negative(tmp_path):
    row = "1621382400000,-0.0002,0.0001,-0.0009,0,0,1621382459999,0,0,0,0,0"
    reading = sources.read(write(tmp_path, lines([row])), "premium_klines")
    assert reading.rows.row(0)[2:] == (-0.0002, 0.0001, -0.0009, 0.0)
    assert not reading.repairs


def test_klines__an_empty_file_holds_no_bars(tmp_path):
    assert sources.read(write(tmp_path, ""), "klines").rows.is_empty()
    assert sources.read(write(tmp_path, HEADER + "\n"), "mark_klines").rows.is_empty()


def test_funding__keeps_the_milliseconds_of_its_stamps(tmp_path):
    text = lines("calc_time,funding_interval_hours,last_funding_rate", ["1621382400007,8,-0.00012345"])
    frame = sources.read(write(tmp_path, text, "ETHUSDT-fundingRate-2021-05.csv"), "funding").rows
    assert frame.row(0) == ("ETHUSDT", datetime(2021, 5, 19, 0, 0, 0, 7_000, UTC), -0.00012345, 8)


def metrics(folder: Path, *rows: list[str], kind: str = "metrics") -> Reading:
    return sources.read(write(folder, lines(METRICS_HEADER, *rows), "BTCUSDT-metrics-x.csv"), kind)


def test_metrics__of_old_files_stand_at_the_end_of_their_period(tmp_path):
    reading = metrics(tmp_path, metrics_rows(DAY))
    assert reading.rows["time"][0] == datetime(2021, 5, 19, 0, 5, tzinfo=UTC)
    assert reading.rows["time"][-1] == datetime(2021, 5, 20, tzinfo=UTC)
    assert reading.rows["open_interest"].to_list() == [50_000 + n for n in range(288)]
    assert not reading.repairs


def test_metrics__may_write_midnight_as_the_day_alone(tmp_path):
    rows = metrics_rows(DAY)
    rows[-1] = rows[-1].replace("2021-05-20 00:00:00", "2021-05-20")
    assert_frame_equal(metrics(tmp_path, rows).rows, metrics(tmp_path, metrics_rows(DAY)).rows)


def test_metrics__stamped_at_the_start_are_moved_to_the_end(tmp_path):
    day = date(2026, 6, 25)
    reading = metrics(tmp_path, metrics_rows(day, at_start=True))
    assert reading.rows["time"][0] == datetime(2026, 6, 25, 0, 5, tzinfo=UTC)
    assert reading.rows["time"][-1] == datetime(2026, 6, 26, tzinfo=UTC)
    assert reading.repairs == Repairs({"shifted": 288})


def test_metrics__across_the_change_are_an_even_row_of_stamps(tmp_path):
    before, after = (
        metrics_rows(date(2026, 6, 24)),
        metrics_rows(date(2026, 6, 25), at_start=True, interest=60_000),
    )
    assert before[-1].split(",")[0] == after[0].split(",")[0]  # the label both files hold
    apart = [metrics(tmp_path, rows).rows for rows in (before, after)]
    together = metrics(tmp_path, before, after)
    assert_frame_equal(together.rows, pl.concat(apart))
    assert set(together.rows["time"].diff().drop_nulls()) == {timedelta(minutes=5)}
    assert together.repairs == Repairs({"shifted": 288})


def test_metrics__of_the_last_old_file_are_not_moved_though_every_row_stands_twice(tmp_path):
    rows = metrics_rows(date(2026, 6, 24))
    reading = metrics(tmp_path, rows, rows)
    assert_frame_equal(reading.rows, metrics(tmp_path, rows).rows)
    assert reading.rows["time"][-1] == datetime(2026, 6, 25, tzinfo=UTC)
    assert reading.repairs.counts["duplicate"] == 288
    assert "shifted" not in reading.repairs.counts


def test_metrics__of_coin_margined_contracts_were_always_stamped_at_the_start(tmp_path):
    reading = metrics(tmp_path, metrics_rows(DAY, at_start=True), kind="coin_metrics")
    assert reading.rows["time"][0] == datetime(2021, 5, 19, 0, 5, tzinfo=UTC)
    assert reading.repairs == Repairs({"shifted": 288})


def test_metrics__doubled_blank_and_zero_values_are_counted(tmp_path):
    rows = metrics_rows(DAY)
    rows[1] = rows[1].replace("50001", "0", 1)
    rows[2] = ",".join([*rows[2].split(",")[:4], "", "", '""', ""])
    reading = metrics(tmp_path, [row for row in rows for _ in range(2)])
    assert reading.rows.height == 288
    assert reading.rows["open_interest"][1] is None
    assert reading.rows.row(2)[4:] == (None,) * 4
    assert reading.repairs == Repairs({"duplicate": 288, "zero": 1, "blank": 4})


def test_liquidations__are_doubled_by_the_venue_and_a_sold_order_closed_a_long(tmp_path):
    rows = [
        "1621382400123,SELL,LIMIT,IOC,5,60000,59990,FILLED,5,5",
        "1621382401123,BUY,LIMIT,IOC,7,60100,60110,FILLED,7,7",
    ]
    text = lines(LIQUIDATIONS_HEADER, [row for row in rows for _ in range(2)])
    reading = sources.read(write(tmp_path, text, "BTCUSD_PERP-liquidationSnapshot-2021-05-19.csv"), "liquidations")
    assert reading.rows["side"].to_list() == ["long", "short"]
    assert reading.rows["symbol"].to_list() == ["BTCUSD_PERP"] * 2
    assert reading.repairs == Repairs({"doubled": 2})


TRADES_HEADER = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional"


@pytest.mark.parametrize("newer", [False, True], ids=["ten columns", "with RPI"])
def test_bybit_trades__written_backwards_come_out_in_order(tmp_path, newer):
    rows = [
        f"1621382400.{n // 2}234,BTCUSD,{side},100,50.0,ZeroPlusTick,id-{n},2e8,{n + 1}.5,{50 * n + 75}"
        + newer * ",0"
        for n, side in enumerate(["Buy", "Sell", "Buy", "Sell"])
    ]
    text = lines(TRADES_HEADER + newer * ",RPI", [*rows[::-1], rows[0]])
    frame = sources.read(write(tmp_path, gzipped(text), "BTCUSD2021-05-19.csv.gz"), "bybit_trades").rows
    assert frame["trade_id"].to_list() == [f"id-{n}" for n in range(4)]
    assert frame["quantity"].sum() == 1.5 + 2.5 + 3.5 + 4.5
    assert frame["time"].is_sorted()
    assert frame["taker_side"].unique().sort().to_list() == ["buy", "sell"]


@pytest.mark.parametrize(
    ("row", "symbol", "quantity"),
    [
        (
            "1651449601,BTCUSD,Sell,258,38458.00,MinusTick,a,670861.7,258,0.006708617192781736",
            "BTCUSD",
            258 / 38458,
        ),
        ("1577836800,BTCUSD,Sell,258,38458.00,MinusTick,a,670861.7,0.0067086,258", "BTCUSD", 0.0067086),
        ("1741910443.7,BTC-14MAR25,Buy,0.001,81095.00,MinusTick,b,8.1e+09,0.001,81.095", "BTC-14MAR25", 0.001),
        ("1741910443.7,XRPUSD,Buy,100,0.5,MinusTick,b,8.1e+09,100,200", "XRPUSD", 200.0),
        ("1741910443.7,DOGEUSDT,Buy,100,0.1,MinusTick,b,8.1e+09,100,10", "DOGEUSDT", 100.0),
    ],
    ids=["inverse", "inverse of old", "dated linear", "inverse below 1", "linear below 1"],
)
def test_bybit_trades__are_in_base_units_and_name_their_own_symbol(tmp_path, row, symbol, quantity):
    path = write(tmp_path, lines(TRADES_HEADER, [row]), "BTC-14MAR252025-03-14.csv")
    found = sources.read(path, "bybit_trades").rows
    assert found.select("symbol", "quantity").row(0) == (symbol, pytest.approx(quantity, rel=1e-12))
    assert sources.read(path, "bybit_trades", symbol="OWN").rows["symbol"].to_list() == ["OWN"]


@pytest.mark.parametrize("newer", [False, True], ids=["five columns", "with rpi"])
def test_bybit_spot_trades__have_columns_of_their_own(tmp_path, newer):
    rows = [
        f"{n},{1747612800000 + 50 * n},106453.8,0.5,{side}" + newer * ",0"
        for n, side in enumerate(["sell", "buy"])
    ]
    text = lines("id,timestamp,price,volume,side" + newer * ",rpi", [rows[1], rows[0], rows[0]])
    reading = sources.read(write(tmp_path, gzipped(text), "BTCUSDT_2025-05-19.csv.gz"), "bybit_spot_trades")
    start = datetime(2025, 5, 19, tzinfo=UTC)
    assert reading.rows.rows() == [
        ("BTCUSDT", start, 106453.8, 0.5, "sell", "0"),
        ("BTCUSDT", start + timedelta(milliseconds=50), 106453.8, 0.5, "buy", "1"),
    ]
    assert reading.repairs.counts["duplicate"] == 1


def test_bybit_index__is_stamped_in_seconds_and_a_premium_may_be_negative(tmp_path):
    header = "start_at,symbol,period,open,high,low,close"
    index = write(
        tmp_path, gzipped(lines(header, ["1577836800,BTCUSD,1,7000,7001,6999,7000.5"])), "BTCUSD2020-01-01_x.gz"
    )
    assert sources.read(index, "bybit_index").rows.row(0) == (
        "BTCUSD", datetime(2020, 1, 1, tzinfo=UTC), 7000.0, 7001.0, 6999.0, 7000.5,
    )  # fmt: skip
    premium = write(
        tmp_path, gzipped(lines(header, ["1577836800,BTCUSD,1,-0.1,0.2,-0.3,0"])), "BTCUSD2020-01-01_y.gz"
    )
    assert sources.read(premium, "bybit_premium").rows.row(0)[2:] == (-0.1, 0.2, -0.3, 0.0)


def test_bybit_klines__are_moved_from_their_clock_to_utc(tmp_path):
    path = write(tmp_path, gzipped("2025.01.01 00:00,1,2,0.5,1.5,10\n"), "BTCUSDT_1_2025-01-01_2025-01-31.csv.gz")
    reading = sources.read(path, "bybit_klines")
    assert reading.rows.row(0) == ("BTCUSDT", datetime(2024, 12, 31, 21, tzinfo=UTC), 1.0, 2.0, 0.5, 1.5, 10.0)
    assert reading.repairs == Repairs({"clock": 1})
    plain = sources.read(path, "bybit_klines", clock=timedelta(0))
    assert plain.rows["time"][0] == datetime(2025, 1, 1, tzinfo=UTC)
    assert not plain.repairs


CANDLES = [[1621382400000, 1.0, 2.0, 0.5, 1.5, 10.0], [1621382460000, 1.5, 2.5, 1.0, 2.0, 20.0]]


def feather(folder: Path, zone: str | None = "UTC") -> Path:
    frame = pl.DataFrame(CANDLES, schema=["date", "open", "high", "low", "close", "volume"], orient="row")
    dates = pl.from_epoch("date", "ms").cast(pl.Datetime("ns")).dt.replace_time_zone(zone)
    path = folder / "BTC_USDT_USDT-1m-mark.feather"
    frame.with_columns(dates).write_ipc(path, compression="lz4")
    return path


def test_candles__of_freqtrade_and_ccxt_read_alike(tmp_path):
    from_feather = sources.read(feather(tmp_path), "candles").rows
    plain = sources.read(write(tmp_path, json.dumps(CANDLES), "BTC_USDT-1m.json"), "candles").rows
    packed = write(tmp_path, gzip.compress(json.dumps(CANDLES).encode()), "BTC_USDT-1m.json.gz")
    assert_frame_equal(from_feather, plain)
    assert_frame_equal(from_feather, sources.read(packed, "candles").rows)
    assert from_feather.row(1) == ("BTCUSDT", datetime(2021, 5, 19, 0, 1, tzinfo=UTC), 1.5, 2.5, 1.0, 2.0, 20.0)


@pytest.mark.parametrize("time", ["2021-05-19T00:00:00Z", "2021-05-19 00:00:00", "1621382400000", "1621382400"])
def test_table__takes_names_and_times_as_they_are(tmp_path, time):
    path = write(tmp_path, f"When,O,H,L,C,junk\n{time},1,2,0.5,1.5,x\n", "mine.csv")
    columns = {"time": "When", "open": "O", "high": "H", "low": "L", "close": "C"}
    frame = sources.read(path, "table", symbol="BTCUSDT", columns=columns).rows
    assert frame.row(0) == ("BTCUSDT", datetime(2021, 5, 19, tzinfo=UTC), 1.0, 2.0, 0.5, 1.5)


def test_table__of_several_symbols_in_parquet_keeps_them_apart(tmp_path):
    frame = pl.DataFrame(
        {
            "symbol": ["B", "A", "B"],
            "time": [datetime(2021, 5, 19, 0, n, tzinfo=UTC) for n in (1, 0, 0)],
            "rate": [0.1, 0.2, 0.3],
        }
    )
    frame.write_parquet(tmp_path / "rates.parquet")
    reading = sources.read(tmp_path / "rates.parquet", "table")
    assert reading.rows.select("symbol", "rate").rows() == [("B", 0.3), ("B", 0.1), ("A", 0.2)]
    assert reading.repairs == Repairs({"unsorted": 1})


def test_table__takes_freqtrades_funding_whose_rate_stands_as_an_open(tmp_path):
    rates = {"date": [datetime(2021, 5, 19, tzinfo=UTC)], "open": [0.0001], "high": [0.0], "low": [0.0]}
    path = tmp_path / "BTC_USDT_USDT-8h-funding_rate.feather"
    pl.DataFrame(rates).write_ipc(path, compression="lz4")
    frame = sources.read(path, "table", columns={"time": "date", "rate": "open"}).rows
    assert frame.select("symbol", "time", "rate").row(0) == ("BTCUSDT", datetime(2021, 5, 19, tzinfo=UTC), 0.0001)


def test_table__of_funding_kept_as_candles_gives_every_rate_whatever_the_other_prices(tmp_path):
    rates = [0.0001, -0.0002, 0.0003]
    times = [datetime(2021, 5, 19, hour, tzinfo=UTC) for hour in (0, 8, 16)]
    path = tmp_path / "BTC_USDT_USDT-8h-funding_rate.feather"
    for nothing in (0.0, float("nan")):
        others = dict.fromkeys(("high", "low", "close", "volume"), [nothing] * 3)
        pl.DataFrame({"date": times, "open": rates, **others}).write_ipc(path)
        reading = sources.read(path, "table", columns={"time": "date", "rate": "open"})
        assert reading.rows["rate"].to_list() == rates
        assert reading.rows.columns == ["symbol", "time", "rate"]
    with pytest.raises(DataError, match=r"none of 3 rows is such a bar \(funding kept as candles: kind"):
        sources.read(path, "candles")


@pytest.mark.parametrize("name", ["symbol", "instrument_name", "instId"])
def test_table__takes_the_files_own_symbols_and_a_given_one_before_them(tmp_path, name):
    text = f"{name},funding_rate,funding_time\nBTC-USDT-SWAP,0.0001,1690819201000\n"
    path = write(tmp_path, text, "BTC-USDT-SWAP-fundingrates-2023-08.csv")
    columns = {"time": "funding_time", "rate": "funding_rate"}
    assert sources.read(path, "table", columns=columns).rows["symbol"].to_list() == ["BTC-USDT-SWAP"]
    given = sources.read(path, "table", columns=columns, symbol="BTCUSDT").rows
    assert given["symbol"].to_list() == ["BTCUSDT"]
    path.write_text(text + "ETH-USDT-SWAP,0.0001,1690819201000\n")
    with pytest.raises(ArgumentError, match=r"'BTCUSDT' cannot name all rows of .*, which holds 2 symbols"):
        sources.read(path, "table", columns=columns, symbol="BTCUSDT")
    path.write_text(text.replace(name, "whose"))
    with pytest.raises(DataError, match="does not say whose rows it holds: give symbol="):
        sources.read(path, "table", columns=columns)


@pytest.mark.parametrize("ending", ["\r\n", "\r"])
def test_every_text__reads_the_same_with_other_line_ends(tmp_path, ending):
    index = "start_at,symbol,period,open,high,low,close\n1569887940,BTCUSD,1,8285.85,8286.9,8283.55,8286.9\n"
    funding = "calc_time,funding_interval_hours,last_funding_rate\n1785542400001,8,0.00004123\n"
    table = "time,rate\n2023-08-01 00:00:00,0.0001\n"
    for kind, text in (("bybit_index", index), ("funding", funding), ("table", table)):
        plain = sources.read(write(tmp_path, text), kind, symbol="X").rows
        assert sources.read(write(tmp_path, text.replace("\n", ending)), kind, symbol="X").rows.equals(plain)


def test_metrics__that_are_no_numbers_are_blank_and_infinite_ones_refused(tmp_path):
    def row(value: str) -> str:
        return f"2024-03-01 00:00:00,BTCUSDT,{value},1,1,1,1,1"

    blank = metrics(tmp_path, [row("NaN")])
    assert blank.rows["open_interest"].to_list() == [None]
    assert blank.repairs == Repairs({"blank": 1})
    for wrong in ("inf", "-5"):
        with pytest.raises(DataError, match="open_interest must be finite and not negative: 1 of 1 rows"):
            metrics(tmp_path, [row(wrong)])


def fill(**more: object) -> dict[str, object]:
    return {
        "coin": "BTC", "px": "50000.5", "sz": "0.2", "side": "A", "time": 1760130000123, "startPosition": "0.2",
        "dir": "Close Long", "closedPnl": "-5", "hash": "0x0", "oid": 1, "crossed": True, "fee": "0.1", "tid": 7,
        **more,
    }  # fmt: skip


@pytest.mark.parametrize("shape", ["pair", "block", "plain"])
def test_hyperliquid__fills_read_in_each_shape_their_lines_have_had(tmp_path, shape):
    liquidated = fill(liquidation={"liquidatedUser": "0xab", "markPx": "50010.0", "method": "market"})
    own = {
        "pair": ["0xab", liquidated],
        "block": {"block_number": 1, "events": [["0xab", liquidated]]},
        "plain": {"user": "0xab", **liquidated},
    }[shape]
    path = write(tmp_path, json.dumps(own) + "\n" + json.dumps(["0xcd", fill(side="B", tid=8)]) + "\n", "10")
    frame = sources.read(path, "hyperliquid_fills").rows
    assert frame.height == 2
    row = frame.filter(liquidated_user="0xab").row(0, named=True)
    assert (row["user"], row["side"], row["quantity"]) == ("0xab", "sell", 0.2)
    assert (row["liquidation_mark_price"], row["liquidation_method"]) == (50010.0, "market")
    assert frame["liquidated_user"].null_count() == 1


@pytest.mark.parametrize("indent", [None, 2])
def test_hyperliquid__reads_the_answer_to_user_fills(tmp_path, indent):
    answer = json.dumps([fill(), fill(tid=8, time=1760130000124)], indent=indent)
    frame = sources.read(write(tmp_path, answer, "fills.json"), "hyperliquid_fills").rows
    assert frame["trade_id"].to_list() == [7, 8]


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"channel": "userFills", "data": {"fills": [fill()]}}, "line 1 is not a fill: it is a websocket message"),
        ({"coin": "A", "side_info": []}, "it is a trade of node_trades"),
        ([5], "line 1 is not a fill"),
        ([], "line 1 is not a fill"),
    ],
)
def test_hyperliquid__names_the_shapes_it_does_not_read(tmp_path, shape, said):
    path = write(tmp_path, json.dumps(shape) + "\n" + json.dumps(["0xcd", fill()]) + "\n", "fills.json")
    with pytest.raises(DataError, match=rf"{said}.*; supported: lines of fills"):
        sources.read(path, "hyperliquid_fills")


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("BTC-14MAR252025-03-14.csv", None),
        ("BTC-USDT-SWAP-fundingrates-2023-08.csv", None),
        ("BTC-USD-2021-05-19.csv", None),
        ("BTCUSDT-2021-05.csv.gz", "BTCUSDT"),
        ("BTCUSDT-1m-2021-05.zip", "BTCUSDT"),
        ("1000PEPEUSDT-fundingRate-2024-01.zip", "1000PEPEUSDT"),
        ("BTCUSD_PERP-metrics-2024-01-01.zip", "BTCUSD_PERP"),
        ("BTCUSD_240628-1m-2024-01.zip", "BTCUSD_240628"),
        ("BTCUSDT_1_2025-01-01_2025-01-31.csv.gz", "BTCUSDT"),
        ("BTCUSDT2021-05-19.csv.gz", "BTCUSDT"),
        ("BTC_USDT_USDT-1h-mark.feather", "BTCUSDT"),
        ("prices.csv", None),
    ],
)
def test_symbol__is_what_the_files_name_begins_with(name, symbol):
    assert symbol_of(Path(name)) == symbol


def test_repairs__add_up_and_name_themselves():
    both = Repairs({"duplicate": 2, "zero": 0}) + Repairs({"duplicate": 1, "blank": 1_000})
    assert both == Repairs({"duplicate": 3, "blank": 1_000})
    assert str(both) == f"{REPAIRS['duplicate']}: 3; {REPAIRS['blank']}: 1,000"
    assert both.frame()["rows"].to_list() == [3, 1_000]
    assert not Repairs()
    with pytest.raises(ValueError, match="'mended' is no repair"):
        Repairs({"mended": 1})


def two_files() -> bytes:
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in ("a.csv", "b.csv"):
            archive.writestr(name, "x")
    return made.getvalue()


ROW = "1621382400000,100,102,99,101,5,1621382459999,500,3,2,200,0"
BAD_INPUT = [
    ("klines", lines(["1621382400000,100,102,99"]), "must have 12 columns, has 4"),
    ("klines", lines([ROW + ",1"]), "must have 12 columns, has 13"),
    ("klines", lines([ROW, "1621382460000,100,102"]), "breaks off: its last line has 3 columns, its first 12"),
    ("mark_klines", lines([ROW, ROW])[:-40], "breaks off: its last line has"),
    ("klines", lines([ROW, "1621382460000,100,102", ROW]), "must not be negative or empty: 1 of 3 rows breaks"),
    ("klines", lines([ROW.replace("102", "many")]), "could not parse `many`"),
    (
        "klines",
        lines([ROW.replace(",5,", ",-5,")]),
        "volume must not be negative or empty: 1 of 1 rows breaks this",
    ),
    ("klines", lines([ROW, ROW.replace("1621382400000", "1621382460000000")]), "times must be in one unit"),
    ("klines", lines([ROW.replace("1621382400000", "12")]), "times must be in one unit since 1970, are 12 to 12"),
    ("klines", lines(["time;open;high", ROW]), "column 1 of its header must be"),
    ("klines", lines([HEADER.replace("high", "low")], [ROW]), "column 3 of its header must be high, is 'low'"),
    ("klines", b"PK\x03\x04 not a zip", "is damaged"),
    ("klines", zipped(lines([ROW]))[:-30], "is damaged"),
    ("klines", gzipped(lines([ROW]))[:-10], "is damaged"),
    ("funding", lines(["calc_time,last_funding_rate,mark", "1621382400000,0.1,1"]), "column 2 of its header"),
    ("funding", lines(["1621382400000,8,nan"]), "rate must be a finite number: 1 of 1 rows"),
    ("metrics", lines(METRICS_HEADER, ["yesterday,BTCUSDT,1,1,1,1,1,1"]), "times must be like"),
    ("liquidations", lines(["1621382400123,HOLD,LIMIT,IOC,5,6,6,FILLED,5,5"]), "side must be BUY or SELL"),
    ("bybit_trades", lines([TRADES_HEADER, "-1,A,Buy,1,1,x,i,1,1,1"]), "time must be seconds since 1970"),
    ("bybit_klines", lines(["2025-01-01,00:00,1,2,0.5,1.5,10"]), "must have 6 columns, has 7"),
    ("klines", lines([ROW, ROW.replace("1621382400000", "")]), "every bar must have a time: 1 of 2 rows"),
    ("klines", two_files(), "must hold one file, holds 2: a.csv, b.csv"),
    ("candles", '[[1621382400000, "a", 1, 1, 1, 1]]', "must hold numbers"),
    ("candles", "{}", "must be a list of"),
    ("candles", "[[1, 2]]", "must be a list of"),
    ("candles", "[[1621382400000", "cannot be read as JSON"),
    ("candles", b"ARROW1 no more", "cannot be read as feather"),
    ("table", "1,2,3\n", "must have a header"),
    ("table", "time,open\n2021-05-19T00:00:00Z,1\n", "must have open, high, low, close or rate"),
    ("table", "when,rate\n2021-05-19T00:00:00Z,1\n", "has no column 'time' for time: there are when, rate"),
    ("table", "time,rate\n2021-05-19T00:00:00Z,much\n", "rate must be a number: 1 of 1 rows"),
    ("table", b"PAR1 no more", "cannot be read as Parquet"),
    ("hyperliquid_fills", '{"coin": "BTC"}\n', "line 1 is not a fill"),
    ("hyperliquid_fills", "nonsense\n", "line 1 is not"),
    ("hyperliquid_fills", b"\x04\x22\x4d\x18xx", "unpack it first"),
]


@pytest.mark.parametrize(("kind", "text", "said"), BAD_INPUT)
def test_bad_input__is_refused_by_a_sentence_that_names_the_file(tmp_path, kind, text, said):
    path = write(tmp_path, text, "BTCUSDT-1m-2021-05-19.csv")
    with pytest.raises(DataError, match=said) as refused:
        sources.read(path, kind)
    assert path.name in str(refused.value)


def test_bad_input__of_options_names_what_they_may_be(tmp_path):
    path = write(tmp_path, lines([ROW]), "unnamed.csv")
    with pytest.raises(ArgumentError, match="kind must be one of klines, "):
        sources.read(path, "candle")
    with pytest.raises(ArgumentError, match="columns are for kind 'table'"):
        sources.read(path, "klines", columns={})
    with pytest.raises(ArgumentError, match="clock is for kind 'bybit_klines'"):
        sources.read(path, "klines", clock=timedelta(0))
    with pytest.raises(ArgumentError, match="'price' is none of them"):
        sources.read(write(tmp_path, "a,b\n", "x.csv"), "table", columns={"price": "a"})
    with pytest.raises(DataError, match="does not say whose rows"):
        sources.read(path, "klines")
    with pytest.raises(DataError, match="does not exist"):
        sources.read(tmp_path / "absent.zip", "klines")
    with pytest.raises(DataError, match="is a folder"):
        sources.read(tmp_path, "klines")
    short = tmp_path / "short.feather"
    pl.DataFrame({"date": [datetime(2021, 5, 19, tzinfo=UTC)], "open": [1.0]}).write_ipc(short)
    with pytest.raises(DataError, match=r"must have close, high, low, volume \(there are date, open\)"):
        sources.read(short, "candles")
    with pytest.raises(DataError, match="must have a zone"):
        sources.read(feather(tmp_path, zone=None), "candles")


@pytest.mark.parametrize("kind", [kind for kind in sources.KINDS if kind != "hyperliquid_fills"])
def test_bad_input__of_random_bytes_is_refused_or_empty_never_a_crash(tmp_path, kind):
    rng = np.random.default_rng(3)
    for size in (1, 7, 100, 5_000):
        path = write(tmp_path, rng.bytes(size))
        try:
            sources.read(path, kind)
        except BacktestError:
            continue


@pytest.mark.real
@pytest.mark.skipif(not RAW.is_dir(), reason="no real data beside the repository")
@pytest.mark.parametrize(
    ("name", "bars"), [("NEARUSDT-1m-2023-02.csv", 40_320), ("BTCUSDT-1m-20210515-head.csv", 1_999)]
)
def test_real_klines__are_exactly_the_bars_of_the_file(name, bars):
    reading = sources.read(RAW / name, "klines")
    with (RAW / name).open() as file:
        rows = list(csv.reader(file))[1:]
    assert reading.rows.height == bars == len(rows)
    for place, column in enumerate(["open", "high", "low", "close", "volume"], start=1):
        assert reading.rows[column].to_list() == [float(row[place]) for row in rows]
    assert reading.rows["taker_buy_volume"].to_list() == [float(row[9]) for row in rows]
    closes = [datetime.fromtimestamp(int(row[6]) // 1000 - 59, UTC) for row in rows]
    assert reading.rows["time"].to_list() == closes
    assert not reading.repairs


@pytest.mark.real
@pytest.mark.skipif(not RAW.is_dir(), reason="no real data beside the repository")
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_real_funding__is_exactly_that_of_the_file(symbol):
    path = RAW / f"{symbol}-fundingRate-2021-05.csv"
    reading = sources.read(path, "funding")
    with path.open() as file:
        rows = list(csv.reader(file))[1:]
    assert reading.rows["time"].dt.epoch("ms").to_list() == [int(row[0]) for row in rows]
    assert reading.rows["rate"].to_list() == [float(row[2]) for row in rows]
    assert reading.rows.height == 93
