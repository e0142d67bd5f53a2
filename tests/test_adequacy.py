"""Margins: equal to scipy's laws, to quantiles, and to plain loops; adequate where a closed form says so."""

import math
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from backtest import Market, Venue
from backtest.errors import ArgumentError, DataError
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Time
from backtest.study.margins.adequacy import (
    coverage_table,
    initial_margins,
    period_moves,
    procyclicality,
    rolling_margins,
)
from backtest.study.margins.close_out import Closing, Exit, after_liquidation
from backtest.study.margins.maintenance import bad_debt, tier_adequacy
from backtest.study.margins.tail_laws import MOVES, Choices, cluster_peaks, fit

START = datetime(2021, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def random_market(days: int = 200, seed: int = 0, volume: float = 100.0) -> Market:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.standard_t(3, 24 * days) * 0.005))
    opening = np.append(100.0, close[:-1])
    return Market(
        pl.DataFrame(
            {
                "symbol": pl.repeat("X", close.size, eager=True),
                "time": pl.Series(int(START.timestamp()) * 1000 + 3_600_000 * np.arange(close.size)).cast(Time),
                "open": opening,
                "high": np.maximum(opening, close) * 1.002,
                "low": np.minimum(opening, close) * 0.997,
                "close": close,
                "volume": np.full(close.size, volume),
            }
        )
    )


MOVES_OF_A_YEAR = period_moves(random_market(400))


def test_period_moves__are_those_inside_whole_calendar_periods() -> None:
    market = random_market(5)
    late = Market(market.bars[3:].filter(pl.col("time") != START + 50 * HOUR))
    found = period_moves(late)
    assert found["time"].to_list() == [START + DAY * day for day in (1, 3, 4)]
    own = market.bars.filter(pl.col("time").dt.truncate("1d") == START + DAY)
    opening = own["open"][0]
    expected = (1 - own["low"].min() / opening, own["high"].max() / opening - 1, own["close"][-1] / opening - 1)
    assert found.select("down", "up", "change").row(0) == expected
    with pytest.raises(ArgumentError, match="whole bars of 1:00:00"):
        period_moves(market, timedelta(minutes=90))
    with pytest.raises(DataError, match="is complete"):
        period_moves(market, 30 * DAY)


