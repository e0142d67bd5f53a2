"""Books behind open interest: against plain accumulation, and against the sweep's own answers."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from backtest import Book, Market, Venue, population, sweep
from backtest.errors import ArgumentError, DataError
from backtest.population import NOTIONAL_MIX
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Time

START = datetime(2021, 5, 19, tzinfo=UTC)
BARS = 300


def venue(kind: str = "linear") -> Venue:
    table = TierTable(name="one", rates=np.full(1, 0.005))
    contracts = {name: Contract(symbol=name, kind=kind, tables=(table,)) for name in ("A", "B")}
    return Venue(name="one", title="One tier", contracts=contracts)


def market(seed: int = 1, symbols: tuple[str, ...] = ("A",), bars: int = BARS) -> Market:
    """Return random bars with open interest that rises, falls and once collapses."""
    rng = np.random.default_rng(seed)
    frames = []
    for symbol in symbols:
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, bars)))
        opening = np.concatenate([[100.0], close[:-1]])
        interest = 1_000 * np.exp(np.cumsum(rng.normal(0, 0.05, bars)))
        interest[bars // 2] *= 0.3
        frames.append(
            pl.DataFrame(
                {
                    "symbol": pl.repeat(symbol, bars, eager=True),
                    "time": pl.datetime_range(
                        START, START + timedelta(hours=bars - 1), "1h", time_unit="ms", eager=True
                    ).cast(Time),
                    "open": opening,
                    "high": np.maximum(opening, close) * (1 + rng.exponential(0.003, bars)),
                    "low": np.minimum(opening, close) * (1 - rng.exponential(0.003, bars)),
                    "close": close,
                    "volume": rng.exponential(2_000, bars),
                    "taker_buy_volume": rng.exponential(500, bars),
                    "open_interest": interest,
                }
            )
        )
    frame = pl.concat(frames).with_columns(pl.min_horizontal("taker_buy_volume", "volume"))
    return Market(frame)


def walked(history: Market, turnover: float, mix: dict[float, float], side: str) -> list[tuple[float, ...]]:
    """Return (opened, liquidated, closed) a bar by following every cohort by itself."""
    sign = 1 if side == "long" else -1
    bars = history.bars.to_dicts()
    cohorts: list[dict[str, float]] = []
    flows = []
    for number, bar in enumerate(bars):
        worst = bar["low"] if sign > 0 else bar["high"]
        hit = [c for c in cohorts if sign * worst <= sign * c["price"]]
        taken = sum(c["quantity"] for c in hit)
        cohorts = [c for c in cohorts if sign * worst > sign * c["price"]]
        left = sum(c["quantity"] for c in cohorts)
        closes = min(turnover * bar["volume"], left)
        opens = bar["open_interest"] - left + closes
        if opens < 0:
            closes, opens = left - bar["open_interest"], 0.0
        for cohort in cohorts:
            cohort["quantity"] *= 1 - closes / left
        for leverage, share in mix.items():
            price = bar["close"] * (1 - sign / leverage) / (1 - sign * 0.005)
            cohorts.append({"price": price, "quantity": opens * share, "bar": number})
        flows.append((opens, taken, closes))
    return flows


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("turnover", [0.0, 0.05, 0.4])
def test_flows__equal_following_every_cohort_by_itself(side: str, turnover: float) -> None:
    history = market()
    stood = population.from_open_interest(history, venue(), turnover=turnover, leverage_mix=NOTIONAL_MIX)
    own = stood.flows.filter(pl.col("side") == side).select("opened", "liquidated", "closed").to_numpy()
    assert own[:, 1].sum() > 0
    np.testing.assert_allclose(own, np.array(walked(history, turnover, NOTIONAL_MIX, side)), rtol=1e-9, atol=1e-9)


def test_standing__is_the_open_interest_on_both_sides() -> None:
    history = market(symbols=("A", "B"))
    stood = population.from_open_interest(history, venue())
    expected = history.bars.select("symbol", "time", given="open_interest")
    joined = stood.flows.join(expected, on=["symbol", "time"])
    assert joined.height == 4 * BARS
    np.testing.assert_allclose(joined["open_interest"], joined["given"], rtol=1e-9)


def with_deeper_last_prices(history: Market) -> Market:
    """Return the market with last prices whose lows and highs lie 1 % beyond the mark's."""
    last = history.bars.select(
        last_open="open", last_high=pl.col("high") * 1.01, last_low=pl.col("low") * 0.99, last_close="close"
    )
    return Market(history.bars.hstack(last))


