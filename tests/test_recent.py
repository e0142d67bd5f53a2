"""The newest days, from a look-alike of the venue's public interface."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from archive_files import HOUR, NOW, assert_hours, fetch, how, outcomes, put_day, stored
from archive_server import METRICS_HEADER, Archive, lines, metrics_rows, milliseconds, serving, zipped

from backtest.market import sources
from backtest.market.repairs import Repairs


@pytest.fixture
def archive() -> Iterator[Archive]:
    with serving() as archive:
        yield archive


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


@pytest.mark.parametrize(
    ("venue", "symbol", "path", "volume", "taker"),
    [
        ("binance", "BTCUSDT", "fapi/v1/klines", 7.0, 3.0),
        ("binance-coin", "BTCUSD_PERP", "dapi/v1/klines", 8.0, 4.0),  # base stands where others hold the quote
    ],
)
def test_recent__traded_prices_come_with_their_amounts_in_base(
    archive, tmp_path, venue, symbol, path, volume, taker
):
    def klines(query: dict[str, str]) -> list[list[object]]:
        return [
            [time, *prices, "7", end, "8", 5, "3", "4", "0"]
            for time, *prices, _, end, _, _, _, _, _ in recent_klines(query)
        ]

    archive.answers[path] = klines
    settings = how(archive, tmp_path, with_recent=True)
    sources.fetch(venue, "last", symbol, "2021-06-19", "2021-06-20", interval="1h", settings=settings)
    rows = sources.scan(
        venue, "last", symbol, "2021-06-19", "2021-06-20", interval="1h", folder=tmp_path
    ).collect()
    assert rows.height == 24
    assert rows.select("volume", "taker_buy_volume", "trades").unique().rows() == [(volume, taker, 5)]


def test_recent__an_answer_that_is_no_json_fails_that_and_nothing_else(archive, tmp_path):
    archive.files["fapi/v1/markPriceKlines"] = b"<html>"
    fetched = fetch(archive, tmp_path, "2021-06-19", "2021-06-20", with_recent=True)
    assert "did not answer in JSON" in fetched.failures[0].entry.note


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
    assert known["time"].to_list() == [
        datetime(2021, 6, 18, tzinfo=UTC) + timedelta(minutes=5 * n) for n in range(576)
    ]
    assert known.row(0)[2:4] == (5.5, 99.0)


def test_recent__open_interest_goes_on_where_the_archive_ends(archive, tmp_path):
    def interest(query: dict[str, str]) -> list[dict[str, object]]:
        times = range(int(query["startTime"]), int(query["endTime"]), 300_000)[: int(query["limit"])]
        return [{"sumOpenInterest": "5.5", "sumOpenInterestValue": "99", "timestamp": time} for time in times]

    archive.answers["futures/data/openInterestHist"] = interest
    for n in (17, 18):
        path = f"data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2021-06-{n}.zip"
        archive.put(path, zipped(lines(METRICS_HEADER, metrics_rows(date(2021, 6, n)))))
    settings = how(archive, tmp_path, with_recent=True)
    sources.fetch("binance", "metrics", "BTCUSDT", "2021-06-18", "2021-06-20", settings=settings)
    known = sources.scan("binance", "metrics", "BTCUSDT", "2021-06-18", "2021-06-20", folder=tmp_path).collect()
    assert set(known["time"].diff().drop_nulls()) == {timedelta(minutes=5)}
    assert known["open_interest"].to_list()[-287:] == [5.5] * 287  # from 19 June 00:05 on


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
