"""Tier table of an entry: announced, seen on some days, always in force, or a substitute that was asked for."""

import warnings
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from backtest import Book, Market, replay, sweep, tiers_used
from backtest.errors import ArgumentError, InputWarning, RulesError, TiersError
from backtest.rules.contract import Contract
from backtest.rules.strictest import stricter
from backtest.rules.tiers import TierTable
from backtest.rules.timeline import milliseconds, not_in_force, timeline
from backtest.rules.venue import Venue

HEAD = 'name = "own"\ntitle = "Own"\nsettlement = "USDT"\n'
LOW, HIGH = "rows = [{ floor = 0, rate = 0.004 }]", "rows = [{ floor = 0, rate = 0.01 }]"


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def contract(tmp_path, *tables: str) -> Contract:
    """Return the contract of a venue file with tables of these settings."""
    listed = "".join(f'[[contracts.BTCUSDT.tables]]\nname = "t{n}"\n{table}\n' for n, table in enumerate(tables))
    path = tmp_path / "own.toml"
    path.write_text(HEAD + listed)
    return Venue.load(path).contract("BTCUSDT")


def applied(own: Contract, moment: str, tiers="strict") -> tuple[str | None, str]:
    table, source = timeline(own, tiers).at(day(moment))
    return table and table.name, source


def test_seen__holds_on_its_days_and_between_them(tmp_path):
    own = contract(tmp_path, f"seen = [2022-05-01, 2022-07-31]\n{LOW}", f"seen = 2022-09-15\n{HIGH}")
    assert applied(own, "2022-04-30T23:59") == (None, "")
    for moment in ("2022-05-01", "2022-06-15", "2022-07-31T23:59"):
        assert applied(own, moment) == ("t0", "seen")
    assert applied(own, "2022-08-01") == (None, "")
    assert applied(own, "2022-09-15T12:00") == ("t1", "seen")
    assert applied(own, "2022-09-16") == (None, "")


def test_between_two_releases_with_the_same_table__it_is_in_force(tmp_path):
    own = contract(tmp_path, f"seen = 2022-05-01\n{LOW}", f"seen = 2022-07-31\n{LOW}")
    assert applied(own, "2022-06-15") == ("t0", "seen")


def test_between_two_releases_that_differ__strict_refuses_and_names_both(tmp_path):
    own = contract(tmp_path, f"seen = 2022-05-01\n{LOW}", f"seen = 2022-07-31\n{HIGH}")
    refused = not_in_force("positions", own, milliseconds(day("2022-06-15")))
    assert isinstance(refused, TiersError)
    assert "t0 (seen 2022-05-01) and t1 (seen 2022-07-31)" in str(refused)
    assert dict.fromkeys(value for _, value in refused.remedies) == dict.fromkeys(
        ("earlier", "later", "strictest")
    )


@pytest.mark.parametrize(
    ("rule", "table", "source"),
    [
        ("earlier", "t0", "earlier"),
        ("later", "t1", "later"),
        ("strictest", "stricter of t0 and t1", "strictest"),
        ("nearest", "t0", "nearest"),
        ({"BTCUSDT": "t1"}, "t1", "named"),
    ],
)
def test_between_two_releases_that_differ__the_rule_chooses(tmp_path, rule, table, source):
    own = contract(tmp_path, f"seen = 2022-05-01\n{LOW}", f"seen = 2022-07-31\n{HIGH}")
    assert applied(own, "2022-05-20", rule) == (table, source)
    assert applied(own, "2022-07-31T12:00", rule) == ("t1", "seen")


@pytest.mark.parametrize(
    ("moment", "found"),
    [
        ("2022-01-01", {"strict": None, "earlier": None, "later": "t0", "strictest": None, "nearest": "t0"}),
        ("2023-01-01", {"strict": None, "earlier": "t1", "later": None, "strictest": None, "nearest": "t1"}),
    ],
)
def test_before_the_first_and_after_the_last__only_one_side_is_known(tmp_path, moment, found):
    own = contract(tmp_path, f"seen = 2022-05-01\n{LOW}", f"seen = 2022-07-31\n{HIGH}")
    assert {rule: applied(own, moment, rule)[0] for rule in found} == found