def test_margins__are_scipys_quantiles_of_scipys_fits() -> None:
    stats = pytest.importorskip("scipy.stats")
    choices = Choices(threshold=0.9, run=1, block=10)
    for side, column in MOVES.items():
        values = MOVES_OF_A_YEAR[column].to_numpy()
        threshold = np.quantile(values, 0.9)
        peaks = cluster_peaks(values, values > threshold, 1)
        shape, _, scale = stats.genpareto.fit(peaks - threshold, floc=0)
        share = (values > threshold).mean()
        blocks = values[: values.size // 10 * 10].reshape(-1, 10).max(axis=1)
        extreme = stats.genextreme(
            *stats.genextreme.fit(blocks, -0.2, loc=np.median(blocks), scale=blocks.std() * 0.7)
        )
        losses = MOVES_OF_A_YEAR["change"].to_numpy() * (-1 if side == "long" else 1)
        for probability in (0.02, 0.001):
            expected = {
                "peaks": threshold + stats.genpareto.isf(probability / share, shape, scale=scale),
                "blocks": extreme.ppf((1 - probability) ** 10),
                "empirical": np.quantile(values, 1 - probability),
                "student": stats.t.isf(probability, *stats.t.fit(losses)),
                "normal": stats.norm.isf(probability, losses.mean(), losses.std(ddof=1)),
            }
            for method, margin in expected.items():
                found = fit(MOVES_OF_A_YEAR, side, method, choices).margin(probability)
                assert found == pytest.approx(margin, rel=1e-6), method


def test_scipys_fit_of_blocks__is_no_worse_from_our_start() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = MOVES_OF_A_YEAR["down"].to_numpy()
    blocks = values.reshape(-1, 20).max(axis=1)
    ours = stats.genextreme.fit(blocks, -0.2, loc=np.median(blocks), scale=blocks.std() * 0.7)
    theirs = stats.genextreme.fit(blocks)
    likelihood = [stats.genextreme.logpdf(blocks, *law).sum() for law in (ours, theirs)]
    assert likelihood[0] >= likelihood[1] - 1e-3


def test_a_law_of_extremes_at_shape_zero__is_its_limit() -> None:
    from backtest.study.margins.tail_laws import _box_cox

    assert _box_cox(3.0, 0.0) == math.log(3.0)
    assert _box_cox(3.0, 1e-9) == pytest.approx(math.log(3.0), rel=1e-8)


def test_clusters__end_where_enough_periods_lie_below() -> None:
    values = np.array([5.0, 1, 7, 1, 1, 6, 1, 1, 1, 9, 8])
    above = values > 4
    assert cluster_peaks(values, above, 1).tolist() == [5, 7, 6, 9]
    assert cluster_peaks(values, above, 2).tolist() == [7, 6, 9]
    assert cluster_peaks(values, above, 3).tolist() == [7, 9]
    assert cluster_peaks(values, above, 4).tolist() == [9]
    assert cluster_peaks(values, above & False, 2).size == 0


def test_bands__hold_the_estimate_and_leave_it_alone() -> None:
    bare = initial_margins(MOVES_OF_A_YEAR, seed=1, draws=0, methods=["empirical", "normal"])
    banded = initial_margins(MOVES_OF_A_YEAR, seed=1, draws=49, methods=["empirical", "normal"])
    assert banded.drop("low", "high").equals(bare)
    assert (banded["low"] <= banded["margin"]).all()
    assert (banded["margin"] <= banded["high"]).mean() > 0.9  # the largest of the draws is no less, but for bias
    assert (bare["leverage"] * bare["margin"]).to_list() == pytest.approx([1.0] * bare.height)
    falling = bare.sort("probability").select(pl.col("margin").diff().over("side", "method")).to_series()
    assert (falling.drop_nulls() <= 0).all()


def test_rolling_margins__know_nothing_of_their_own_period_or_later() -> None:
    found = rolling_margins(MOVES_OF_A_YEAR, "empirical", window=100 * DAY, refit=7, probability=0.05)
    changed = MOVES_OF_A_YEAR.with_columns(
        down=pl.when(pl.col("time") >= START + 250 * DAY).then(0.9).otherwise("down"),
    )
    again = rolling_margins(changed, "empirical", window=100 * DAY, refit=7, probability=0.05)
    before = pl.col("time") <= START + 250 * DAY
    assert found.filter(before)["margin"].equals(again.filter(before)["margin"])
    longs = found.filter(pl.col("side") == "long")
    assert longs["time"][0] == START + 100 * DAY
    for row in (0, 6, 7):
        known = MOVES_OF_A_YEAR["down"][row // 7 * 7 : 100 + row // 7 * 7]
        assert longs["margin"][row] == np.quantile(known.to_numpy(), 0.95)
    assert (found["exceeded"] == (found["move"] > found["margin"])).all()
    table = coverage_table(found, 0.05)
    assert table["exceedances"].to_list() == [
        int(found.filter(pl.col("side") == side)["exceeded"].sum()) for side in MOVES
    ]
    cycle = procyclicality(found).filter(pl.col("side") == "long")
    margins = longs["margin"].to_numpy()
    assert cycle["peak_to_trough"][0] == margins.max() / margins.min()
    assert cycle["rise_5"][0] == (margins[5:] - margins[:-5]).max()
    with pytest.raises(DataError, match="more than the window"):
        rolling_margins(MOVES_OF_A_YEAR, "empirical", window=1_000 * DAY)


def test_wrong_questions__are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match="method of peaks, blocks, empirical, student, normal"):
        fit(MOVES_OF_A_YEAR, "long", "guess")
    with pytest.raises(ArgumentError, match="between 0 and 1, one is"):
        initial_margins(MOVES_OF_A_YEAR, seed=0, probabilities=[1.5])
    with pytest.raises(ArgumentError, match="0 < threshold < 1"):
        Choices(threshold=1.0)
    with pytest.raises(DataError, match="10 blocks of 20 periods or more, there are 2"):
        fit(MOVES_OF_A_YEAR[:50], "long", "blocks")
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ArgumentError, match="needs scipy: pip install 'liquidation-backtest\\[stats\\]'"):
        fit(MOVES_OF_A_YEAR, "long", "peaks")
    assert fit(MOVES_OF_A_YEAR, "long", "normal").margin(0.01) > 0


