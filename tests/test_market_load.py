"""``market.load`` from a venue's archive: a market ready for a sweep, and never more known than was known then."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from archive_server import (
    METRICS_HEADER,
    Archive,
    kline_path,
    kline_rows,
    lines,
    metrics_rows,
    milliseconds,
    serving,
    zipped,
)

from backtest import Book, Venue, market, sweep
from backtest.errors import ArgumentError, DataError, FetchError
from backtest.market import Market
from backtest.market.sources import history, plan

MAY = date(2021, 5, 1)
HOUR = 3_600_000


@pytest.fixture
def archive() -> Iterator[Archive]:
    with serving() as archive:
        for folder, seed in (("markPriceKlines", 1), ("klines", 2), ("indexPriceKlines", 3)):
            archive.put(kline_path("monthly", "2021-05", folder), zipped(lines(rows(seed))))
        archive.put("data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2021-05.zip", zipped(lines(rows(4))))
        stamps = [f"{milliseconds(MAY) + n * 8 * HOUR + n},8,0.000{n % 5}" for n in range(93)]
        text = lines("calc_time,funding_interval_hours,last_funding_rate", stamps)
        archive.put("data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2021-05.zip", zipped(text))
        for n in range(8, 13):
            put_metrics(archive, date(2021, 5, n))
        yield archive


def rows(seed: int, first: date = MAY, days: int = 31) -> list[str]:
    return kline_rows(first, days, step=HOUR, seed=seed)


def put_metrics(archive: Archive, day: date, text: list[str] | None = None) -> None:
    path = f"data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-{day}.zip"
    archive.put(path, zipped(lines(METRICS_HEADER, text or metrics_rows(day, interest=1000.0 * day.day))))


def load(
    archive: Archive, folder: Path, start: str = "2021-05-10", end: str = "2021-05-12", **more: object
) -> Market:
    given = {"interval": "1h", "folder": folder, "hosts": archive.hosts, **more}
    return market.load("binance", "BTCUSDT", start, end, **given)


def column(seed: int, place: int, skip: int = 9 * 24, count: int = 48) -> list[float]:
    """Return a column of a generated file, from 10 May on."""
    return [float(row.split(",")[place]) for row in rows(seed)[skip : skip + count]]


def test_load__fetches_mark_and_last_prices_with_funding_and_joins_them(archive, tmp_path):
    found = load(archive, tmp_path)
    assert found.symbols == ("BTCUSDT",)
    assert found.times.tolist() == column(1, 0)
    for place, part in enumerate(("open", "high", "low", "close"), start=1):
        assert found.bars[part].to_list() == column(1, place)
        assert found.bars[f"last_{part}"].to_list() == column(2, place)
    assert found.bars["volume"].to_list() == column(2, 5)
    assert found.bars["taker_buy_volume"].to_list() == column(2, 9)
    assert found.funding["rate"].to_list() == [float(f"0.000{n % 5}") for n in range(27, 33)]
    assert found.funding["time"][0] == datetime(2021, 5, 10, tzinfo=UTC) + timedelta(milliseconds=27)
    assert found.description == "binance BTCUSDT: mark price, 1h bars from the venue's archive"


def test_load__again_needs_no_connection(archive, tmp_path):
    first = load(archive, tmp_path)
    asked = len(archive.requests)
    second = load(archive, tmp_path, offline=True, hosts={"binance-archive": "http://127.0.0.1:9"})
    assert second.bars.equals(first.bars)
    assert second.funding.equals(first.funding)
    assert len(archive.requests) == asked


def test_load__is_ready_for_a_sweep(archive, tmp_path):
    found = load(archive, tmp_path, "2021-05-02", "2021-05-30")
    entry = found.bars.row(5, named=True)
    positions = pl.DataFrame(
        {
            "position_id": [1, 2],
            "symbol": "BTCUSDT",
            "side": ["long", "short"],
            "entry_time": entry["time"],
            "entry_price": entry["open"],
            "quantity": 1.0,
            "leverage": 100.0,
        }
    )
    outcomes = sweep(Book(positions), found, Venue.load("binance"))
    assert outcomes["liquidated"].any()
    assert (outcomes["funding_paid"] != 0).any()


def test_load__open_interest_is_that_known_when_a_bar_opens(archive, tmp_path):
    found = load(archive, tmp_path, also=["open_interest"])
    interest = dict(found.bars.select("time", "open_interest").iter_rows())
    midnight = datetime(2021, 5, 10, tzinfo=UTC)
    assert interest[midnight] == 9_000 + 287  # the last five minutes of the 9th, over at midnight
    assert interest[midnight + timedelta(hours=1)] == 10_000 + 11
    assert interest[midnight + timedelta(hours=24)] == 10_000 + 287
    assert found.funding is None
    assert not found.has("last")


def test_load__open_interest_that_is_not_known_is_refused(archive, tmp_path):
    late = metrics_rows(date(2021, 5, 10), interest=10_000)
    put_metrics(archive, date(2021, 5, 10), late[:12] + late[60:])
    said = (
        r"open_interest must have been published in the hour before a bar: 3 of 48 rows break this, first BTCUSDT "
        r"2021-05-10 03:00:00 UTC"
    )
    with pytest.raises(DataError, match=said):
        load(archive, tmp_path, also=["open_interest"])


def test_load__index_and_spot_join_as_they_should(archive, tmp_path):
    found = load(archive, tmp_path, also=["index", "spot"])
    assert found.bars["index_close"].to_list() == column(3, 4)
    assert found.bars["spot_volume"].to_list() == column(4, 5)
    assert not found.has("last")


def test_load__spot_may_stand_in_for_the_mark_and_says_so(archive, tmp_path):
    found = load(archive, tmp_path, price="spot", also=())
    assert found.bars["close"].to_list() == column(4, 4)
    assert found.bars["spot_volume"].to_list() == column(4, 5)
    assert found.description.endswith("spot price, 1h bars from the venue's archive, in place of the mark price")


def test_load__bars_without_a_last_price_are_left_out_and_counted(archive, tmp_path):
    short = [row for n, row in enumerate(rows(2)) if n not in (220, 221, 250)]
    archive.put(kline_path("monthly", "2021-05", "klines"), zipped(lines(short)))
    found = load(archive, tmp_path)
    assert found.bars.height == 45
    assert "3 bars left out that have no last price" in found.description
    assert "2 files missing at the venue, first last-1h 2021-05-10" in found.description


def test_load__repairs_stand_in_the_description(archive, tmp_path):
    own = rows(1)
    archive.put(kline_path("monthly", "2021-05"), zipped(lines([own[1], *own])))
    said = "repaired in its files: rows out of order, sorted: 1, rows that repeat another, left out: 1"
    for _ in range(2):  # also where everything is on the disk already
        assert said in load(archive, tmp_path).description


def test_load__ends_of_the_span_that_are_missing_stand_in_the_description(archive, tmp_path):
    archive.put(kline_path("monthly", "2021-05"), zipped(lines(rows(1)[9 * 24 + 5 : 12 * 24])))
    found = load(archive, tmp_path, "2021-05-09", "2021-05-20", also=())
    assert "no bars of BTCUSDT before 2021-05-10 05:00" in found.description
    assert "no bars of BTCUSDT after 2021-05-12 23:00" in found.description


def test_load__funding_that_ends_before_the_bars_stands_in_the_description(archive, tmp_path):
    text = lines([f"{milliseconds(date(2021, 5, 10))},8,0.0001"])
    archive.put("data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2021-05.zip", zipped(text))
    assert "no funding of BTCUSDT after 2021-05-10 00:00" in load(archive, tmp_path).description


def test_load__of_what_is_not_published_says_so(archive, tmp_path):
    with pytest.raises(DataError, match=r"nothing is stored of binance mark-1h ETHUSDT .*missing at the venue"):
        market.load(
            "binance", "ETHUSDT", "2021-05-10", "2021-05-12", interval="1h", folder=tmp_path, hosts=archive.hosts
        )


def test_load__of_several_symbols_needs_bars_of_each(archive, tmp_path):
    archive.put(kline_path("monthly", "2021-05", symbol="ETHUSDT"), zipped(lines(rows(5))))
    span = ("2021-05-10", "2021-05-12")
    given = {"interval": "1h", "folder": tmp_path, "hosts": archive.hosts}
    found = market.load("binance", ["BTCUSDT", "ETHUSDT"], *span, also=["funding"], **given)
    assert found.symbols == ("BTCUSDT", "ETHUSDT")
    assert found.bars.filter(symbol="ETHUSDT")["close"].to_list() == column(5, 4)
    assert "no funding of ETHUSDT" in found.description
    with pytest.raises(DataError, match="there are no bars of XRPUSDT: binance BTCUSDT, XRPUSDT: mark price"):
        market.load("binance", ["BTCUSDT", "XRPUSDT"], *span, also=(), **given)
    with pytest.raises(DataError, match="there are no bars of ETHUSDT that have last"):
        market.load("binance", ["BTCUSDT", "ETHUSDT"], *span, also=["last"], **given)


def test_load__of_the_newest_days_says_how_to_get_them(archive, tmp_path):
    end = datetime.now(UTC)
    with pytest.raises(DataError, match="ask the venue's interface for the recent ones"):
        market.load(
            "binance",
            "BTCUSDT",
            end - timedelta(hours=2),
            end,
            interval="1h",
            folder=tmp_path,
            hosts=archive.hosts,
        )


def test_load__with_recent_reaches_to_the_last_closed_bar(archive, tmp_path):
    def klines(query: dict[str, str]) -> list[list[object]]:
        first = -(-int(query["startTime"]) // HOUR) * HOUR
        times = range(first, int(query["endTime"]) + 1, HOUR)
        return [[time, "100", "102", "99", "101", "0", time + HOUR - 1, "0", 0, "0", "0", "0"] for time in times]

    archive.answers["fapi/v1/markPriceKlines"] = klines
    end = datetime.now(UTC)
    found = load(archive, tmp_path, end - timedelta(hours=5), end, also=(), with_recent=True)
    assert found.bars.height in (4, 5)
    assert found.bars["time"][-1] + timedelta(hours=1) <= end


def test_load__offline_names_what_is_missing_and_the_command(archive, tmp_path):
    with pytest.raises(
        FetchError, match=r"5 of 5 files are not in .*backtest fetch binance mark --symbol BTCUSDT"
    ):
        load(archive, tmp_path, offline=True)
    assert archive.requests == []


def test_load__of_files_that_failed_is_an_error(archive, tmp_path):
    archive.moods[kline_path("monthly", "2021-05")] = [("status", 403)]
    with pytest.raises(
        FetchError, match=r"1 of 7 files could not be fetched, first binance mark-1h BTCUSDT 2021-05: .*403"
    ):
        load(archive, tmp_path)


def test_load__of_a_damaged_part_says_which_folder_to_remove(archive, tmp_path):
    load(archive, tmp_path)
    place = tmp_path / "venue=binance" / "dataset=mark-1h" / "symbol=BTCUSDT"
    (place / "year=2021" / "2021-05.parquet").write_bytes(b"damaged")
    with pytest.raises(DataError, match=f"cannot be read .*: remove {place} and fetch them again"):
        load(archive, tmp_path)


def test_load__reads_what_is_there_without_its_files_of_other_years(archive, tmp_path):
    load(archive, tmp_path)
    wanted = history.History("binance", ("BTCUSDT",), plan.span("2021-05-10", "2021-05-11"), "1h", "mark", ())
    assert history.from_disk(wanted, tmp_path).bars.height == 24


def test_load__of_files_is_as_it_was(tmp_path, archive):
    found = load(archive, tmp_path)
    found.bars.write_parquet(tmp_path / "bars.parquet")
    found.funding.write_parquet(tmp_path / "funding.parquet")
    again = market.load(tmp_path / "bars.parquet", tmp_path / "funding.parquet")
    assert again.bars.equals(found.bars)
    assert again.funding.equals(found.funding)


@pytest.mark.parametrize(
    ("given", "more", "said"),
    [
        (("binance",), {}, "start and end must be given to load from binance"),
        (("binance", "BTCUSDT", "2021-05-10"), {}, "end must be given too"),
        (("bars.parquet",), {"interval": "1h"}, "interval, price, .* are for a venue's archive"),
        (("bars.parquet", ["a", "b"]), {}, "funding must be a file, is list"),
        (("binance", None, "2021-05-10", "2021-05-12"), {}, "symbols must be text like BTCUSDT"),
        (("kraken", "BTCUSDT", "2021-05-10", "2021-05-12"), {}, "venue must be one of binance"),
        (("binance", "BTCUSDT", "2021-05-12", "2021-05-10"), {}, "end must lie after the start"),
        (("binance", "BTCUSDT", "2021-05-10", "2021-05-12"), {"price": "bid"}, "price must be one of mark"),
        (("binance", "BTCUSDT", "2021-05-10", "2021-05-12"), {"also": ["depth"]}, "'depth' is none of them"),
        (
            ("bybit", "BTCUSDT", "2021-05-10", "2021-05-12"),
            {"price": "spot"},
            "data of bybit must be .*, is 'spot'",
        ),
        (
            ("binance-coin", "BTCUSD_PERP", "2021-05-10", "2021-05-12"),
            {"also": ["open_interest"]},
            "open_interest must be in base units, that of binance-coin is in contracts",
        ),
        (
            ("binance", "BTCUSDT", "2021-05-10", "2021-05-12"),
            {"offline": True, "with_recent": True},
            "offline asks nobody",
        ),
    ],
)
def test_bad_arguments__are_told_in_a_sentence(tmp_path, monkeypatch, given, more, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match=said):
        market.load(*given, **more)