def test_announced_dates__win_over_seen_ones(tmp_path):
    seen = f"seen = [2022-05-01, 2022-09-30]\n{LOW}"
    own = contract(tmp_path, seen, f"from = 2022-07-01T03:00:00Z\nuntil = 2022-08-01\n{HIGH}")
    assert applied(own, "2022-07-01T02:59") == ("t0", "seen")
    assert applied(own, "2022-07-01T03:00") == ("t1", "announced")
    ended = contract(tmp_path, f"seen = [2022-05-01, 2022-05-31]\nuntil = 2022-07-01\n{LOW}")
    assert applied(ended, "2022-06-30") == ("t0", "seen")


def test_announced_without_an_end__lasts_until_the_next_table(tmp_path):
    own = contract(tmp_path, f"from = 2021-06-22\n{LOW}", f"seen = 2022-02-16\n{HIGH}")
    assert applied(own, "2022-02-15T23:59") == ("t0", "announced")
    assert applied(own, "2022-02-16") == ("t1", "seen")


def test_always__and_no_date__hold_at_all_times_and_say_so(tmp_path):
    stated, silent = contract(tmp_path, f'in_force = "always"\n{LOW}'), contract(tmp_path, LOW)
    assert applied(stated, "2015-01-01") == ("t0", "always")
    assert applied(silent, "2015-01-01") == ("t0", "not stated")
    assert stated.tables[0].period == "always in force"
    assert silent.tables[0].period == "no date stated, taken as always in force"


@pytest.mark.parametrize("beside", ["from = 2021-01-01", "seen = 2021-01-01"])
def test_always__goes_with_no_date(tmp_path, beside):
    with pytest.raises(RulesError, match=r"tables\[0\]\.in_force: is 'always', without from, until and seen"):
        contract(tmp_path, f'in_force = "always"\n{beside}\n{LOW}')


def test_tables__may_stand_in_any_order(tmp_path):
    own = contract(tmp_path, f"seen = 2022-07-31\n{HIGH}", f"seen = 2022-05-01\n{LOW}")
    assert [table.name for table in own.tables] == ["t1", "t0"]


def test_choice__is_one_of_the_rules(tmp_path):
    with pytest.raises(ArgumentError, match="strict, earlier, later, strictest, nearest"):
        timeline(contract(tmp_path, LOW), "latest")


def random_table(rng: np.random.Generator, name: str, model: str) -> TierTable:
    count = int(rng.integers(1, 6))
    floors = np.concatenate([[0.0], np.sort(rng.choice(np.arange(1, 40), count - 1, replace=False))]) * 1e5
    rates = np.sort(rng.choice(np.arange(4, 80), count, replace=False)) / 1e3
    limits = np.sort(rng.integers(1, 60, count))[::-1].astype(float)
    return TierTable(name=name, model=model, floors=floors, rates=rates, max_leverages=limits, cap=5e6)


def asked(table: TierTable, size: float) -> float:
    """Return the maintenance margin of a size."""
    tier = int(table.tier_of(size))
    return float(table.rates[tier] * size - table.amounts[tier])


@pytest.mark.parametrize("model", ["marginal", "flat"])
def test_strictest__asks_of_every_size_what_the_stricter_of_both_asks(model):
    rng = np.random.default_rng(7)
    for _ in range(300):
        one, other = random_table(rng, "a", model), random_table(rng, "b", model)
        both = stricter(one, other)
        for size in rng.uniform(1.0, 5e6, 20):
            assert asked(both, size) == pytest.approx(max(asked(one, size), asked(other, size)), rel=1e-9)
            limit = both.max_leverages[int(both.tier_of(size))]
            assert limit <= min(own.max_leverages[int(own.tier_of(size))] for own in (one, other))


def test_strictest__refuses_tables_that_measure_differently():
    flat, marginal = (random_table(np.random.default_rng(1), name, name) for name in ("flat", "marginal"))
    with pytest.raises(RulesError, match="neither of the tier tables flat and marginal is the stricter"):
        stricter(flat, marginal)


def market(*symbols: str) -> Market:
    """Return two days of hourly bars that fall by a fifth."""
    times = pl.datetime_range(
        day("2022-06-01"), day("2022-06-02"), "1h", time_unit="ms", eager=True, closed="left"
    )
    close = np.linspace(100.0, 80.0, times.len())
    prices = {"open": close, "high": close + 0.1, "low": close - 0.1, "close": close}
    return Market(pl.concat(pl.DataFrame({"symbol": symbol, "time": times, **prices}) for symbol in symbols))


def book(symbol: str) -> Book:
    own = {"symbol": symbol, "side": ["long", "short"], "entry_time": day("2022-06-01") + timedelta(hours=1)}
    return Book(pl.DataFrame({**own, "entry_price": 99.0, "quantity": 1.0, "leverage": 10.0}))