@pytest.mark.parametrize("series", ["mark", "last"])
def test_sweep_of_the_book__liquidates_what_the_flows_say(series: str) -> None:
    history = with_deeper_last_prices(market(symbols=("A", "B")))
    stood = population.from_open_interest(history, venue(), turnover=0.1, trigger_price=series)
    outcomes = sweep(stood.book, history, venue(), trigger_price=series)
    swept: dict[tuple[object, ...], float] = defaultdict(float)
    for row in outcomes.filter("liquidated").iter_rows(named=True):
        swept[row["symbol"], row["side"], row["outcome_time"]] += row["quantity"] * row["surviving_weight"]
    flows = stood.flows.filter(pl.col("liquidated") > 0)
    assert len(swept) == flows.height
    for row in flows.iter_rows(named=True):
        assert swept[row["symbol"], row["side"], row["time"]] == pytest.approx(row["liquidated"], rel=1e-9)


@pytest.mark.parametrize(("series", "other"), [("mark", "last"), ("last", "mark"), (None, "last")])
def test_sweep_of_the_book__must_trigger_on_the_price_it_was_estimated_with(series, other) -> None:
    history = with_deeper_last_prices(market())
    book = population.from_volume(history, venue(), trigger_price=series).book
    sentence = f"trigger_price is {other}, but the book .* triggered by the {series or 'mark'} price"
    with pytest.raises(ArgumentError, match=sentence):
        sweep(book, history, venue(), trigger_price=other)
    assert sweep(book, history, venue(), trigger_price=series)["liquidated"].any()


def test_surviving_weight__of_open_rows_adds_up_to_the_last_open_interest() -> None:
    history = market()
    stood = population.from_open_interest(history, venue(), turnover=0.1)
    outcomes = sweep(stood.book, history, venue())
    left = outcomes.filter(~pl.col("liquidated") & (pl.col("side") == "long"))
    standing = (left["quantity"] * left["surviving_weight"]).sum()
    assert standing == pytest.approx(history.bars["open_interest"][-1], rel=1e-9)


def test_taker_tilt__moves_leverage_to_the_side_of_the_takers() -> None:
    history = market()
    even = population.from_open_interest(history, venue()).book.positions
    tilted = population.from_open_interest(history, venue(), taker_tilt=1.0).book.positions

    def mean_leverage(positions: pl.DataFrame, side: str) -> float:
        own = positions.filter(pl.col("side") == side)
        notional = own["quantity"] * own["entry_price"] * own["weight"]
        return float((own["leverage"] * notional).sum() / notional.sum())

    sells = history.bars["taker_buy_volume"].sum() < history.bars["volume"].sum() / 2
    assert sells
    assert mean_leverage(tilted, "short") > mean_leverage(even, "short")
    assert mean_leverage(tilted, "long") < mean_leverage(even, "long")


def test_volume_book__opens_its_share_and_closes_at_its_rate() -> None:
    history = market()
    plain = Market(history.bars.drop("open_interest"))
    rates = {"opening_share": 0.2, "mean_holding": timedelta(hours=10)}
    stood = population.from_volume(plain, venue(), **rates, reopening_damping=timedelta(0))
    own = stood.flows.filter(pl.col("side") == "long")
    np.testing.assert_allclose(own["opened"], 0.2 * history.bars["volume"])
    left = own["open_interest"].shift(1, fill_value=0.0) - own["liquidated"]
    np.testing.assert_allclose(own["closed"], left * (1 - np.exp(-0.1)), atol=1e-9)


