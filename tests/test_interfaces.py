"""Prices, funding and open interest asked of venues' interfaces, from look-alikes on this machine."""

import ast
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
import venue_answers
from archive_files import JUNE, NOW, how, outcomes
from archive_server import Archive, milliseconds, serving
from venue_answers import HOUR

from backtest import trades
from backtest.__main__ import main
from backtest.market import load, sources
from backtest.market.sources import Patience, interface
from backtest.market.sources.http import Client


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interface, "wait_for_turn", lambda *_: None)


WAIT = interface.wait_for_turn
SPAN = ("2021-06-01", "2021-06-03")
BEGIN = datetime(2021, 6, 1, tzinfo=UTC)


@pytest.fixture
def archive() -> Iterator[Archive]:
    with serving() as archive:
        yield archive


def venue(archive: Archive, name: str, **more: object) -> None:
    given = {"first": milliseconds(date(2021, 5, 1)), "now": milliseconds(NOW), **more}
    symbol = {"symbol": given.pop("symbol")} if "symbol" in given else {}
    getattr(venue_answers, name)(venue_answers.Venue(archive, **given), **symbol)


def rows_of(archive, folder, name, data, symbol, *, interval="1m", span=SPAN, **more):
    fetched = sources.fetch(name, data, symbol, *span, interval=interval, settings=how(archive, folder, **more))
    assert not fetched.failures
    return sources.scan(name, data, symbol, *span, interval=interval, folder=folder).collect()


def steps_of(rows) -> set[timedelta]:
    return set(rows["time"].diff().drop_nulls())


CONTRACTS = {"bybit": "BTCUSDT", "okx": "BTC-USDT-SWAP", "hyperliquid": "BTC"}
LACKS = {("hyperliquid", "mark")}


@pytest.mark.parametrize(
    ("name", "data"),
    [(name, data) for name in CONTRACTS for data in ("mark", "last") if (name, data) not in LACKS],
)
def test_bars__of_two_days_come_in_pages_without_a_gap(archive, tmp_path, name, data):
    venue(archive, name, now=milliseconds(date(2021, 6, 3)))  # Hyperliquid keeps 5,000 minutes
    rows = rows_of(archive, tmp_path, name, data, CONTRACTS[name])
    assert (rows["time"][0], rows.height, steps_of(rows)) == (BEGIN, 2 * 1440, {timedelta(minutes=1)})
    prices = [float(price) for price in venue_answers.prices(milliseconds(BEGIN))]
    assert rows.row(0)[2:6] == tuple(prices)
    assert rows.columns[2:] == ["open", "high", "low", "close", *(["volume"] if data == "last" else [])]
    fetched = sources.fetch(name, data, CONTRACTS[name], *SPAN, settings=how(archive, tmp_path, offline=True))
    assert fetched.repairs.counts == {}  # the order of a venue's answers is none
    count = len(archive.requests)
    rows_of(archive, tmp_path, name, data, CONTRACTS[name])
    assert len(archive.requests) == count  # a second call asks nobody


def test_bybit__volume_is_in_base_and_inverse_volume_is_the_turnover(archive, tmp_path):
    venue(archive, "bybit")
    assert set(rows_of(archive, tmp_path, "bybit", "last", "BTCUSDT", interval="1h")["volume"]) == {700.0}
    venue(archive, "bybit", symbol="BTCUSD")
    assert set(rows_of(archive, tmp_path, "bybit", "last", "BTCUSD", interval="1h")["volume"]) == {7.0}
    assert {query["category"] for query in archive.queries} == {"linear", "inverse"}


def test_bybit__open_interest_is_of_one_side_and_of_inverse_contracts_a_value(archive, tmp_path):
    venue(archive, "bybit")
    rows = rows_of(archive, tmp_path, "bybit", "metrics", "BTCUSDT")
    assert (rows.height, steps_of(rows)) == (2 * 288, {timedelta(minutes=5)})
    assert rows.select("open_interest", "open_interest_value").unique().rows() == [(45.0, None)]
    venue(archive, "bybit", symbol="BTCUSD")
    rows = rows_of(archive, tmp_path, "bybit", "metrics", "BTCUSD")
    assert rows.select("open_interest", "open_interest_value").unique().rows() == [(None, 45.0)]


@pytest.mark.parametrize("name", CONTRACTS)
def test_funding__is_as_stamped_whole_months_and_days(archive, tmp_path, name):
    venue(archive, name)
    span = ("2021-05-01", "2021-06-03")
    rows = rows_of(archive, tmp_path, name, "funding", CONTRACTS[name], span=span)
    assert rows["time"][0] == datetime(2021, 5, 1, tzinfo=UTC)
    assert len(steps_of(rows)) == 1
    assert set(rows["rate"]) == {-0.0001}


@pytest.mark.parametrize("name", CONTRACTS)
def test_gap__stays_a_gap_and_is_reported(archive, tmp_path, name, capsys):
    holes = [milliseconds(JUNE) + n * HOUR for n in (5, 6, 7)]
    venue(archive, name, without=holes)
    assert main(typed(archive, tmp_path, name, "last")) == 0
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if " gap " in line)
    assert row[2:6] == ["1", "3", "3", "h"]


