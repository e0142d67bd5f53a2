"""Counterfactuals: figures by hand, the path without its cascade recovered, recorded flow, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from test_replay import NOON, assert_closes, book, crash, market, plain_venue

from backtest import Book, Impact, Market, Venue, replay
from backtest.engine.replay.replay import Replay
from backtest.errors import ArgumentError, DataError
from backtest.schemas.frames import Side, Time
from backtest.study.policy.counterfactuals import Counterfactual, counterfactual, strength_limits

#: A procedure under which nothing is sold: everything is taken over and held.
NOTHING_SOLD = {
    "step": "fraction", "step_fraction": 1.0, "slices": "takeover", "unwind": "hold", "adl_trigger": "never",
}  # fmt: skip


def without_adl(rate: float = 0.01, **rules: Any) -> Venue:
    return plain_venue(rate, **{"adl_trigger": "never"} | rules)


def rows(found: Counterfactual) -> dict[str, int]:
    return dict(found.positions.select("liquidated", "positions").iter_rows())


# --- by hand


def two_longs() -> tuple[Book, Market]:
    """Return longs liquidated at 90 and 89 at a rate of a tenth, and a bar that falls to 88."""
    terms = {"entry_price": 100.0, "quantity": 1.0, "leverage": 5.0}
    held = book(terms | {"margin": 19.0}, terms | {"margin": 19.9})
    return held, market((100, 100, 100, 100), (100, 100, 88, 95), (95, 96, 94, 95))


def test_counterfactual__by_hand() -> None:
    held, path = two_longs()
    impact = Impact(mark=2e-4, permanent=0.5, half_life_seconds=60)
    found = counterfactual(
        held, path, without_adl(0.1), without_adl(0.1, **NOTHING_SOLD), impact=impact, fund=10.0
    )
    assert found.facts.flow["price"].to_list() == pytest.approx([90, 89])
    assert found.facts.flow["notional"].to_list() == pytest.approx([90, 89])
    # the first acts in both worlds at 90; without what it sold the history's low of 88 is 88 exp(0.018) = 89.6, so
    # that the second is spared, and what it sold in fact is taken out as well
    offsets = found.policy.impact["offset"].to_list()
    assert offsets[1] == pytest.approx(2e-4 * 179, rel=1e-12)
    assert offsets[2] == pytest.approx(2e-4 * 179 * (0.5 + 0.5 * 0.5), rel=1e-12)
    assert rows(found) == {"in both": 1, "only in fact": 1, "only under the policy": 0, "in neither": 0}
    assert found.policy.outcomes["outcome"].to_list() == ["liquidated", "open"]
    lowest = found.marks.row(0, named=True)
    assert lowest["lowest_facts"] == 88
    assert lowest["lowest_policy"] == pytest.approx(88 * np.exp(2e-4 * 179))


def test_counterfactual__a_harsher_policy_moves_the_mark_on() -> None:
    held, path = two_longs()
    found = counterfactual(held, path, without_adl(0.1), without_adl(0.11), impact=Impact(mark=1e-4))
    # liquidated at 81/0.89 and 80.1/0.89, both before either is in fact; then the facts are taken out
    levels = [81 / 0.89, 80.1 / 0.89]
    assert found.policy.outcomes["fill_price"].to_list() == pytest.approx(levels)
    assert found.policy.impact["offset"][-1] == pytest.approx(1e-4 * (179 - sum(levels)), rel=1e-9)
    assert rows(found)["in both"] == 2


def test_counterfactual__shorts_are_the_mirror() -> None:
    terms = {"side": "short", "entry_price": 100.0, "quantity": 1.0, "leverage": 5.0}
    held = book(terms | {"margin": 21.0}, terms | {"margin": 22.1})
    path = market((100, 100, 100, 100), (100, 112, 100, 105))
    found = counterfactual(
        held, path, without_adl(0.1), without_adl(0.1, **NOTHING_SOLD), impact=Impact(mark=2e-4), fund=50.0
    )
    assert found.facts.flow["price"].to_list() == pytest.approx([110, 111])
    assert found.policy.impact["offset"][-1] == pytest.approx(-2e-4 * 221, rel=1e-12)
    assert found.policy.outcomes["outcome"].to_list() == ["liquidated", "open"]


@pytest.mark.parametrize("trigger", ["<=", "<"])
@pytest.mark.parametrize("seed", range(8))
def test_counterfactual__the_same_policy_changes_nothing_where_levels_lie_on_extremes(
    seed: int, trigger: str
) -> None:
    rng = np.random.default_rng([seed, 11])
    path = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.02, 41))))
    highs = np.maximum(path[:-1], path[1:]) + rng.integers(0, 4, 40)
    lows = np.minimum(path[:-1], path[1:]) - rng.integers(0, 4, 40)
    bars = market(*zip(path[:-1], highs, lows, path[1:], strict=True))
    entries = rng.integers(0, 38, 60)
    held = Book(
        pl.DataFrame(
            {
                "position_id": np.arange(60),
                "symbol": "BTCUSDT",
                "side": pl.Series(rng.choice(["long", "short"], 60), dtype=Side),
                "entry_time": bars.bars["time"].gather(entries),
                "entry_price": path[entries],
                "quantity": np.ones(60),
                "leverage": rng.choice([2.0, 5.0, 10.0, 20.0], 60),
            }
        )
    )
    venue = plain_venue(0.01).with_(trigger=trigger)
    found = counterfactual(held, bars, venue, venue, impact=Impact(mark=1e-3))
    assert (found.policy.impact["offset"] == 0.0).all()
    assert found.policy.outcomes.equals(found.facts.outcomes)
    assert found.policy.outcomes["liquidated"].any()


# --- the path without its cascade


def early(count: int, opening: float, side: str, rng: np.random.Generator) -> Book:
    columns: dict[str, Any] = {
        "position_id": np.arange(count),
        "symbol": "BTCUSDT",
        "side": pl.Series([side] * count, dtype=Side),
        "entry_time": pl.Series([NOON] * count, dtype=Time),
        "entry_price": opening,
        "quantity": rng.lognormal(0, 1, count),
        "leverage": np.exp(rng.uniform(np.log(1.5), np.log(20), count)),
    }
    return Book(pl.DataFrame(columns))


def mirrored(path: Market) -> Market:
    flipped = {"open": "open", "high": "low", "low": "high", "close": "close"}
    return Market(path.bars.with_columns(**{name: 1e4 / pl.col(other) for name, other in flipped.items()}))


def with_its_cascade(path: Market, made: Replay, impact: Impact, side: str) -> Market:
    """Return the history that a simulated cascade made of a path: openings before it, the leg's end after it."""
    bars, kept = path.bars, 0.5 ** (60 / impact.half_life_seconds)
    permanent = decaying = 0.0
    before, after = np.zeros(bars.height), made.impact["offset"].to_numpy()
    for bar, (bought, sold) in enumerate(made.impact.select("short_executed", "long_executed").iter_rows()):
        decaying *= kept
        before[bar] = permanent + decaying
        permanent += impact.mark * impact.permanent * (bought - sold)
        decaying += impact.mark * (1 - impact.permanent) * (bought - sold)
    low, high = (after, before) if side == "long" else (before, after)
    factors = {"open": before, "high": high, "low": low, "close": after}
    moved = {name: pl.col(name) * pl.Series(np.exp(factor)) for name, factor in factors.items()}
    return Market(bars.with_columns(**moved))