def test_collapse_of_open_interest_to_nothing__leaves_nothing_to_liquidate() -> None:
    history = market()
    empty = history.bars.with_columns(
        open_interest=pl.when(pl.int_range(pl.len()) >= BARS // 2).then(0.0).otherwise("open_interest")
    )
    stood = population.from_open_interest(Market(empty), venue(), turnover=0.0)
    later = stood.flows.filter(pl.col("time") > START + timedelta(hours=BARS // 2))
    assert later["liquidated"].sum() < 1e-9
    outcomes = sweep(stood.book, Market(empty), venue())
    assert outcomes.filter(pl.col("outcome") == "open")["surviving_weight"].sum() < 1e-9


def test_book__says_what_was_assumed() -> None:
    stood = population.from_open_interest(market(), venue(), turnover=0.07)
    assert (
        stood.book.assumptions[0]
        == "estimated from open interest, not positions: 0.07 of the volume closes positions"
    )
    assert "2x 25%" in stood.book.assumptions[1]
    assert stood.book.assumptions[2] == "mean leverage by notional 9.55 (2021: 5 to 10, met)"


def test_book__says_what_other_turnovers_would_have_liquidated() -> None:
    history = market()
    totals = {}
    for turnover in (0.07, 0.035, 0.14):
        flows = population.from_open_interest(history, venue(), turnover=turnover).flows.join(
            history.bars.select("symbol", "time", "close"), on=["symbol", "time"]
        )
        notional = flows.group_by("side").agg((pl.col("liquidated") * pl.col("close")).sum()).sort("side")
        totals[turnover] = notional["liquidated"].to_numpy()
    told = [
        f"{turnover:g}: longs {totals[turnover][0] / totals[0.07][0] - 1:+.0%}, "
        f"shorts {totals[turnover][1] / totals[0.07][1] - 1:+.0%}"
        for turnover in (0.035, 0.14)
    ]
    said = population.from_open_interest(history, venue(), turnover=0.07).book.assumptions[-1]
    assert said == f"liquidated with other shares of the volume closed, against 0.07: {'; '.join(told)}"


def test_book__says_whether_it_liquidates_as_much_as_was_published() -> None:
    stood = population.from_open_interest(market(), venue())
    shares = {}
    for side in ("long", "short"):
        own = stood.flows.filter(pl.col("side") == side)
        opened = [0.0, *own["open_interest"]]
        starts = [row for row, time in enumerate(own["time"]) if row == 0 or time.hour == 0]
        later = own["liquidated"][starts[1] :].sum()  # nothing was open when the first day began
        shares[side] = later / sum(opened[row] for row in starts)
    told = " and ".join(
        f"{share:.2%} of {side}s {'met' if 0.0006 <= share <= 0.0351 else 'missed'}"
        for side, share in shares.items()
    )
    assert f"liquidated a day, of open interest at its beginning: {told} " in stood.book.assumptions[-2]


def test_inverse_cohorts__are_the_notional_they_say() -> None:
    book = population.from_open_interest(market(), venue("inverse"), trader_notional=2.0).book.positions
    assert (book["quantity"] / book["entry_price"]).to_numpy() == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"turnover": -0.1}, "turnover must lie above 0"),
        ({"turnover": 1.1}, "at most at 1, is 1.1"),
        ({"leverage_mix": {5.0: 0.5}}, "leverage_mix must add up to 1, adds up to 0.5"),
        ({"leverage_mix": {0.5: 1.0}}, "leverages of 1 or more"),
        ({"trader_notional": 0.0}, "trader_notional must lie above 0"),
    ],
)
def test_bad_numbers__are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        population.from_open_interest(market(), venue(), **options)


def test_bars_without_open_interest__are_refused() -> None:
    with pytest.raises(DataError, match="bars need the column open_interest for this population"):
        population.from_open_interest(Market(market().bars.drop("open_interest")), venue())


def test_survival__must_cover_the_book_it_thins() -> None:
    history = market()
    book = Book(population.from_open_interest(history, venue()).book.positions)
    assert "surviving_weight" not in sweep(book, history, venue()).columns


def walked_by_volume(
    history: Market,
    mix: dict[float, float],
    side: str,
    *,
    share: float,
    holding: float,
    damping: float,
    bounded: bool,
) -> np.ndarray:
    """Return (opened, liquidated, closed) a bar of the book from volume, following every cohort by itself."""
    sign = 1 if side == "long" else -1
    cohorts: list[dict[str, float]] = []
    flows, pressure = [], 0.0
    for bar in history.bars.to_dicts():
        worst = bar["low"] if sign > 0 else bar["high"]
        before = sum(cohort["quantity"] for cohort in cohorts)
        taken = sum(cohort["quantity"] for cohort in cohorts if sign * worst <= sign * cohort["price"])
        cohorts = [cohort for cohort in cohorts if sign * worst > sign * cohort["price"]]
        if damping:
            faded = np.exp(-1 / damping)
            pressure = pressure * faded + (1 - faded) * damping * (taken / before if before else 0.0)
        left = before - taken
        closes = left * (1 - np.exp(-1 / holding))
        opens = share * bar["volume"] * np.exp(-pressure)
        if bounded:
            closes = max(closes, left - bar["open_interest"])
            opens = min(opens, bar["open_interest"] - (left - closes))
        for cohort in cohorts:
            cohort["quantity"] *= 1 - closes / left if left else 1.0
        for leverage, part in mix.items():
            price = bar["close"] * (1 - sign / leverage) / (1 - sign * 0.005)
            cohorts.append({"price": price, "quantity": opens * part})
        flows.append((opens, taken, closes))
    return np.array(flows)


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("damping", [0.0, 6.0])
def test_volume_book__equals_following_every_cohort_by_itself(side: str, bounded: bool, damping: float) -> None:
    history = market(3)
    stood = population.from_volume(
        history, venue(), opening_share=0.1, reopening_damping=timedelta(hours=damping), bounded=bounded
    )
    own = stood.flows.filter(pl.col("side") == side).select("opened", "liquidated", "closed").to_numpy()
    settings = {"share": 0.1, "holding": 30.0, "damping": damping, "bounded": bounded}
    np.testing.assert_allclose(
        own, walked_by_volume(history, NOTIONAL_MIX, side, **settings), rtol=1e-8, atol=1e-8
    )


