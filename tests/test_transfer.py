"""Downloads: resumed, verified, tried again with patience; whatever the venue and the line do."""

import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime

import pytest
from archive_files import JUNE, NOW, assert_hours, bybit_trades, fetch, how, outcomes, put_day, stored
from archive_server import Archive, gzipped, serving

from backtest.errors import FetchError
from backtest.market import sources
from backtest.market.sources import Patience
from backtest.market.sources.http import Client
from backtest.market.sources.redirects import Redirects


@pytest.fixture
def archive() -> Iterator[Archive]:
    with serving() as archive:
        yield archive


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
    archive.moods[path] = [("slow", 1.2)]  # longer than the timeout, which is for a silence
    patience = Patience(first_pause=0.001, timeout=0.9)
    fetch(archive, tmp_path, "2021-06-01", "2021-06-02", patience=patience)
    assert archive.asked().count(path) == 1
    assert_hours(stored(tmp_path, "2021-06-01", "2021-06-02"), JUNE, 1)


def test_download__without_checksum_that_cannot_be_read_is_sent_for_again(archive, tmp_path):
    path = archive.put("trading/BTCUSD/BTCUSD2021-06-01.csv.gz", gzipped(bybit_trades(JUNE, 2)), checksum=False)
    archive.moods[path] = [("bytes", archive.files[path][:-20])]
    settings = how(archive, tmp_path)
    fetched = sources.fetch("bybit", "trades", "BTCUSD", "2021-06-01", "2021-06-02", settings=settings)
    assert fetched.frame.select("outcome", "rows").row(0) == ("fetched", 2)


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
    with pytest.raises(FetchError, match=r"file could not be fetched in 6 attempts: 503"):
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


def test_redirects__on_the_host_itself_are_followed(archive):
    archive.put("elsewhere", b"whole")
    archive.moods["file"] = [("status", 302, {"Location": "/elsewhere"})]
    assert Client(Clock().patience()).get(f"{archive.address}/file") == b"whole"


def test_redirects__leave_the_host_for_those_listed_alone(archive):
    with serving() as other:
        other.put("file", b"theirs")
        for hosts in ((), (other.address,)):
            archive.moods["file"] = [("status", 302, {"Location": f"{other.address}/file"})]
            client = Client(Clock().patience(), hosts)
            if hosts:
                assert client.get(f"{archive.address}/file") == b"theirs"
            else:
                with pytest.raises(
                    FetchError, match=r"refused: it leads to http://127\.0\.0\.1:\d+, which is not"
                ):
                    client.get(f"{archive.address}/file")
                assert other.requests == []


def test_redirects__from_an_encrypted_connection_to_an_open_one_are_refused():
    redirects = Redirects(["http://data.example"])
    request = urllib.request.Request("https://data.example/file")
    with pytest.raises(FetchError, match=r"it leads to http://data\.example"):
        redirects.redirect_request(request, None, 302, "", {}, "http://data.example/file")


def test_downloads__have_a_limit_and_leave_nothing(archive, tmp_path, monkeypatch):
    archive.put("file", bytes(2_000))
    partial = tmp_path / "file.partial"
    monkeypatch.setattr("backtest.market.sources.http.MOST_BYTES", 1_999)
    monkeypatch.setattr("backtest.market.sources.http.MOST_ANSWER", 1_999)
    client = Client(Clock().patience())
    address, refused = f"{archive.address}/file", "was refused: it has more than 1,999 bytes"
    with pytest.raises(FetchError, match=refused):
        client.download(address, partial)
    with pytest.raises(FetchError, match=refused):
        client.get(address)
    assert not partial.exists()
    assert len(archive.requests) == 2