@pytest.mark.parametrize(
    ("side", "step", "strength", "tolerance"),
    [
        ("long", "all", 1.5e-6, 1e-12),
        ("long", "fraction", 1.5e-6, 1e-12),
        ("long", "enough", 2e-7, 1e-4),  # where liquidations move the opening beyond levels, steps are larger
        ("short", "all", 2e-7, 1e-12),
        ("short", "fraction", 2e-7, 1e-12),
        ("short", "enough", 5e-8, 1e-5),
    ],
)
@pytest.mark.parametrize("permanent", [1.0, 0.4])
def test_counterfactual__without_any_flow_recovers_the_path_without_liquidations(
    side: str, step: str, strength: float, tolerance: float, permanent: float
) -> None:
    _, quiet = crash(1)
    quiet = quiet if side == "long" else mirrored(quiet)
    held = early(400, float(quiet.bars["open"][0]), side, np.random.default_rng(1))
    impact = Impact(mark=strength, permanent=permanent, half_life_seconds=600, largest_offset=5)
    venue = without_adl(step=step, step_fraction=0.3)
    made = replay(held, quiet, venue, fund=1e6, impact=impact, exogenous=True)
    moved = with_its_cascade(quiet, made, impact, side)
    found = counterfactual(held, moved, venue, without_adl(**NOTHING_SOLD), impact=impact, fund=1e6)
    assert np.abs(made.impact["offset"].to_numpy()).max() > 0.001
    mark = moved.prices("mark", "close") * np.exp(found.policy.impact["offset"].to_numpy())
    np.testing.assert_allclose(mark, quiet.bars["close"], rtol=tolerance)
    still = replay(held, quiet, without_adl(**NOTHING_SOLD), fund=1e6).outcomes
    assert found.policy.outcomes["outcome"].equals(still["outcome"])


def test_counterfactual__a_gentler_policy_falls_less_and_the_more_the_stronger() -> None:
    _, path = crash(9)
    held = early(400, float(path.bars["open"][0]), "long", np.random.default_rng(9))
    venue, known, lows = plain_venue(0.05), None, []
    for strength in (1e-7, 1e-6, 2e-6):
        found = counterfactual(
            held, path, venue, plain_venue(0.01), impact=Impact(mark=strength), fund=100.0, facts=known
        )
        known = found.facts
        lows.append(found.marks["lowest_policy"][0])
        assert_closes(found.policy)
        assert sum(rows(found).values()) == 400
        assert rows(found)["only in fact"] > 0
        alone = replay(held, path, venue, fund=100.0)
        assert known.outcomes.equals(alone.outcomes)
        measures = dict(found.totals.select("measure", "facts").iter_rows())
        assert measures["fund at the end"] == alone.fund["fund"][-1]
        assert measures["deleveragings"] == alone.adl.height
        assert "only in fact" in repr(found)
    assert path.bars["low"].min() < lows[0] < lows[1] < lows[2]