LAWS = {
    "open interest": lambda history: population.from_open_interest(history, venue()),
    "volume": lambda history: population.from_volume(history, venue()),
    "volume, much of it": lambda history: population.from_volume(history, venue(), opening_share=1.0),
    "volume, bounded": lambda history: population.from_volume(history, venue(), opening_share=0.3, bounded=True),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("seed", range(4))
def test_flows__obey_the_laws_of_open_interest(law: str, seed: int) -> None:
    history = market(seed, ("A", "B"))
    require_laws(LAWS[law](history).flows)


def require_laws(flows: pl.DataFrame) -> None:
    """Assert: open interest is never negative; what is liquidated was open; flows add up to the change."""
    before = pl.col("open_interest").shift(1, fill_value=0.0).over("symbol", "side")
    change = pl.col("open_interest") - before
    largest = flows["open_interest"].max()
    checked = flows.with_columns(before=before, change=change)
    assert flows["open_interest"].min() >= 0
    assert flows.select(pl.col("opened", "liquidated", "liquidated_same_day", "closed").min()).row(0) >= (0,) * 4
    assert checked.select((pl.col("liquidated") - pl.col("before")).max()).item() <= 1e-9 * largest
    flowed = pl.col("opened") - pl.col("closed") - pl.col("liquidated")
    assert checked.select((flowed - pl.col("change")).abs().max()).item() <= 1e-9 * largest
    new = pl.col("liquidated_same_day") - pl.col("liquidated")
    assert checked.select(new.max()).item() <= 1e-9 * largest


def test_bounded_book__is_at_most_the_open_interest() -> None:
    history = market(2)
    flows = population.from_volume(history, venue(), opening_share=0.3, bounded=True).flows
    limit = flows.join(history.bars.select("symbol", "time", limit="open_interest"), on=["symbol", "time"])
    excess = limit["open_interest"] / limit["limit"] - 1
    assert excess.max() <= 1e-9
    assert (excess.abs() < 1e-9).mean() > 0.1, "the bound has not been met in this market"


def test_liquidated_same_day__is_what_the_sweep_says_of_entries_and_outcomes() -> None:
    history = market(1)
    stood = population.from_volume(history, venue())
    outcomes = sweep(stood.book, history, venue()).filter("liquidated")
    entered, gone = ((pl.col(name) - shift).dt.truncate("1d") for name, shift in (
        ("entry_time", timedelta(milliseconds=1)), ("outcome_time", timedelta(0))
    ))  # fmt: skip
    same = (
        outcomes.filter(entered == gone)
        .group_by("side")
        .agg((pl.col("quantity") * pl.col("surviving_weight")).sum())
    )
    expected = dict(same.rows())
    for side in ("long", "short"):
        own = stood.flows.filter(pl.col("side") == side)
        assert own["liquidated_same_day"].sum() == pytest.approx(expected[side], rel=1e-9)
        assert 0 < expected[side] < own["liquidated"].sum()


def test_damping__holds_back_less_or_more_but_not_by_the_width_of_bars() -> None:
    """Five-minute bars of one path, and the hours they make: they differ by what happens inside an hour only."""
    rng = np.random.default_rng(5)
    count = 12 * 240
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.005, count)))
    opening = np.concatenate([[100.0], close[:-1]])
    fine = pl.DataFrame(
        {
            "symbol": pl.repeat("A", count, eager=True),
            "time": pl.datetime_range(START, START + timedelta(minutes=5 * (count - 1)), "5m", eager=True),
            "open": opening, "high": np.maximum(opening, close), "low": np.minimum(opening, close), "close": close,
            "volume": pl.repeat(100.0, count, eager=True),
        }
    )  # fmt: skip
    coarse = fine.group_by_dynamic("time", every="1h").agg(
        pl.first("symbol"), pl.first("open"), pl.max("high"), pl.min("low"), pl.last("close"), pl.sum("volume")
    )
    held_back = {}
    for name, bars in {"fine": fine, "coarse": coarse}.items():
        flows = population.from_volume(Market(bars), venue(), leverage_mix={10.0: 0.6, 30.0: 0.4}).flows
        held_back[name] = 1 - flows["opened"].sum() / (2 * 0.05 * 100.0 * count)
    assert held_back["fine"] > 0.03
    assert held_back["coarse"] == pytest.approx(held_back["fine"], rel=0.15)


def test_book_of_a_day__does_not_know_what_a_day_liquidates() -> None:
    assumptions = population.from_volume(market(bars=20), venue()).book.assumptions
    assert any("of open interest at its beginning: not known" in text for text in assumptions)