@pytest.fixture
def released(tmp_path) -> Venue:
    """Return a venue with BTCUSDT before and after the days of the market."""
    own = contract(tmp_path, f"seen = 2022-05-01\n{LOW}", f"seen = 2022-07-31\n{HIGH}")
    return Venue(name="own", title="Own", contracts={"BTCUSDT": own})


def test_strict__names_both_tables_and_the_ways_out(released):
    sentence = r"lies between the tables t0 \(seen 2022-05-01\) and t1 \(seen 2022-07-31\).*tiers='strictest'"
    with pytest.raises(TiersError, match=sentence):
        sweep(book("BTCUSDT"), market("BTCUSDT"), released)


@pytest.mark.parametrize("run", [sweep, lambda *given, **more: replay(*given, **more).outcomes])
def test_outcomes__carry_the_table_and_how_it_came_to_apply(released, run):
    found = run(book("BTCUSDT"), market("BTCUSDT"), released, tiers="later")
    assert found["tier_table"].to_list() == ["t1"] * 2
    assert found["tier_source"].to_list() == ["later"] * 2
    used = tiers_used(book("BTCUSDT"), market("BTCUSDT"), released, tiers="later")
    assert used.select("table", "source", "in_force", "positions").rows() == [("t1", "later", False, 2)]


def test_rules__are_needed_of_the_symbols_of_the_book_alone(released):
    both = market("BTCUSDT", "XRPUSDT")
    found = sweep(book("BTCUSDT"), both, released, tiers="earlier")
    assert found["tier_table"].to_list() == ["t0"] * 2
    assert replay(book("BTCUSDT"), both, released, tiers="earlier").outcomes["liquidated"].to_list() == [
        True,
        False,
    ]
    with pytest.raises(RulesError, match="does not list 'XRPUSDT'"):
        sweep(book("XRPUSDT"), both, released, tiers="earlier")


def test_substitute__is_warned_of_once(released):
    history, own = market("XRPUSDT"), book("XRPUSDT")
    asked = released.with_(like="BTCUSDT")
    with pytest.warns(
        InputWarning, match="XRPUSDT, which the venue does not list, have tier table t0 of BTCUSDT: 2"
    ):
        found = sweep(own, history, asked, tiers="earlier")
    assert found["tier_source"].to_list() == ["like BTCUSDT"] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sweep(own, history, asked, tiers="earlier")
    with pytest.warns(InputWarning, match=r"have tier table t1, which was not in force at their entry \(later\)"):
        sweep(book("BTCUSDT"), market("BTCUSDT"), released, tiers="later")


def test_tiers_by_open_interest__are_dated_tables() -> None:
    rng = np.random.default_rng(5)
    hours = [day("2022-05-01") + timedelta(hours=hour) for hour in range(200)]
    interest = rng.uniform(50, 150, 200).round()
    crowded = interest >= 100
    tables = tuple(
        TierTable(
            name=f"{name} from {start:%d %H}",
            rates=[0.01 if name == "crowded" else 0.004],
            start=start,
            end=start + timedelta(hours=1),
            dated="announced",
        )
        for start, name in zip(hours, np.where(crowded, "crowded", "calm"), strict=True)
    )
    venue = Venue(name="own", title="Own", contracts={"X": Contract(symbol="X", tables=tables)})
    price = 100 + rng.normal(0, 1, 200).cumsum() * 0.3
    bars = pl.DataFrame({"symbol": "X", "time": hours, "open": price, "high": price, "low": price, "close": price})
    entries = rng.integers(0, 190, 40)
    positions = pl.DataFrame(
        {
            "symbol": "X",
            "side": "long",
            "entry_time": [hours[entry] for entry in entries],
            "entry_price": price[entries],
            "quantity": 1.0,
            "leverage": 20.0,
        }
    )
    found = sweep(Book(positions), Market(bars), venue)
    assert found["tier_table"].str.starts_with("crowded").to_list() == crowded[entries].tolist()
    needed = np.where(crowded[entries], 0.01, 0.004)
    expected = price[entries] * (1 - 1 / 20) / (1 - needed)
    gone = found.filter(pl.col("outcome") == "open")
    at = [row for row, outcome in enumerate(found["outcome"]) if outcome == "open"]
    assert gone["liquidation_price"].to_numpy() == pytest.approx(expected[at], rel=1e-12)
    assert len(at) > 5