def typed(archive, folder, name, *data, symbol="", **more) -> list[str]:
    span = ["--from", more.get("start", SPAN[0]), "--until", more.get("end", SPAN[1]), "--interval", "1h"]
    hosts = ["--host", f"{name}={archive.address}", "--folder", str(folder)]
    return ["fetch", name, *data, "--symbol", symbol or CONTRACTS[name], *span, *hosts]


def test_bybit__mark_last_and_funding_are_the_default_and_load_names_the_venue(archive, tmp_path, capsys):
    venue(archive, "bybit")
    assert main(typed(archive, tmp_path, "bybit")) == 0
    out = capsys.readouterr().out
    assert [name in out for name in ("mark-1h", "last-1h", "funding")] == [True] * 3
    market = load(
        "bybit", "BTCUSDT", *SPAN, interval="1h", also=("last", "funding", "open_interest"), folder=tmp_path,
        hosts=archive.hosts,
    )  # fmt: skip
    assert market.price_venue == "bybit"
    assert market.bars.height == 48
    assert set(market.bars["open_interest"]) == {45.0}


@pytest.mark.parametrize("name", ["bybit", "okx"])
def test_unknown_symbol__is_one_line_with_the_venues_reason(archive, tmp_path, name, capsys):
    venue(archive, name)
    assert (
        main(typed(archive, tmp_path, name, "last", symbol="XYZ-USDT-SWAP" if name == "okx" else "XYZUSDT")) == 2
    )
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "was refused: the venue answers " in err
    assert list(tmp_path.rglob("*.parquet")) == []


@pytest.mark.parametrize("name", CONTRACTS)
def test_days_before_the_first_row__are_missing_and_not_asked_for_again(archive, tmp_path, name):
    venue(archive, name, first=milliseconds(NOW) - 1)
    settings = how(archive, tmp_path, now=NOW + timedelta(days=60))
    for _ in range(2):
        fetched = sources.fetch(name, "last", CONTRACTS[name], *SPAN, interval="1h", settings=settings)
        assert {file.entry.status for file in fetched.files} == {"missing"}
    assert len(archive.requests) == 2


BUSY = {
    "bybit": ("v5/market/kline", {"retCode": 10006, "retMsg": "Too many visits!", "result": {}}),
    "okx": ("api/v5/market/history-candles", {"code": "50011", "msg": "Too Many Requests", "data": []}),
}
REFUSED = {
    "bybit": ({"retCode": 10002, "retMsg": "no"}, "the venue answers 10002 no"),
    "okx": ({"code": "51000", "msg": "no", "data": []}, "the venue answers 51000 no"),
}


@pytest.mark.parametrize("name", BUSY)
def test_venue_that_is_asked_too_often__is_asked_again(archive, tmp_path, name):
    venue(archive, name)
    path, busy = BUSY[name]
    archive.moods[path] = [("status", 429, {"Retry-After": "0"})]
    answer, asked = archive.answers[path], []

    def sometimes(query):
        asked.append(query)
        return busy if len(asked) % 2 else answer(query)

    archive.answers[path] = sometimes
    rows = rows_of(archive, tmp_path, name, "last", CONTRACTS[name], interval="1h", parallel=1)
    assert (rows.height, len(asked)) == (48, 4)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("wrong", ["refusal", "shape", "list", "prices"])
def test_answer_that_cannot_be_used__fails_its_day_and_stores_nothing(archive, tmp_path, name, wrong):
    venue(archive, name)
    refusal, said = REFUSED[name]
    path, _ = BUSY[name]
    good = archive.answers[path]

    def spoilt(query):
        text = str(good(query))
        begin = str(milliseconds(JUNE))
        return ast.literal_eval(text.replace(f"'{begin}'", "'nan'"))

    archive.answers[path] = {
        "refusal": lambda _: refusal, "shape": lambda _: {"retCode": 0, "code": "0"}, "list": lambda _: [[1]],
        "prices": spoilt,
    }[wrong]  # fmt: skip
    settings = how(archive, tmp_path)
    fetched = sources.fetch(name, "last", CONTRACTS[name], *SPAN, interval="1h", settings=settings)
    assert outcomes(fetched)["2021-06-01"] == "failed"
    assert (said if wrong == "refusal" else "not shaped as expected") in fetched.failures[0].entry.note
    assert len(list(tmp_path.rglob("*.parquet"))) == (1 if wrong == "prices" else 0)


@pytest.mark.parametrize("name", CONTRACTS)
def test_recent__goes_on_to_the_last_closed_bar(archive, tmp_path, name):
    venue(archive, name)
    span = ("2021-06-19", "2021-06-21")
    now = NOW + timedelta(seconds=30)
    rows = rows_of(archive, tmp_path, name, "last", CONTRACTS[name], span=span, with_recent=True, now=now)
    assert rows["time"][-1] == NOW - timedelta(minutes=1)
    assert (rows.height, steps_of(rows)) == (1440 + 720, {timedelta(minutes=1)})