def tiered(leverage: float = 20.0) -> Venue:
    table = TierTable(
        name="two",
        floors=np.array([0.0, 1e5]),
        rates=np.array([0.02, 0.04]),
        max_leverages=np.array([leverage, np.inf]),
        cap=1e6,
    )
    return Venue(name="x", title="x", contracts={"X": Contract(symbol="X", tables=(table,))})


def test_required_rates__are_fee_impact_and_the_quantile_of_the_move() -> None:
    market, closing = random_market(60), Closing(participation=0.2, fee=0.001, impact=0.5)
    found = tier_adequacy(market, tiered(), table="two", closing=closing)
    bars = market.bars
    daily = float((bars["volume"] * bars["close"]).mean() * 24)
    deviation = float(bars["close"].log().diff().std() * 24**0.5)
    low, opening = bars["low"].to_numpy(), bars["open"].to_numpy()
    row = found.filter((pl.col("tier") == 2) & (pl.col("side") == "long")).row(0, named=True)
    assert row["condition"] == "every opening"  # the second tier's leverage is not told
    assert row["time_to_close"] / DAY == pytest.approx(1e6 / (0.2 * daily), rel=1e-6)
    hours = math.ceil(24 * 1e6 / (0.2 * daily))
    moves = [1 - low[at : at + hours].min() / opening[at] for at in range(opening.size - hours + 1)]
    needed = np.maximum(moves, 0) + 0.001 + 0.5 * deviation * math.sqrt(1e6 / daily)
    assert row["moves"] == len(moves)
    assert row["required_99"] == pytest.approx(np.quantile(needed, 0.99))
    assert row["bad_debt"] == pytest.approx(np.maximum(needed - 0.04, 0).mean() * 1e6)
    assert row["suggested_rate"] == pytest.approx(math.ceil(np.quantile(needed, 0.995) / 0.0005) * 0.0005)
    frontier = bad_debt(market, sizes=[1e6], rates=[0.04, 0.08], closing=closing)
    assert frontier["bad_debt"][0] == pytest.approx(row["bad_debt"])


def counted(kind: str, contract_size: float, ends: tuple[float, float]) -> Venue:
    """Return a venue whose two tiers count contracts."""
    table = TierTable(
        name="two", model="flat", size="contracts", contract_size=contract_size, floors=np.array([0.0, ends[0]]),
        rates=np.array([0.02, 0.04]), max_leverages=np.array([20.0, np.inf]), cap=ends[1],
    )  # fmt: skip
    return Venue(name="x", title="x", contracts={"X": Contract(symbol="X", kind=kind, tables=(table,))})


def test_tiers_by_contracts__are_judged_at_the_median_price_and_held_as_so_many_contracts() -> None:
    market = random_market(60)
    price = float(market.bars["close"].median())
    worth = 0.01 * price
    found = tier_adequacy(market, counted("linear", 0.01, (1e5 / worth, 1e6 / worth)), table="two")
    by_notional = tier_adequacy(market, tiered(), table="two")
    assert found["size"].to_list() == pytest.approx(by_notional["size"].to_list())
    assert found["contracts"].to_list() == pytest.approx((by_notional["size"] / worth).to_list())
    assert by_notional["contracts"].is_null().all()
    every = pl.col("condition") == "every opening"
    drop = ("contracts", "time_to_close")
    same = [
        frame.filter(every).drop(drop).select(pl.selectors.numeric()).to_numpy() for frame in (found, by_notional)
    ]
    assert same[0] == pytest.approx(same[1], nan_ok=True)
    after = found.filter(~every, pl.col("side") == "long").row(0, named=True)
    held = counted("linear", 0.01, (1e5 / worth, 1e6 / worth))
    horizon = Exit.of(market, Closing(), None).bars(1e5)
    moves = after_liquidation(
        market,
        held,
        "two",
        1e5 / price * (1 - 1e-9),
        side="long",
        leverage=20.0,
        horizon=horizon,
        counted="quantity",
    )
    assert after["moves"] == moves.size > 0
    assert after["required_99"] == pytest.approx(np.quantile(moves, 0.99) + after["cost"])