def test_counterfactual__says_what_ran_away() -> None:
    held, path = crash(9, 800)
    found = counterfactual(
        held, path, plain_venue(0.01), plain_venue(0.05), impact=Impact(mark=1e-3, largest_offset=0.2)
    )
    assert found.marks["runaway_bars"][0] > 0
    assert any("the impact on the mark is too large" in note for note in found.notes)
    assert any("moved less than this strength implies" in note for note in found.notes)


def test_strength_limits__are_what_a_leg_went_by_what_it_liquidated() -> None:
    held, path = two_longs()
    facts = replay(held, path, without_adl(0.1), fund=10.0, record_flow=True)
    row = strength_limits(facts.flow, path).row(0, named=True)
    assert row["notional"] == pytest.approx(179)
    assert row["room"] == pytest.approx(np.log(90 / 88))
    assert row["strength"] == pytest.approx(np.log(90 / 88) / 179)


# --- flow of others


def recorded(*events: tuple[int, str, str, float, float]) -> pl.DataFrame:
    """Return flow of nobody in the book: bar, stage, side, price, notional."""
    bars, *columns = zip(*events, strict=True)
    times = market(*[(1, 1, 1, 1)] * 9).bars["time"]
    named = dict(zip(("stage", "side", "price", "notional"), columns, strict=True))
    who = pl.lit(None, dtype=pl.Int64)
    return pl.DataFrame(named).with_columns(symbol=pl.lit("BTCUSDT"), time=times[list(bars)], position_id=who)


def test_replay__follows_a_recorded_feed_of_orders_of_nobody_in_the_book() -> None:
    held, path = two_longs()
    feed = recorded(
        (1, "low", "long", 95.0, 100.0), (1, "low", "long", 92.0, 50.0), (2, "opening", "short", 95.0, 30.0)
    )
    found = replay(held, path, without_adl(0.1), fund=50.0, impact=Impact(mark=1e-4), facts=feed)
    # 88 exp(0.015) = 89.33: the one at 90 is liquidated, which sells 90 and so reaches the one at 89
    assert found.outcomes["outcome"].to_list() == ["liquidated", "liquidated"]
    offsets = found.impact["offset"].to_list()
    assert offsets[1] == pytest.approx(1e-4 * (150 - 179))
    assert offsets[2] == pytest.approx(1e-4 * (150 - 179 - 30))
    assert found.flow["price"].to_list() == pytest.approx([90, 89])
    shuffled = replay(
        held, path, without_adl(0.1), fund=50.0, impact=Impact(mark=1e-4), facts=feed[[2, 1, 0]], threads=1
    )
    assert shuffled.impact.equals(found.impact)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"time": pl.col("time") + pl.duration(seconds=1)}, "^facts: time must be the opening of a bar"),
        ({"symbol": pl.lit("ETHUSDT")}, "^facts: time must be the opening of a bar"),
        ({"notional": pl.lit(-1.0)}, "notional must be finite and not negative"),
        ({"price": pl.lit(0.0)}, "price must be above zero"),
        ({"price": pl.lit("dear")}, "price"),
        ({"stage": pl.lit("noon")}, "stage"),
    ],
)
def test_replay__refuses_facts_in_one_line(change: dict[str, pl.Expr], told: str) -> None:
    held, path = two_longs()
    feed = recorded((1, "low", "long", 95.0, 100.0))
    with pytest.raises(DataError, match=told):
        replay(held, path, without_adl(), impact=Impact(mark=1e-4), facts=feed.with_columns(**change))
    with pytest.raises(DataError, match="facts must have"):
        replay(held, path, without_adl(), impact=Impact(mark=1e-4), facts=feed.drop("stage"))


def test_counterfactual__refuses_what_it_cannot_resolve() -> None:
    held, path = two_longs()
    venue = without_adl()
    for impact in (Impact(mark=1e-4, order="largest"), Impact(mark=1e-4, waves=3)):
        with pytest.raises(ArgumentError, match="order must be 'price'"):
            counterfactual(held, path, venue, venue, impact=impact)
    feed = recorded((1, "low", "long", 95.0, 100.0))
    with pytest.raises(ArgumentError, match="facts are those it holds"):
        replay(held, path, venue, impact=Impact(mark=1e-4), facts=feed, exogenous=True)
    with pytest.raises(ArgumentError, match="not feedback's waves"):
        replay(held, path, venue, impact=Impact(mark=1e-4), exogenous=True, record_flow=True)
    with pytest.raises(ArgumentError, match="its flow recorded"):
        counterfactual(held, path, venue, venue, impact=Impact(), facts=replay(held, path, without_adl(0.1)))
    odds = market((0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 0.425, 0.43), symbol="EVENT")
    one = book({"entry_price": 0.5, "quantity": 1000.0, "margin": 100.0, "leverage": 10.0}, symbol="EVENT")
    with pytest.raises(ArgumentError, match="face value"):
        counterfactual(one, odds, Venue.load("ascend"), Venue.load("ascend"), impact=Impact(mark=1e-4))