def test_okx__amounts_are_those_in_the_coin_and_open_interest_is_known_an_hour_later(archive, tmp_path):
    venue(archive, "okx")
    rows = rows_of(archive, tmp_path, "okx", "last", "BTC-USDT-SWAP", interval="1h")
    assert set(rows["volume"]) == {700.0}
    known = rows_of(archive, tmp_path, "okx", "metrics", "BTC-USDT-SWAP")
    assert (known["time"][0], known.height, steps_of(known)) == (BEGIN, 48, {timedelta(hours=1)})
    assert known.select("open_interest", "open_interest_value").unique().rows() == [(45.0, 99000.0)]
    asked = [int(query["begin"]) for query in archive.queries if "period" in query]
    assert min(asked) + 1 == milliseconds(BEGIN - timedelta(hours=1))


@pytest.mark.parametrize("name", ["okx", "hyperliquid"])
def test_symbol__is_taken_as_other_venues_write_it_and_stays_so(archive, tmp_path, name):
    venue(archive, name)
    also = ("last", "funding", "open_interest") if name == "okx" else ("funding",)
    market = load(
        name, "BTCUSDT", *SPAN, interval="1h", price="mark" if name == "okx" else "last", also=also,
        folder=tmp_path, hosts=archive.hosts,
    )  # fmt: skip
    assert (market.symbols, market.price_venue, market.bars.height) == (("BTCUSDT",), name, 48)
    assert "bars from the venue's public interface" in market.description
    assert ("in place of the mark price" in market.description) == (name == "hyperliquid")


def test_hyperliquid__has_no_mark_prices_and_no_history_of_open_interest(capsys):
    for data, reason in (
        ("mark", "no history of mark prices"),
        ("metrics", "open interest of the present moment"),
    ):
        assert main(["fetch", "hyperliquid", data, "--symbol", "BTC", "--from", "2021-06-01"]) == 2
        err = capsys.readouterr().err
        assert reason in err
        assert err.count("\n") == 1


def test_hyperliquid__keeps_the_newest_bars_alone_and_says_so(archive, tmp_path):
    venue(archive, "hyperliquid")
    fetched = sources.fetch("hyperliquid", "last", "BTC", *SPAN, settings=how(archive, tmp_path))
    assert {file.entry.note for file in fetched.files} == {"the venue keeps the newest 5,000 bars alone"}


def test_hyperliquid__an_unknown_coin_is_named_as_a_reason(archive, tmp_path, capsys):
    archive.moods["info"] = [("status", 403)] * 2
    assert main(typed(archive, tmp_path, "hyperliquid", "last", symbol="XYZ")) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "about a coin that it does not list" in err


def test_turns__are_apart_for_all_threads():
    waited: list[float] = []
    client = Client(Patience(sleep=waited.append, clock=lambda: 1000.0))
    for host in ("a-host", "a-host", "other-host", "a-host"):
        WAIT(client, host, 0.5)
    assert waited == [0.5, 1.0]


def test_day_that_has_just_ended__is_not_stored_before_the_venue_has_its_last_bars(archive, tmp_path):
    venue(archive, "okx")
    midnight = BEGIN + timedelta(days=1)
    for minutes, status in ((1, "missing"), (400, "stored")):
        settings = how(archive, tmp_path, now=midnight + timedelta(minutes=minutes))
        span = ("2021-06-01", "2021-06-02")
        fetched = sources.fetch("okx", "last", "BTC-USDT-SWAP", *span, interval="1h", settings=settings)
        assert [file.entry.status for file in fetched.files] == [status]


@pytest.mark.parametrize(("name", "price"), [("bybit", "mark"), ("okx", "mark"), ("hyperliquid", "last")])
def test_prices_of_trades__are_the_venues_marks_where_it_publishes_them(archive, tmp_path, name, price):
    venue(archive, name)
    day = {"entry_time": BEGIN + timedelta(hours=30), "exit_time": BEGIN + timedelta(hours=40)}
    one = {
        "symbol": "BTC/USDT:USDT",
        "side": "long",
        "quantity": 1.0,
        "entry_price": 100.0,
        "leverage": 5.0,
        **day,
    }
    given = {"interval": "1h", "folder": tmp_path, "hosts": archive.hosts, "now": NOW}
    found = trades.prices_of(trades.read(pl.DataFrame([one])), name, **given)
    assert found.description.startswith(f"{name} BTCUSDT: {price} price")
    assert (found.price_venue, found.bars["time"][0]) == (name, BEGIN)


def test_turns__of_hyperliquid_keep_its_limit_of_1200_a_minute(archive, tmp_path, monkeypatch):
    spacings: list[float] = []
    monkeypatch.setattr(interface, "wait_for_turn", lambda *given: spacings.append(given[2]))
    venue(archive, "hyperliquid")
    rows_of(archive, tmp_path, "hyperliquid", "funding", "BTC", span=("2021-05-01", "2021-06-01"))
    weights = [20 + 500 / 20, 20 + 244 / 20]  # of 744 hours
    assert sorted(spacings, reverse=True) == pytest.approx([weight / 20 for weight in weights])