def test_tiers_of_coins__take_volume_in_coins_and_contracts_in_dollars() -> None:
    market = random_market(60)
    price, coins = float(market.bars["close"].median()), float(market.bars["volume"].mean()) * 24
    found = tier_adequacy(market, counted("inverse", 100.0, (10.0, 200.0)), table="two")
    last = found.filter(pl.col("tier") == 2).row(0, named=True)
    assert last["size"] == pytest.approx(200 * 100 / price)
    assert last["time_to_close"] / DAY == pytest.approx(last["size"] / (0.1 * coins), rel=1e-5, abs=1e-11)
    frontier = bad_debt(market, sizes=[last["size"]], rates=[0.04], venue=counted("inverse", 100.0, (10.0, 200.0)))
    own = found.filter(pl.col("tier") == 2, pl.col("side") == "long").row(0, named=True)
    assert frontier["bad_debt"][0] == pytest.approx(own["bad_debt"])


def test_moves_after_liquidation__begin_at_the_fills() -> None:
    market, venue = random_market(30), tiered()
    found = after_liquidation(market, venue, "two", 1e4, side="long", leverage=20.0, horizon=2 * HOUR)
    bars = market.bars
    low, opening = bars["low"].to_numpy(), bars["open"].to_numpy()
    slow = []
    for entry in range(opening.size):
        price = opening[entry] * (1 - 1 / 20) / (1 - 0.02)
        hit = next((bar for bar in range(entry, opening.size) if low[bar] <= price), None)
        if hit is not None and hit + 2 <= opening.size:
            slow.append(max(1 - low[hit : hit + 2].min() / min(price, opening[hit]), 0.0))
    assert found.tolist() == pytest.approx(slow)


def test_bad_debt__a_move_to_the_rate_is_covered() -> None:
    rows = {"symbol": ["X"] * 3, "time": [START + HOUR * hour for hour in range(3)], "open": [100.0] * 3}
    rows |= {"high": [100.0] * 3, "low": [95.0] * 3, "close": [100.0] * 3, "volume": [1e9] * 3}
    market = Market(pl.DataFrame(rows, schema_overrides={"time": Time}))
    found = bad_debt(market, sizes=[1.0], rates=[0.05, 0.049], closing=Closing(fee=0.0, impact=0.0))
    assert 1 - 95.0 / 100.0 > 0.05
    assert found.filter(side="long")["shortfall_share"].to_list() == [0.0, 1.0]


def test_bad_debt__falls_with_the_rate_and_rises_with_the_size() -> None:
    found = bad_debt(random_market(60), sizes=[1e3, 1e5, 1e6], rates=[0.01, 0.03, 0.1])
    by_rate = found.sort("rate").select(pl.col("bad_debt").diff().over("side", "size")).to_series().drop_nulls()
    by_size = found.sort("size").select(pl.col("bad_debt").diff().over("side", "rate")).to_series().drop_nulls()
    assert (by_rate <= 0).all()
    assert (by_size >= 0).all()


def test_a_suggested_cap__is_the_largest_size_the_rate_suffices_for() -> None:
    market = random_market(60)
    cap = tier_adequacy(market, tiered(), table="two").filter(pl.col("tier") == 2)["suggested_cap"][0]
    both = bad_debt(market, sizes=[cap, cap * 10], rates=[0.04]).filter(pl.col("side") == "long")
    assert both["shortfall_share"][0] <= 0.005 < both["shortfall_share"][1]


def test_wrong_questions_of_tiers__are_refused() -> None:
    market = random_market(10)
    with pytest.raises(DataError, match="bars need the column volume"):
        tier_adequacy(Market(market.bars.drop("volume")), tiered(), table="two")
    with pytest.raises(ArgumentError, match="levels must lie between 0 and 1"):
        tier_adequacy(market, tiered(), table="two", level=1.0)
    with pytest.raises(ArgumentError, match="participation, depth and volume above zero"):
        Closing(participation=0.0)
    keyed = TierTable(name="keyed", model="leverage", rate_factor=0.6)
    venue = Venue(name="x", title="x", contracts={"X": Contract(symbol="X", tables=(keyed,))})
    with pytest.raises(ArgumentError, match="those of keyed are by leverage, one rate for any size"):
        tier_adequacy(market, venue, table="keyed")
