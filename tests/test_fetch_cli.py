"""``backtest fetch`` as it is typed: what it prints, writes and returns."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from archive_server import Archive, kline_path, kline_rows, lines, milliseconds, serving, zipped

from backtest.__main__ import main
from backtest.market import load, quality

MAY, HOUR = date(2021, 5, 1), 3_600_000


@pytest.fixture
def archive() -> Iterator[Archive]:
    """A month of hourly mark and last prices with funding; the mark lacks five hours of the 12th."""
    with serving() as archive:
        for folder, seed in (("markPriceKlines", 1), ("klines", 2)):
            rows = kline_rows(MAY, 31, step=HOUR, seed=seed)
            kept = rows if seed == 2 else [*rows[:264], *rows[269:]]
            archive.put(kline_path("monthly", "2021-05", folder), zipped(lines([kept[1], *kept])))
        stamps = [f"{milliseconds(MAY) + n * 8 * HOUR},8,0.0001" for n in range(93)]
        text = lines("calc_time,funding_interval_hours,last_funding_rate", stamps)
        archive.put("data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2021-05.zip", zipped(text))
        yield archive


def words(archive: Archive, folder: Path, *more: str) -> list[str]:
    host = f"binance-archive={archive.address}"
    span = ["--from", "2021-05-01", "--until", "2021-06-01", "--interval", "1h"]
    return ["fetch", "binance", "--symbol", "BTCUSDT", *span, "--folder", str(folder), "--host", host, *more]


def table_row(out: str, *begin: str) -> list[str]:
    """Return the cells of the first line that begins with these."""
    return next(line.split() for line in out.splitlines() if line.split()[: len(begin)] == list(begin))


def test_fetch__tells_files_repairs_and_quality(archive, tmp_path, capsys):
    assert main(words(archive, tmp_path / "data")) == 0
    out, err = capsys.readouterr()
    assert err == ""  # progress is for terminals
    assert table_row(out, "mark-1h", "BTCUSDT")[2:6] == [
        "2",
        "1",
        "-",
        "1",
    ]  # the month, and the day that is short
    assert table_row(out, "last-1h", "BTCUSDT")[2:4] == ["1", "1"]
    assert "Not at the venue  mark-1h BTCUSDT 2021-05-12" in out
    assert "mark-1h BTCUSDT  rows out of order, sorted: 1" in out
    assert "Quality of the mark price" in out
    assert table_row(out, "BTCUSDT", "gap")[2:6] == ["1", "5", "5", "h"]
    assert f"In {tmp_path / 'data'}" in out


def test_fetch__on_a_terminal_tells_how_far_it_is_and_leaves_nothing_of_it(archive, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert main(words(archive, tmp_path)) == 0
    err = capsys.readouterr().err
    assert "fetching: 1 of 3 files, 0.0 MB" in err
    assert err.endswith("\r\x1b[K")


def test_fetch__writes_what_run_reads(archive, tmp_path, capsys):
    assert main(words(archive, tmp_path / "data", "--out", str(tmp_path / "may"))) == 0
    assert f"Written: {tmp_path / 'may' / 'bars.parquet'}, " in capsys.readouterr().out
    market = load(tmp_path / "may" / "bars.parquet", tmp_path / "may" / "funding.parquet")
    assert (market.bars.height, market.funding.height) == (31 * 24 - 5, 93)
    assert market.has("last")
    found = pl.read_parquet(tmp_path / "may" / "quality.parquet")
    assert found.columns == list(quality.SCHEMA)
    assert found.filter(check="gap")["bars"].to_list() == [5]
    assert found.filter(check="repair").select("bars", "note").rows() == [
        (2, "rows out of order, sorted"),
        (2, "rows that repeat another, left out"),
    ]


def test_fetch__twice_and_offline_print_the_same_but_for_what_was_fetched(archive, tmp_path, capsys):
    printed = []
    for more in ((), (), ("--offline",)):
        assert main(words(archive, tmp_path, *more)) == 0
        printed.append(capsys.readouterr().out)
    assert printed[1] == printed[2]
    assert table_row(printed[1], "mark-1h", "BTCUSDT")[2:6] == ["2", "-", "2", "1"]
    assert printed[0].split("\n\n")[1:] == printed[1].split("\n\n")[1:]


def test_fetch__that_fails_in_part_keeps_the_rest_and_returns_2(archive, tmp_path, capsys):
    archive.moods[kline_path("monthly", "2021-05", "klines")] = [("status", 403)]
    assert main(words(archive, tmp_path, "--out", str(tmp_path / "out"))) == 2
    out, err = capsys.readouterr()
    assert table_row(out, "mark-1h", "BTCUSDT")[3] == "1"
    assert err.startswith(
        "backtest: error: 1 of 4 files could not be downloaded; run the command again to retry; first binance "
    )
    assert not (tmp_path / "out").exists()


def test_fetch__of_a_host_that_is_not_there_is_one_line(archive, tmp_path, capsys):
    nowhere = words(archive, tmp_path)[:-1]
    assert main([*nowhere, "binance-archive=http://127.0.0.1:9"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "could not be fetched in 2 attempts" in err
    assert f"without a connection, use those in {tmp_path} (--offline)\n" in err


def test_fetch__compares_with_spot_where_it_is_asked_for(archive, tmp_path, capsys):
    rows = kline_rows(MAY, 31, step=HOUR, seed=9, price=120.0)
    archive.put("data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2021-05.zip", zipped(lines(rows)))
    typed = words(archive, tmp_path)
    assert main([*typed[:2], "mark", "spot", *typed[2:]]) == 0
    out = capsys.readouterr().out
    assert table_row(out, "BTCUSDT", "reference")[3] == str(31 * 24 - 5)
    assert "mark far from the reference given" in out


def test_fetch__funding_of_days_that_no_archive_has_is_told(archive, tmp_path, capsys):
    for n in range(3):
        day = date(2021, 6, 1) + timedelta(n)
        archive.put(kline_path("daily", f"{day}"), zipped(lines(kline_rows(day, step=HOUR))))
    typed = words(archive, tmp_path)
    typed[typed.index("2021-06-01")] = "2021-06-04"
    assert main([*typed[:2], "mark", "funding", *typed[2:]]) == 0
    out = capsys.readouterr().out
    assert "Not at the venue  funding BTCUSDT 2021-06" in out
    assert table_row(out, "BTCUSDT", "funding")[2:8] == ["1", "80", "3", "d", "8", "h"]


def test_fetch__without_prices_reports_no_quality(archive, tmp_path, capsys):
    typed = words(archive, tmp_path)
    assert main([*typed[:2], "funding", *typed[2:]]) == 0
    assert "Quality" not in capsys.readouterr().out


def test_fetch__of_a_symbol_nobody_knows_says_what_is_missing(archive, tmp_path, capsys):
    typed = words(archive, tmp_path)
    typed[typed.index("BTCUSDT")] = "BTCUSDX"
    assert main([*typed[:2], "mark", *typed[2:]]) == 0
    out = capsys.readouterr().out
    assert "Not at the venue  mark-1h BTCUSDX 2021-05-01" in out
    assert "and 21 more" in out
    assert "nothing is stored of binance mark-1h BTCUSDX" in out


def test_fetch__keeps_data_where_the_environment_says(archive, tmp_path):
    typed = words(archive, tmp_path)
    place = typed.index("--folder")
    command = [sys.executable, "-m", "backtest", *typed[:place], *typed[place + 2 :]]
    environment = {**os.environ, "BACKTEST_DATA": str(tmp_path / "mine")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"In {tmp_path / 'mine'}" in done.stdout
    assert len(list((tmp_path / "mine").rglob("*.parquet"))) == 3


def test_fetch__ends_with_an_error_where_a_checksum_fails(archive, tmp_path, capsys):
    path = kline_path("monthly", "2021-05", "klines")
    archive.put(path, archive.files[path], wrong=True)
    assert main(words(archive, tmp_path / "data", "--out", str(tmp_path / "may"))) == 2
    out, err = capsys.readouterr()
    assert "Damaged at the venue  last-1h BTCUSDT 2021-05" in out
    assert err.count("\n") == 1
    assert "cannot be used as the venue serves them; first binance last-1h BTCUSDT 2021-05: its SHA-256 is" in err
