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
from email.utils import format_datetime
from pathlib import Path

import polars as pl
import pytest
from archive_server import (
    HEADER,
    LIQUIDATIONS_HEADER,
    METRICS_HEADER,
    Archive,
    gzipped,
    kline_path,
    kline_rows,
    lines,
    metrics_rows,
    milliseconds,
    serving,
    zipped,
)
from polars.testing import assert_frame_equal

from backtest.errors import ArgumentError, BacktestError, DataError, FetchError
from backtest.market import sources
from backtest.market.sources import ARCHIVES, Patience, Settings
from backtest.market.sources.archives import Period, path_of, series
from backtest.market.sources.manifest import Manifest
from backtest.market.sources.repairs import Repairs
from backtest.market.sources.transfer import Client

HOUR = 3_600_000
NOW = datetime(2021, 6, 20, 12, tzinfo=UTC)
MAY, JUNE = date(2021, 5, 1), date(2021, 6, 1)
QUICK = Patience(first_pause=0.001, longest_pause=0.002, timeout=5)


@pytest.fixture
def archive() -> Iterator[Archive]:
    with serving() as archive:
        yield archive


def how(archive: Archive, folder: Path, **more: object) -> Settings:
    given = {"folder": folder, "hosts": archive.hosts, "patience": QUICK, "now": NOW, **more}
    return Settings(**given)


def fetch(archive: Archive, folder: Path, start: str, end: str, **more: object) -> sources.Fetched:
    return sources.fetch(
        "binance", "mark", "BTCUSDT", start, end, interval="1h", settings=how(archive, folder, **more)
    )


def stored(folder: Path, start: str, end: str) -> pl.DataFrame:
    return sources.scan("binance", "mark", "BTCUSDT", start, end, interval="1h", folder=folder).collect()


def hours(first: date, days: int) -> list[str]:
    """Return hourly mark prices: a day is the same whether its month is asked for or the day alone."""
    every = (kline_rows(first + timedelta(n), step=HOUR, volume=False) for n in range(days))
    return [line for day in every for line in day]


