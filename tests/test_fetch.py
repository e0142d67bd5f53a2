"""Fetching: from a look-alike archive that does everything an archive does, also when it should not."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from archive_files import (
    JUNE,
    MAY,
    NOW,
    assert_hours,
    bybit_trades,
    fetch,
    hours,
    how,
    outcomes,
    put_day,
    put_month,
    stored,
)
from archive_server import Archive, gzipped, kline_path, lines, serving, zipped
from polars.testing import assert_frame_equal

from backtest.errors import ArgumentError, BacktestError, FetchError
from backtest.market import sources
from backtest.market.sources import Patience, Settings
from backtest.market.sources.archives import series
from backtest.market.sources.manifest import Manifest


@pytest.fixture
def archive() -> Iterator[Archive]:
    with serving() as archive:
        yield archive


def test_fetch__takes_months_first_and_days_for_the_rest(archive, tmp_path):
    put_month(archive)
    for n in range(19):
        put_day(archive, JUNE + timedelta(n))
    fetched = fetch(archive, tmp_path, "2021-05-10", "2021-06-15")
    days = [f"2021-06-{n:02d}" for n in range(1, 15)]
    assert outcomes(fetched) == dict.fromkeys(["2021-05", *days], "fetched")
    asked = [kline_path("monthly", "2021-05"), *(kline_path("daily", day) for day in days)]
    assert sorted(archive.asked()) == sorted([*asked, *(f"{path}.CHECKSUM" for path in asked)])
    assert_hours(stored(tmp_path, "2021-05-10", "2021-06-15"), date(2021, 5, 10), 36)
    assert fetched.frame["verified"].all()
    assert list(tmp_path.glob("downloads/*")) == []


def test_fetch__a_second_call_asks_nobody(archive, tmp_path):
    put_month(archive)
    first = fetch(archive, tmp_path, "2021-05-01", "2021-06-03")
    assert outcomes(first) == {"2021-05": "fetched", "2021-06-01": "missing", "2021-06-02": "missing"}
    count = len(archive.requests)
    for offline in (False, True):
        second = fetch(archive, tmp_path, "2021-05-01", "2021-06-03", offline=offline)
        assert set(outcomes(second).values()) == {"kept"}
        assert_frame_equal(second.frame.drop("outcome"), first.frame.drop("outcome"))
    assert len(archive.requests) == count


def test_fetch__repairs_a_month_that_lacks_rows_by_its_days(archive, tmp_path):
    put_month(archive, without=(7, 12, 20))
    put_day(archive, date(2021, 5, 12))
    put_day(archive, date(2021, 5, 13))
    fetched = fetch(archive, tmp_path, "2021-05-10", "2021-06-01")
    assert outcomes(fetched) == {"2021-05": "fetched", "2021-05-12": "fetched", "2021-05-20": "missing"}
    frame = stored(tmp_path, "2021-05-10", "2021-06-01")
    assert_hours(frame.filter(pl.col("time").dt.day() < 20), date(2021, 5, 10), 10)
    assert set(frame["time"].dt.day()) == set(range(10, 32)) - {20}
    assert archive.asked("05-13") == []


def test_fetch__of_a_bar_that_month_and_day_hold_the_days_stands_and_is_counted(archive, tmp_path):
    rows = hours(MAY, 31)
    changed = rows[264].replace(rows[264].split(",")[4], rows[264].split(",")[3])  # 12 May 00:00
    archive.put(kline_path("monthly", "2021-05"), zipped(lines([*rows[:264], changed, *rows[266:]])))
    put_day(archive, date(2021, 5, 12))
    for _ in range(2):  # fetched, then kept
        fetched = fetch(archive, tmp_path, "2021-05-01", "2021-06-01")
        assert fetched.repairs.counts == {"stale": 1}
        frame = stored(tmp_path, "2021-05-12", "2021-05-13")
        assert frame.height == 24
        assert frame["close"][0] == float(rows[264].split(",")[4]) != float(changed.split(",")[4])
        assert frame["close"][1] == float(rows[265].split(",")[4])


def test_fetch__few_days_are_fetched_as_days_and_the_month_only_where_one_is_missing(archive, tmp_path):
    rows = hours(MAY, 31)
    stale = [row.replace(row.split(",")[4], row.split(",")[3]) for row in rows]
    archive.put(kline_path("monthly", "2021-05"), zipped(lines(stale)))
    put_day(archive, date(2021, 5, 12))
    assert outcomes(fetch(archive, tmp_path, "2021-05-12", "2021-05-13")) == {"2021-05-12": "fetched"}
    assert archive.asked("2021-05.zip") == []
    assert stored(tmp_path, "2021-05-12", "2021-05-13")["close"][0] == float(rows[264].split(",")[4])
    fetched = fetch(archive, tmp_path, "2021-05-12", "2021-05-14")
    assert outcomes(fetched) == {"2021-05-12": "kept", "2021-05-13": "missing", "2021-05": "fetched"}
    frame = stored(tmp_path, "2021-05-12", "2021-05-14")
    assert frame.height == 48
    assert frame["close"][0] == float(rows[264].split(",")[4])


def test_fetch__a_month_that_comes_after_its_days_is_compared_with_them(archive, tmp_path):
    put_day(archive, date(2021, 5, 12))
    early = datetime(2021, 5, 14, tzinfo=UTC)
    assert outcomes(fetch(archive, tmp_path, "2021-05-12", "2021-05-13", now=early)) == {"2021-05-12": "fetched"}
    rows = hours(MAY, 31)
    stale = [row.replace(row.split(",")[4], row.split(",")[3]) for row in rows[264:266]]
    archive.put(kline_path("monthly", "2021-05"), zipped(lines([*rows[:264], *stale, *rows[266:]])))
    fetched = fetch(archive, tmp_path, "2021-05-10", "2021-05-20")
    assert outcomes(fetched) == {"2021-05": "fetched", "2021-05-12": "kept"}
    assert fetched.repairs_of("BTCUSDT").counts == {"stale": 2}
    assert "the day's taken: 2" in fetched.frame.filter(pl.col("period") == "2021-05-12")["repairs"].item()
    assert_hours(stored(tmp_path, "2021-05-10", "2021-05-20"), date(2021, 5, 10), 10)


@pytest.mark.parametrize("trouble", ["not there", "wrong checksum", "no zip", "another month"])
def test_fetch__takes_the_days_of_a_month_that_cannot_be_used(archive, tmp_path, trouble):
    path = kline_path("monthly", "2021-05")
    body = {"no zip": b"<html>", "another month": zipped(lines(hours(JUNE, 30)))}.get(trouble, zipped("x"))
    if trouble != "not there":
        archive.put(path, body, wrong=trouble == "wrong checksum")
    for n in range(31):
        put_day(archive, MAY + timedelta(n))
    fetched = fetch(archive, tmp_path, "2021-05-01", "2021-06-01")
    month = fetched.files[0].entry
    assert month.status == ("missing" if trouble == "not there" else "damaged")
    said = {
        "wrong checksum": "its checksum file says",
        "no zip": "is damaged",
        "another month": "times must lie in",
    }
    assert said.get(trouble, "") in month.note
    assert [file.entry for file in fetched.wanting] == ([] if trouble == "not there" else [month])
    assert_hours(stored(tmp_path, "2021-05-01", "2021-06-01"), MAY, 31)


def test_fetch__asks_again_for_a_missing_file_until_the_venue_must_have_published_it(archive, tmp_path):
    def asked_at(now: datetime) -> int:
        before = len(archive.requests)
        fetch(archive, tmp_path, "2021-06-19", "2021-06-20", now=now)
        return len(archive.requests) - before

    assert asked_at(NOW) == 1
    assert asked_at(NOW + timedelta(hours=5)) == 0
    assert asked_at(NOW + timedelta(hours=7)) == 1
    assert asked_at(NOW + timedelta(days=40)) == 2  # the month too, by now
    assert asked_at(NOW + timedelta(days=60)) == 1  # the day never came; the month had been over for thirty days
    assert asked_at(NOW + timedelta(days=200)) == 0


def test_fetch__stays_within_days_that_are_over(archive, tmp_path):
    for n in range(20):
        put_day(archive, JUNE + timedelta(n))
    fetched = fetch(archive, tmp_path, "2021-06-18", "2021-07-15")
    assert outcomes(fetched) == {"2021-06-18": "fetched", "2021-06-19": "fetched"}


def test_fetch__a_file_that_fails_costs_no_other_and_is_tried_again(archive, tmp_path):
    paths = [put_day(archive, JUNE + timedelta(n)) for n in range(4)]
    archive.moods[paths[1]] = [("status", 500)] * 6
    first = fetch(archive, tmp_path, "2021-06-01", "2021-06-05")
    assert list(outcomes(first).values()) == ["fetched", "failed", "fetched", "fetched"]
    assert [file.period.first for file in first.failures] == [date(2021, 6, 2)]
    assert "500" in first.failures[0].entry.note
    second = fetch(archive, tmp_path, "2021-06-01", "2021-06-05")
    assert list(outcomes(second).values()) == ["kept", "fetched", "kept", "kept"]
    assert_hours(stored(tmp_path, "2021-06-01", "2021-06-05"), JUNE, 4)


def test_fetch__of_a_host_that_is_not_there_says_what_to_do(archive, tmp_path):
    put_day(archive, JUNE)
    fetch(archive, tmp_path, "2021-06-01", "2021-06-02")
    nowhere = {"binance-archive": "http://127.0.0.1:9"}
    with pytest.raises(
        FetchError, match=r"next call continues from there; without a connection, use those in .*offline=True"
    ):
        fetch(archive, tmp_path, "2021-06-01", "2021-06-19", hosts=nowhere)
    assert_hours(stored(tmp_path, "2021-06-01", "2021-06-02"), JUNE, 1)


def test_offline__says_what_is_not_there_and_the_command_that_brings_it(archive, tmp_path):
    put_day(archive, JUNE)
    fetch(archive, tmp_path, "2021-06-01", "2021-06-02")
    said = (
        r"1 of 2 files are not in .*, first binance mark-1h BTCUSDT 2021-06-02: with a connection, backtest fetch "
        r"binance mark --symbol BTCUSDT --from 2021-06-02 --until 2021-06-03 --interval 1h"
    )
    with pytest.raises(FetchError, match=said):
        fetch(archive, tmp_path, "2021-06-01", "2021-06-03", offline=True)


def test_refresh__brings_what_the_venue_replaced_and_nothing_else(archive, tmp_path):
    first, second = put_month(archive, without=(3,)), put_day(archive, JUNE)
    third = put_day(archive, date(2021, 5, 3))
    fetch(archive, tmp_path, "2021-05-01", "2021-06-02")
    put_month(archive)
    assert fetch(archive, tmp_path, "2021-05-01", "2021-06-02").files[0].entry.short_days == (date(2021, 5, 3),)
    archive.requests.clear()
    again = fetch(archive, tmp_path, "2021-05-01", "2021-06-02", refresh=True)
    assert outcomes(again) == {"2021-05": "fetched", "2021-05-03": "kept", "2021-06-01": "kept"}
    assert sorted(archive.asked()) == sorted(
        [first, *(f"{path}.CHECKSUM" for path in (first, first, second, third))]
    )
    assert again.files[0].entry.short_days == ()
    assert_hours(stored(tmp_path, "2021-05-01", "2021-06-01"), MAY, 31)


def test_refresh__keeps_what_the_venue_has_lost_or_damaged(archive, tmp_path):
    paths = [put_day(archive, JUNE + timedelta(n)) for n in range(2)]
    fetch(archive, tmp_path, "2021-06-01", "2021-06-03")
    del archive.files[paths[0]], archive.files[f"{paths[0]}.CHECKSUM"]
    archive.put(paths[1], b"rubbish")
    again = fetch(archive, tmp_path, "2021-06-01", "2021-06-03", refresh=True)
    assert set(outcomes(again).values()) == {"kept"}
    assert_hours(stored(tmp_path, "2021-06-01", "2021-06-03"), JUNE, 2)


def test_refresh__without_checksums_goes_by_the_etag(archive, tmp_path):
    path = archive.put("trading/BTCUSD/BTCUSD2021-06-01.csv.gz", gzipped(bybit_trades(JUNE, 2)), checksum=False)

    def again(**more: bool) -> list[str]:
        archive.requests.clear()
        sources.fetch(
            "bybit", "trades", "BTCUSD", "2021-06-01", "2021-06-02", settings=how(archive, tmp_path, **more)
        )
        return [f"{method} {own}" for method, own, _ in archive.requests]

    assert again() == [f"GET {path}"]
    assert again(refresh=True) == [f"HEAD {path}"]
    archive.files[path] = gzipped(bybit_trades(JUNE, 3))
    assert again() == []
    assert again(refresh=True) == [f"HEAD {path}", f"GET {path}"]
    rows = sources.scan("bybit", "trades", "BTCUSD", "2021-06-01", "2021-06-02", folder=tmp_path).collect()
    assert rows.height == 3


def test_manifest__tells_of_each_file_what_it_was(archive, tmp_path):
    rows = hours(JUNE, 1)
    path = archive.put(kline_path("daily", "2021-06-01"), zipped(lines([rows[1], rows[0], *rows[1:]])))
    fetch(archive, tmp_path, "2021-06-01", "2021-06-03")
    text = (tmp_path / "manifest" / "binance" / "mark-1h" / "BTCUSDT.jsonl").read_text()
    there, missing = sorted(map(json.loads, text.splitlines()), key=lambda line: line["file"])
    checksum = archive.files[f"{path}.CHECKSUM"].split()[0].decode()
    assert there == {
        "file": path,
        "status": "stored",
        "asked": NOW.isoformat(),
        "address": f"{archive.address}/{path}",
        "bytes": len(archive.files[path]),
        "sha256": checksum,
        "verified": True,
        "etag": there["etag"],
        "rows": 24,
        "first": "2021-06-01T00:00:00+00:00",
        "last": "2021-06-01T23:00:00+00:00",
        "repairs": {"unsorted": 1, "duplicate": 1},
    }
    assert missing["status"] == "missing"
    assert missing["address"].endswith("2021-06-02.zip")


def test_manifest__half_a_line_is_as_if_its_file_had_not_been_fetched(archive, tmp_path):
    for n in range(3):
        put_day(archive, JUNE + timedelta(n))
    fetch(archive, tmp_path, "2021-06-01", "2021-06-04")
    path = tmp_path / "manifest" / "binance" / "mark-1h" / "BTCUSDT.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    archive.requests.clear()
    again = fetch(archive, tmp_path, "2021-06-01", "2021-06-04")
    assert sorted(outcomes(again).values()) == ["fetched", "kept", "kept"]
    assert len(archive.asked()) == 2
    assert sorted(path.read_bytes().splitlines()) == sorted(whole.splitlines())


def test_manifest__a_line_of_another_version_is_as_if_its_file_had_not_been_fetched(archive, tmp_path):
    put_day(archive, JUNE)
    fetch(archive, tmp_path, "2021-06-01", "2021-06-02")
    path = tmp_path / "manifest" / "binance" / "mark-1h" / "BTCUSDT.jsonl"
    path.write_text(path.read_text().replace('"status"', '"state"'))
    assert outcomes(fetch(archive, tmp_path, "2021-06-01", "2021-06-02")) == {"2021-06-01": "fetched"}


def test_fetch__removes_what_was_left_half_written(archive, tmp_path):
    put_day(archive, JUNE)
    fetch(archive, tmp_path, "2021-06-01", "2021-06-02")
    (part,) = tmp_path.rglob("*.parquet")
    half = part.with_name(".2021-06-02.0.partial")
    half.write_bytes(b"half")
    assert stored(tmp_path, "2021-06-01", "2021-06-03").height == 24
    fetch(archive, tmp_path, "2021-06-01", "2021-06-03")
    assert not half.exists()


def test_fetched__tells_in_a_line_what_came(archive, tmp_path):
    put_day(archive, JUNE)
    found = fetch(archive, tmp_path, "2021-06-01", "2021-06-04")
    assert repr(found) == f"Fetched(1 fetched, 2 missing; {tmp_path})"


def test_fetch__brings_again_what_somebody_removed(archive, tmp_path):
    put_day(archive, JUNE)
    fetch(archive, tmp_path, "2021-06-01", "2021-06-02")
    (part,) = tmp_path.rglob("*.parquet")
    part.unlink()
    assert outcomes(fetch(archive, tmp_path, "2021-06-01", "2021-06-02")) == {"2021-06-01": "fetched"}
    assert_hours(stored(tmp_path, "2021-06-01", "2021-06-02"), JUNE, 1)


def test_fetch__removes_downloads_that_nobody_went_on_with_for_a_week(archive, tmp_path):
    put_day(archive, JUNE)
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    for name, age in (("old.partial", 8), ("young.partial", 6)):
        (downloads / name).write_bytes(b"x")
        left = (NOW - timedelta(days=age)).timestamp()
        os.utime(downloads / name, (left, left))
    fetch(archive, tmp_path, "2021-06-01", "2021-06-02")
    assert [path.name for path in downloads.iterdir()] == ["young.partial"]


def test_fetch__asks_for_no_more_at_a_time_than_it_may(archive, tmp_path):
    for n in range(12):
        put_day(archive, JUNE + timedelta(n))
    archive.pause = 0.02
    told = []
    fetch(archive, tmp_path, "2021-06-01", "2021-06-13", parallel=3, progress=lambda *three: told.append(three))
    assert 1 < archive.busiest <= 3
    sizes = sum(len(body) for path, body in archive.files.items() if path.endswith(".zip"))
    assert [done for done, _, _ in told] == list(range(1, 13))
    assert told[-1] == (12, 12, sizes)


def test_fetch__two_at_once_bring_each_file_once(archive, tmp_path):
    for n in range(6):
        put_day(archive, JUNE + timedelta(n))
    archive.pause = 0.02
    waited, results = [], []

    def one() -> None:
        results.append(fetch(archive, tmp_path, "2021-06-01", "2021-06-07", waiting=lambda: waited.append(1)))

    both = [threading.Thread(target=one) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert sorted({outcome for result in results for outcome in outcomes(result).values()}) == ["fetched", "kept"]
    assert len(archive.asked()) == 12
    assert waited == [1]


@pytest.mark.parametrize("seed", range(6))
def test_fetch__comes_to_the_same_whatever_goes_wrong_on_the_way(archive, tmp_path, seed):
    rng = np.random.default_rng(seed)
    put_month(archive, without=tuple(rng.integers(1, 32, 4).tolist()))
    for day in [*(MAY + timedelta(n) for n in range(31)), *(JUNE + timedelta(n) for n in range(10))]:
        put_day(archive, day)
    for path, body in archive.files.items():
        cut = int(rng.integers(1, len(body)))
        troubles = [
            ("drop", cut), ("drop", 0), ("bytes", body[:cut]), ("bytes", b"<html>"), ("status", 503),
            ("status", 429, {"Retry-After": "0"}), ("status", 403), ("no range",), ("other range",), ("fine",),
        ]  # fmt: skip
        archive.moods[path] = [troubles[n] for n in rng.integers(0, len(troubles), rng.integers(0, 6))]
    for _ in range(20):
        fetched = fetch(archive, tmp_path, "2021-05-01", "2021-06-11", refresh=True)
        if not fetched.failures and "damaged" not in outcomes(fetched).values():
            break
    archive.requests.clear()
    fetch(archive, tmp_path, "2021-05-01", "2021-06-11")
    assert archive.requests == []
    assert_hours(stored(tmp_path, "2021-05-01", "2021-06-11"), MAY, 41)
    assert list(tmp_path.glob("venue=*/**/*.partial")) == []


PROGRAM = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from backtest.market import sources
address, folder = sys.argv[1:]
settings = sources.Settings(
    folder=Path(folder), hosts={"binance-archive": address}, parallel=2, now=datetime(2021, 6, 20, 12, tzinfo=UTC)
)
sources.fetch("binance", "mark", "BTCUSDT", "2021-05-01", "2021-06-15", interval="1h", settings=settings)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_kill__in_the_middle_loses_nothing_and_leaves_nothing_half_written(archive, tmp_path):
    put_month(archive, without=tuple(range(5, 29)))
    for day in [*(MAY + timedelta(n) for n in range(31)), *(JUNE + timedelta(n) for n in range(14))]:
        archive.moods[put_day(archive, day)] = [("slow", 0.2)] * 20
    kept: set[str] = set()
    for requests in (2, 6, 14, 12):  # of a process, before it is killed
        count = len(archive.requests)
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, archive.address, str(tmp_path)])
        while len(archive.requests) < count + requests and process.poll() is None:
            time.sleep(0.005)
        time.sleep(0.03)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not {path for path in archive.asked()[count:] if not path.endswith(".CHECKSUM")} & kept
        for part in tmp_path.rglob("*.parquet"):
            assert pl.read_parquet(part, hive_partitioning=False).height > 0
        known = Manifest.of(tmp_path, series("binance", "mark", "BTCUSDT", "1h")).entries
        assert kept <= known.keys()
        kept = set(known)
    assert 8 < len(kept) < 39
    archive.moods.clear()
    fetch(archive, tmp_path, "2021-05-01", "2021-06-15")
    assert_hours(stored(tmp_path, "2021-05-01", "2021-06-15"), MAY, 45)
    assert list(tmp_path.rglob("*.partial")) == []


def test_interrupt__ends_at_once_and_keeps_what_came(archive, tmp_path):
    for n in range(10):
        put_day(archive, JUNE + timedelta(n))
    archive.moods[kline_path("daily", "2021-06-10")] = [("status", 500)] * 6

    def interrupted(done: int, *_: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    patient = Patience(first_pause=600.0, longest_pause=600.0, draw=lambda: 1.0)
    with pytest.raises(KeyboardInterrupt):
        fetch(archive, tmp_path, "2021-06-01", "2021-06-11", patience=patient, progress=interrupted)
    assert_hours(stored(tmp_path, "2021-06-01", "2021-06-10"), JUNE, 9)


BAD_ARGUMENTS = [
    ({"venue": "kraken"}, "venue must be one of binance, binance-coin, bybit, okx, hyperliquid, is 'kraken'"),
    ({"data": "marks"}, "data of binance must be one of mark, index, .*, is 'marks'"),
    ({"data": "liquidations"}, "the venue removed USD-M liquidation snapshots"),
    ({"data": []}, "data must name at least one"),
    ({"symbols": []}, "symbols must name at least one"),
    ({"symbols": "BTC/USDT"}, "symbol must be written as the venue does, like BTCUSDT, is 'BTC/USDT'"),
    ({"symbols": "../../etc"}, "symbol must be written as the venue does"),
    ({"interval": "7m"}, "interval of binance mark must be one of 1m, .*, is '7m'"),
    ({"start": "May"}, "start must be a date or a time like 2021-05-19, is 'May'"),
    ({"end": "2021-05-01"}, "end must lie after the start"),
]


@pytest.mark.parametrize(("wrong", "said"), BAD_ARGUMENTS)
def test_bad_arguments__are_refused_before_anything_is_asked(archive, tmp_path, wrong, said):
    good = {"venue": "binance", "data": "mark", "symbols": "BTCUSDT", "start": "2021-05-01", "end": "2021-05-02"}
    with pytest.raises(ArgumentError, match=said):
        sources.fetch(**{**good, **wrong}, settings=how(archive, tmp_path))
    assert archive.requests == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"parallel": 0}, "parallel must lie between 1 and 16, is 0"),
        (
            {"hosts": {"kraken": "http://x"}},
            "hosts must name some of binance-archive, .*: 'kraken' is none of them",
        ),
        ({"offline": True, "refresh": True}, "offline asks nobody"),
    ],
)
def test_bad_settings__are_refused_when_they_are_made(wrong, said):
    with pytest.raises(ArgumentError, match=said):
        Settings(**wrong)


def test_import__asks_nobody():
    program = (
        "import socket\n"
        "def refuse(*_): raise AssertionError('the network was used')\n"
        "socket.socket.connect = refuse\n"
        "socket.getaddrinfo = refuse\n"
        "from backtest import market\n"
        "market.sources.datasets('binance')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_errors__are_of_the_packages_tree():
    assert issubclass(FetchError, BacktestError)