def put_month(archive: Archive, first: date = MAY, days: int = 31, without: tuple[int, ...] = ()) -> str:
    kept = [line for n, line in enumerate(hours(first, days)) if n // 24 + 1 not in without]
    return archive.put(kline_path("monthly", f"{first:%Y-%m}"), zipped(lines(HEADER, kept)))


def put_day(archive: Archive, day: date, **more: bool) -> str:
    return archive.put(kline_path("daily", f"{day}"), zipped(lines(HEADER, hours(day, 1))), **more)


def assert_hours(frame: pl.DataFrame, first: date, days: int) -> None:
    rows = [line.split(",") for line in hours(first, days)]
    assert frame["time"].dt.epoch("ms").to_list() == [int(row[0]) for row in rows]
    assert frame["close"].to_list() == [float(row[4]) for row in rows]


def outcomes(fetched: sources.Fetched) -> dict[str, str]:
    return dict(fetched.frame.select("period", "outcome").iter_rows())


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


def test_fetch__of_a_bar_that_month_and_day_hold_the_months_stands(archive, tmp_path):
    rows = hours(MAY, 31)
    changed = rows[264].replace(rows[264].split(",")[4], rows[264].split(",")[3])  # 12 May 00:00
    archive.put(kline_path("monthly", "2021-05"), zipped(lines([*rows[:264], changed, *rows[266:]])))
    put_day(archive, date(2021, 5, 12))
    fetch(archive, tmp_path, "2021-05-12", "2021-05-13")
    frame = stored(tmp_path, "2021-05-12", "2021-05-13")
    assert frame.height == 24
    assert frame["close"][0] == float(changed.split(",")[4]) != float(rows[264].split(",")[4])
    assert frame["close"][1] == float(rows[265].split(",")[4])


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


def test_checksum__of_a_file_that_came_truncated_sends_for_it_again(archive, tmp_path):
    path = put_day(archive, JUNE)
    archive.moods[path] = [("bytes", archive.files[path][:-50])]
    fetched = fetch(archive, tmp_path, "2021-06-01", "2021-06-02")
    assert outcomes(fetched) == {"2021-06-01": "fetched"}
    assert [asked for _, own, asked in archive.requests if own == path] == ["", ""]
    assert_hours(stored(tmp_path, "2021-06-01", "2021-06-02"), JUNE, 1)


def test_checksum__that_never_fits_leaves_nothing_stored(archive, tmp_path):
    path = put_day(archive, JUNE, wrong=True)
    fetched = fetch(archive, tmp_path, "2021-06-01", "2021-06-02")
    assert outcomes(fetched) == {"2021-06-01": "damaged"}
    assert archive.asked().count(path) == 3
    assert list(tmp_path.rglob("*.parquet")) == []
    assert list(tmp_path.glob("downloads/*")) == []


def test_checksum__that_is_not_published_is_told(archive, tmp_path):
    put_day(archive, JUNE, checksum=False)
    fetched = fetch(archive, tmp_path, "2021-06-01", "2021-06-02")
    assert fetched.frame.select("outcome", "verified").row(0) == ("fetched", False)


def test_download__goes_on_where_the_connection_dropped(archive, tmp_path):
    path = put_day(archive, JUNE)
    size = len(archive.files[path])
    archive.moods[path] = [("drop", 300), ("drop", 200), ("status", 503)]
    fetched = fetch(archive, tmp_path, "2021-06-01", "2021-06-02")
    ranges = [asked for _, own, asked in archive.requests if own == path]
    assert ranges == ["", "bytes=300-", "bytes=500-", "bytes=500-"]
    assert fetched.files[0].entry.bytes == size
    assert_hours(stored(tmp_path, "2021-06-01", "2021-06-02"), JUNE, 1)


@pytest.mark.parametrize("mood", ["no range", "other range"])
def test_download__begins_anew_where_the_venue_does_not_go_on(archive, tmp_path, mood):
    path = put_day(archive, JUNE)
    archive.moods[path] = [("drop", 300), (mood,)]
    fetch(archive, tmp_path, "2021-06-01", "2021-06-02")
    assert_hours(stored(tmp_path, "2021-06-01", "2021-06-02"), JUNE, 1)


@pytest.mark.parametrize("left", ["a part", "all of it", "more than all", "something else"])
def test_download__goes_on_with_what_an_earlier_process_left(archive, tmp_path, left):
    path = put_day(archive, JUNE)
    body = archive.files[path]
    partial = tmp_path / "downloads" / f"binance-archive-{path.replace('/', '-')}.partial"
    partial.parent.mkdir()
    partial.write_bytes(
        {"a part": body[:400], "all of it": body, "more than all": body + b"x"}.get(left, b"y" * 400)
    )
    fetch(archive, tmp_path, "2021-06-01", "2021-06-02")
    assert (
        archive.requests[0][2]
        == f"bytes={len(body) if left == 'all of it' else len(body) + 1 if 'more' in left else 400}-"
    )
    assert_hours(stored(tmp_path, "2021-06-01", "2021-06-02"), JUNE, 1)


def test_download__that_stalls_is_dropped_and_gone_on_with(archive, tmp_path):
    path = put_day(archive, JUNE)
    archive.moods[path] = [("slow", 5.0)]  # half a second between two pieces
    patience = Patience(first_pause=0.001, timeout=0.2)
    fetch(archive, tmp_path, "2021-06-01", "2021-06-02", patience=patience)
    assert archive.requests[1][2].startswith("bytes=")
    assert_hours(stored(tmp_path, "2021-06-01", "2021-06-02"), JUNE, 1)


def test_download__that_is_merely_slow_is_waited_for(archive, tmp_path):
    path = put_day(archive, JUNE)
    archive.moods[path] = [("slow", 0.5)]
    patience = Patience(first_pause=0.001, timeout=0.4)
    fetch(archive, tmp_path, "2021-06-01", "2021-06-02", patience=patience)
    assert archive.asked().count(path) == 1
    assert_hours(stored(tmp_path, "2021-06-01", "2021-06-02"), JUNE, 1)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.time, self.slept = NOW.timestamp(), []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def patience(self, draw: float = 1.0, **more: float) -> Patience:
        return Patience(sleep=self.sleep, clock=lambda: self.time, draw=lambda: draw, timeout=5, **more)


@pytest.mark.parametrize("code", [500, 502, 503, 504, 429, 408])
def test_retry__pauses_longer_each_time_within_a_bound_and_by_chance(archive, code):
    archive.put("file", b"whole")
    for draw in (1.0, 0.25):
        archive.moods["file"] = [("status", code)] * 5
        clock = Clock()
        assert (
            Client(clock.patience(draw, first_pause=1.0, longest_pause=6.0)).get(f"{archive.address}/file")
            == b"whole"
        )
        assert clock.slept == [draw * pause for pause in (1.0, 2.0, 4.0, 6.0, 6.0)]


def test_retry__ends_after_some_attempts_with_the_reason(archive):
    archive.moods["file"] = [("status", 503)] * 9
    clock = Clock()
    with pytest.raises(FetchError, match=r"file could not be had in 6 attempts: 503"):
        Client(clock.patience()).get(f"{archive.address}/file")
    assert len(archive.requests) == 6


@pytest.mark.parametrize("code", [429, 418, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry__a_pause_the_venue_asks_for_is_kept(archive, code, form):
    archive.put("file", b"whole")
    asked = "17" if form == "seconds" else format_datetime(NOW + timedelta(seconds=17), usegmt=True)
    archive.moods["file"] = [("status", code, {"Retry-After": asked})]
    clock = Clock()
    client = Client(clock.patience())
    assert client.get(f"{archive.address}/file") == b"whole"
    assert clock.slept == [17.0]


def test_retry__a_pause_that_is_too_long_fails_the_file(archive):
    archive.moods["file"] = [("status", 429, {"Retry-After": "86400"})]
    with pytest.raises(FetchError, match="again only in 86,400 s"):
        Client(Clock().patience()).get(f"{archive.address}/file")


def test_retry__not_of_what_was_refused_for_good(archive):
    archive.moods["file"] = [("status", 403)]
    with pytest.raises(FetchError, match="was refused: 403"):
        Client(Clock().patience()).get(f"{archive.address}/file")
    assert len(archive.requests) == 1


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
        FetchError, match="next call goes on from there; without a connection, offline uses what is in"
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
    put_day(archive, date(2021, 5, 3))
    fetch(archive, tmp_path, "2021-05-01", "2021-06-02")
    put_month(archive)
    assert fetch(archive, tmp_path, "2021-05-01", "2021-06-02").files[0].entry.short_days == (date(2021, 5, 3),)
    archive.requests.clear()
    again = fetch(archive, tmp_path, "2021-05-01", "2021-06-02", refresh=True)
    assert outcomes(again) == {"2021-05": "fetched", "2021-06-01": "kept"}
    assert sorted(archive.asked()) == sorted(
        [first, f"{first}.CHECKSUM", f"{first}.CHECKSUM", f"{second}.CHECKSUM"]
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


def test_download__without_checksum_that_cannot_be_read_is_sent_for_again(archive, tmp_path):
    path = archive.put("trading/BTCUSD/BTCUSD2021-06-01.csv.gz", gzipped(bybit_trades(JUNE, 2)), checksum=False)
    archive.moods[path] = [("bytes", archive.files[path][:-20])]
    settings = how(archive, tmp_path)
    fetched = sources.fetch("bybit", "trades", "BTCUSD", "2021-06-01", "2021-06-02", settings=settings)
    assert fetched.frame.select("outcome", "rows").row(0) == ("fetched", 2)


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


def test_fetch__brings_again_what_somebody_removed(archive, tmp_path):
    put_day(archive, JUNE)
    fetch(archive, tmp_path, "2021-06-01", "2021-06-02")
    (part,) = tmp_path.rglob("*.parquet")
    part.unlink()
    assert outcomes(fetch(archive, tmp_path, "2021-06-01", "2021-06-02")) == {"2021-06-01": "fetched"}
    assert_hours(stored(tmp_path, "2021-06-01", "2021-06-02"), JUNE, 1)


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
    for requests in (2, 5, 13, 8, 16):  # of a process, before it is killed
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
    assert 10 < len(kept) < 39
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

    began = time.monotonic()
    patient = Patience(first_pause=600.0, longest_pause=600.0, draw=lambda: 1.0)
    with pytest.raises(KeyboardInterrupt):
        fetch(archive, tmp_path, "2021-06-01", "2021-06-11", patience=patient, progress=interrupted)
    assert time.monotonic() - began < 60
    assert_hours(stored(tmp_path, "2021-06-01", "2021-06-10"), JUNE, 9)


def bybit_trades(day: date, count: int) -> str:
    second = milliseconds(day) // 1000
    header = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional"
    return lines(header, [f"{second + n}.5,BTCUSD,Buy,1,50,ZeroPlusTick,id-{n},1,0.02,1" for n in range(count)])


def look_alike(kind: str, first: date, days: int) -> bytes:
    """Return a file of a kind, as its archive serves it."""
    begin, written = milliseconds(first), f"{first:%Y.%m.%d}"
    text = {
        "funding": lines("calc_time,funding_interval_hours,last_funding_rate", [f"{begin},8,0.0001"]),
        "metrics": lines(METRICS_HEADER, metrics_rows(first)),
        "coin_metrics": lines(METRICS_HEADER, metrics_rows(first, at_start=True)),
        "liquidations": lines(LIQUIDATIONS_HEADER, [f"{begin},SELL,LIMIT,IOC,5,60000,59990,FILLED,5,5"] * 2),
        "bybit_klines": f"{written} 12:00,1,2,0.5,1.5,10\n",
        "bybit_trades": bybit_trades(first, 3),
        "bybit_spot_trades": f"id,timestamp,price,volume,side,rpi\n1,{begin},50,0.1,buy,0\n",
        "bybit_index": f"start_at,symbol,period,open,high,low,close\n{begin // 1000},BTCUSD,1,1,2,0.5,1\n",
        "bybit_premium": f"start_at,symbol,period,open,high,low,close\n{begin // 1000},BTCUSD,1,0,0.1,-0.1,0\n",
    }.get(kind) or lines(kline_rows(first, days, step=HOUR))
    return gzipped(text) if kind.startswith("bybit") else zipped(text)


@pytest.mark.parametrize(("venue", "data"), ARCHIVES, ids=[f"{venue} {data}" for venue, data in ARCHIVES])
def test_table__every_data_set_is_fetched_by_its_path_and_read_by_its_reader(archive, tmp_path, venue, data):
    symbol = {"binance": "BTCUSDT", "binance-coin": "BTCUSD_PERP", "bybit": "BTCUSD"}[venue]
    intervals = ARCHIVES[venue, data].intervals
    wanted = series(venue, data, symbol, "1h" if "1h" in intervals else "1m")
    for period in (Period.month(MAY), *(Period.day(MAY + timedelta(n - 1)) for n in range(32))):
        if wanted.archive.monthly if period.monthly else wanted.archive.daily:
            body = look_alike(wanted.archive.kind, period.first, len(period.days))
            archive.put(path_of(wanted, period), body, checksum=wanted.archive.checksum)
    interval = wanted.interval or "1m"
    fetched = sources.fetch(
        venue, data, symbol, "2021-05-01", "2021-05-03", interval=interval, settings=how(archive, tmp_path)
    )
    assert set(outcomes(fetched).values()) == {"fetched"}
    rows = sources.scan(
        venue, data, symbol, "2021-05-01", "2021-05-03", interval=interval, folder=tmp_path
    ).collect()
    assert rows.height > 0
    assert rows.columns[:2] == ["symbol", "time"]
    assert rows["symbol"].unique().to_list() == [symbol]


def test_metrics__known_at_midnight_come_with_the_file_of_the_day_before(archive, tmp_path):
    for n in range(-1, 2):
        day = JUNE + timedelta(n)
        path = f"data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-{day}.zip"
        archive.put(path, zipped(lines(METRICS_HEADER, metrics_rows(day))))
    fetched = sources.fetch(
        "binance", "metrics", "BTCUSDT", "2021-06-01", "2021-06-02", settings=how(archive, tmp_path)
    )
    assert list(outcomes(fetched)) == ["2021-05-31", "2021-06-01"]
    rows = sources.scan("binance", "metrics", "BTCUSDT", "2021-06-01", "2021-06-02", folder=tmp_path).collect()
    assert rows["time"].to_list() == [
        datetime(2021, 6, 1, tzinfo=UTC) + timedelta(minutes=5 * n) for n in range(288)
    ]


def test_bybit__the_last_hours_of_a_month_stand_in_the_next_months_file(archive, tmp_path):
    wanted = series("bybit", "last", "BTCUSDT", "1h")
    for first, count in ((date(2021, 4, 1), 30 * 24), (MAY, 31 * 24)):
        clock = (datetime(first.year, first.month, 1) + timedelta(hours=n) for n in range(count))
        text = "".join(f"{written:%Y.%m.%d %H:%M},1,2,0.5,1.5,10\n" for written in clock)
        archive.put(path_of(wanted, Period.month(first)), gzipped(text), checksum=False)
    settings = how(archive, tmp_path)
    fetched = sources.fetch(
        "bybit", "last", "BTCUSDT", "2021-04-10", "2021-05-01", interval="1h", settings=settings
    )
    assert outcomes(fetched) == {"2021-04": "fetched", "2021-05": "fetched"}
    rows = sources.scan(
        "bybit", "last", "BTCUSDT", "2021-04-10", "2021-05-01", interval="1h", folder=tmp_path
    ).collect()
    assert rows.height == 21 * 24
    assert rows["time"][-1] == datetime(2021, 4, 30, 23, tzinfo=UTC)


def recent_klines(query: dict[str, str], step: int = HOUR) -> list[list[object]]:
    """Return what an interface answers: no more than the limit, numbers as text, the open bar too."""
    first = -(-int(query["startTime"]) // step) * step
    last = min(int(query["endTime"]), milliseconds(NOW))
    times = range(first, last + 1, step)[: int(query["limit"])]
    return [[time, "100", "102", "99", "101", "0", time + step - 1, "0", 0, "0", "0", "0"] for time in times]


def test_recent__fills_what_no_archive_holds_up_to_the_last_closed_bar(archive, tmp_path):
    put_day(archive, date(2021, 6, 18))
    archive.answers["fapi/v1/markPriceKlines"] = recent_klines
    now = NOW + timedelta(seconds=30)
    fetched = fetch(archive, tmp_path, "2021-06-18", "2021-06-25", with_recent=True, now=now)
    assert outcomes(fetched) == {"2021-06-18": "fetched", "2021-06-19": "missing", "recent": "fetched"}
    frame = stored(tmp_path, "2021-06-18", "2021-06-25")
    begin = datetime(2021, 6, 18, tzinfo=UTC)
    assert frame["time"].to_list() == [begin + timedelta(hours=n) for n in range(60)]  # to NOW, 12:00
    assert set(frame["close"][24:]) == {101.0}
    assert fetched.repairs == Repairs({"unfinished": 1})


def test_recent__fills_the_hole_between_the_archive_and_what_came_before(archive, tmp_path):
    archive.answers["fapi/v1/markPriceKlines"] = recent_klines
    fetch(archive, tmp_path, "2021-06-20", "2021-06-21", with_recent=True)
    put_day(archive, date(2021, 6, 17))
    fetch(archive, tmp_path, "2021-06-17", "2021-06-21", with_recent=True)
    times = stored(tmp_path, "2021-06-17", "2021-06-21")["time"]
    assert set(times.diff().drop_nulls()) == {timedelta(hours=1)}
    assert times.len() == 84


def test_recent__rows_give_way_to_the_archive_once_it_has_them(archive, tmp_path):
    archive.answers["fapi/v1/markPriceKlines"] = recent_klines
    fetch(archive, tmp_path, "2021-06-19", "2021-06-21", with_recent=True)
    put_day(archive, date(2021, 6, 19))
    fetch(archive, tmp_path, "2021-06-19", "2021-06-20", now=NOW + timedelta(days=1))
    assert_hours(stored(tmp_path, "2021-06-19", "2021-06-20"), date(2021, 6, 19), 1)


def test_recent__is_asked_for_in_pages_and_not_from_the_beginning_of_time(archive, tmp_path):
    archive.answers["fapi/v1/markPriceKlines"] = lambda query: recent_klines(query, 60_000)
    settings = how(archive, tmp_path, with_recent=True)
    sources.fetch("binance", "mark", "BTCUSDT", "2020-01-01", "2021-06-20", settings=settings)
    rows = sources.scan("binance", "mark", "BTCUSDT", "2020-01-01", "2021-06-20", folder=tmp_path).collect()
    assert len(archive.asked("fapi")) == 43  # pages of 1,500 minutes, of 44.5 days
    assert set(rows["time"].diff().drop_nulls()) == {timedelta(minutes=1)}
    assert rows["time"][0] == NOW - timedelta(days=45)


def test_recent__funding_and_open_interest_take_their_own_shapes(archive, tmp_path):
    def funding(query: dict[str, str]) -> list[dict[str, object]]:
        times = range(int(query["startTime"]), int(query["endTime"]), 8 * HOUR)
        return [{"symbol": "BTCUSDT", "fundingTime": time + 3, "fundingRate": "0.0002"} for time in times]

    def interest(query: dict[str, str]) -> list[dict[str, object]]:
        assert query["period"] == "5m"
        times = range(int(query["startTime"]), int(query["endTime"]), 300_000)[: int(query["limit"])]
        return [{"sumOpenInterest": "5.5", "sumOpenInterestValue": "99", "timestamp": time} for time in times]

    archive.answers = {"fapi/v1/fundingRate": funding, "futures/data/openInterestHist": interest}
    settings = how(archive, tmp_path, with_recent=True)
    fetched = sources.fetch(
        "binance", ["funding", "metrics"], "BTCUSDT", "2021-06-18", "2021-06-20", settings=settings
    )
    assert [file.entry.rows for file in fetched.files if file.period is None] == [6, 576]
    rates = sources.scan("binance", "funding", "BTCUSDT", "2021-06-18", "2021-06-20", folder=tmp_path).collect()
    assert rates["time"].to_list() == [
        datetime(2021, 6, 18, tzinfo=UTC) + timedelta(hours=8 * n, milliseconds=3) for n in range(6)
    ]
    assert set(rates["rate"]) == {0.0002}
    known = sources.scan("binance", "metrics", "BTCUSDT", "2021-06-18", "2021-06-20", folder=tmp_path).collect()
    assert known["time"][0] == datetime(2021, 6, 18, 0, 5, tzinfo=UTC)  # when the first five minutes were over
    assert known.row(0)[2:4] == (5.5, 99.0)


def test_recent__open_interest_is_not_asked_for_beyond_its_thirty_days(archive, tmp_path):
    archive.answers["futures/data/openInterestHist"] = lambda _: []
    settings = how(archive, tmp_path, with_recent=True)
    sources.fetch("binance", "metrics", "BTCUSDT", "2021-04-01", "2021-06-20", settings=settings)
    starts = [int(query["startTime"]) for query in archive.queries]
    assert min(starts) >= milliseconds(NOW - timedelta(days=30))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"code": -1121}, "answered no list"),
        ([[1]], "not shaped as expected"),
        ([{"a": 1}], "not shaped as expected"),
    ],
)
def test_recent__an_answer_of_another_shape_fails_that_and_nothing_else(archive, tmp_path, answer, said):
    put_day(archive, date(2021, 6, 18))
    archive.answers["fapi/v1/markPriceKlines"] = lambda _: answer
    fetched = fetch(archive, tmp_path, "2021-06-18", "2021-06-21", with_recent=True)
    assert outcomes(fetched) == {"2021-06-18": "fetched", "2021-06-19": "missing", "recent": "failed"}
    assert said in fetched.failures[0].entry.note


def test_recent__of_what_has_no_interface_is_told(archive, tmp_path):
    settings = how(archive, tmp_path, with_recent=True)
    fetched = sources.fetch(
        "binance-coin", "liquidations", "BTCUSD_PERP", "2021-06-19", "2021-06-20", settings=settings
    )
    assert fetched.files[-1].entry.note == "no public interface for it is known here"


def test_storage__of_one_symbol_and_span_touches_no_other_file(archive, tmp_path):
    for folder in ("markPriceKlines", "klines"):
        for symbol in ("BTCUSDT", "ETHUSDT"):
            for year, months in ((2020, (11, 12)), (2021, (1, 5))):
                for month in months:
                    first = date(year, month, 1)
                    rows = kline_rows(first, len(Period.month(first).days), step=HOUR)
                    archive.put(kline_path("monthly", f"{first:%Y-%m}", folder, symbol), zipped(lines(rows)))
    spans = [("2020-11-01", "2021-02-01"), ("2021-05-01", "2021-06-01")]
    for span in spans:
        sources.fetch(
            "binance",
            ["mark", "last"],
            ["BTCUSDT", "ETHUSDT"],
            *span,
            interval="1h",
            settings=how(archive, tmp_path),
        )
    own = tmp_path / "venue=binance/dataset=mark-1h/symbol=BTCUSDT/year=2021/2021-05.parquet"
    for part in tmp_path.rglob("*.parquet"):
        if part != own:
            part.write_bytes(b"not to be read")
    assert stored(tmp_path, "2021-05-10", "2021-05-12").height == 48
    lazy = sources.scan("binance", "mark", "BTCUSDT", "2021-05-10", "2021-05-12", interval="1h", folder=tmp_path)
    plan = lazy.filter(pl.col("time") < datetime(2021, 5, 11, tzinfo=UTC)).select("time", "close").explain()
    assert plan.count("SELECTION") == 1
    assert "FILTER" not in plan
    with pytest.raises(DataError, match="nothing is stored of binance mark-1h BTCUSDT from 2022"):
        stored(tmp_path, "2022-05-10", "2022-05-12")


def test_storage__is_a_data_set_of_parquet_like_any_other(archive, tmp_path):
    put_month(archive)
    fetch(archive, tmp_path, "2021-05-01", "2021-06-01")
    every = pl.scan_parquet(tmp_path / "venue=*" / "**" / "*.parquet", hive_partitioning=True).collect()
    assert every.select("venue", "dataset", "symbol", "year").unique().row(0) == (
        "binance",
        "mark-1h",
        "BTCUSDT",
        2021,
    )
    assert every.height == 31 * 24


BAD_ARGUMENTS = [
    ({"venue": "kraken"}, "venue must be one of binance, binance-coin, bybit, is 'kraken'"),
    ({"data": "marks"}, "data of binance must be one of mark, index, .*, is 'marks'"),
    ({"data": "liquidations"}, "the venue removed USD-M liquidation snapshots"),
    ({"data": []}, "data must name at least one"),
    ({"symbols": []}, "symbols must name at least one"),
    ({"symbols": "BTC/USDT"}, "symbol must be written as the venue does, like BTCUSDT, is 'BTC/USDT'"),
    ({"symbols": "../../etc"}, "symbol must be written as the venue does"),
    ({"interval": "7m"}, "interval of binance mark must be one of 1m, .*, is '7m'"),
    ({"start": "May"}, "start must be a date or a time like 2021-05-19, is 'May'"),
    ({"end": "2021-05-01"}, "end must lie after start"),
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


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache/backtest/data"),
        ("linux", {"XDG_CACHE_HOME": "/cache"}, "/cache/backtest/data"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "home/.cache/backtest/data"),
        ("darwin", {}, "home/Library/Caches/backtest/data"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/backtest/data"),
        ("win32", {}, "home/AppData/Local/backtest/data"),
        ("linux", {"BACKTEST_DATA": "/mine", "XDG_CACHE_HOME": "/cache"}, "/mine"),
    ],
)
def test_folder__is_the_platforms_own_or_the_one_asked_for(platform, variables, expected):
    found = sources.data_folder(variables, platform=platform, home=Path("home"))
    assert found.as_posix() == expected


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
