"""Surface, excursions, volatility: equal to plain loops, and to closed forms on simulated Brownian paths."""

from datetime import UTC, datetime, timedelta
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest

from backtest import Market, Venue
from backtest.engine.sweep.lifetimes import lifetimes
from backtest.errors import ArgumentError, DataError
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Time
from backtest.study.stats.bootstrap import resampling
from backtest.study.survival.excursions import crashes, critical_leverage, excursions, first_lowest, touching
from backtest.study.survival.surface import probability_surface
from backtest.study.survival.volatility import distance_in_days, entry_regime, trailing_volatility

START = datetime(2021, 5, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def one_tier(rate: float = 0.004) -> Venue:
    table = TierTable(name="all", rates=np.array([rate]), max_leverages=np.array([125.0]))
    return Venue(name="x", title="x", contracts={}, default=Contract(symbol="X", tables=(table,)))


def market_of(times: np.ndarray, opening, high, low, close, **settings) -> Market:
    return Market(
        pl.DataFrame(
            {
                "symbol": pl.repeat("X", times.size, eager=True),
                "time": pl.Series(times).cast(Time),
                "open": opening,
                "high": high,
                "low": low,
                "close": close,
            }
        ),
        **settings,
    )


def random_market(bars: int = 600, seed: int = 0, missing: bool = True) -> Market:
    rng = np.random.default_rng(seed)
    hours = np.arange(bars) + (np.cumsum(rng.random(bars) < 0.01) * rng.integers(1, 9) if missing else 0)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.02, bars))), 1)
    opening = np.append(100.0, close[:-1])
    high, low = np.maximum(opening, close) + 0.5, np.minimum(opening, close) - 0.5
    times = START.timestamp() * 1000 + hours * 3_600_000
    return market_of(times.astype(np.int64), opening, high, low, close)


def test_the_surface__equals_counting_entry_by_entry() -> None:
    market, venue = random_market(), one_tier()
    horizons, leverages = [HOUR, 30 * HOUR], [2.0, 20.0]
    found = probability_surface(
        market, venue, leverages=leverages, horizons=horizons, length=5 * DAY, draws=30, seed=2
    )  # fmt: skip
    whole = lifetimes(market, venue, leverages=leverages)
    for row in found.iter_rows(named=True):
        hits = whole.bars[row["side"]][leverages.index(row["leverage"])]
        entries, gone = [], []
        for bar, time in enumerate(whole.times.tolist()):
            end = time + row["horizon"] // timedelta(milliseconds=1)
            if end <= whole.known_until[bar]:
                entries.append(time)
                gone.append(hits[bar] >= 0 and whole.times[hits[bar]] < end)
        assert (row["entries"], row["liquidated"]) == (len(entries), sum(gone))
        assert row["probability"] == sum(gone) / len(entries)
        assert row["low"] <= row["probability"] <= row["high"]
    whole_hour = whole.times + 3_600_000 <= whole.known_until
    times, hits = whole.times[whole_hour], whole.bars["long"][1][whole_hour]
    gone = hits == np.flatnonzero(whole_hour)  # within an hour, which is one bar: in the entry's own
    frame = pl.DataFrame({"time": times, "gone": gone}).cast({"time": Time})
    plan = resampling(frame["time"], seed=2, length=5 * DAY, draws=30)
    slow = plan.band(plan.of_frame(frame, lambda part: part["gone"].mean(), time="time"))
    hourly = found.filter(horizon=HOUR, leverage=20.0, side="long")
    assert hourly.select("low", "high").row(0) == pytest.approx((slow.low, slow.high))


def test_the_surface__rises_with_leverage_and_with_the_horizon_over_the_same_entries() -> None:
    market = random_market(missing=False)
    found = probability_surface(
        market, one_tier(), leverages=[2.0, 5.0, 10.0, 50.0], horizons=[HOUR, DAY], draws=0, seed=0
    )  # fmt: skip
    assert "low" not in found.columns
    steps = found.sort("leverage").select(pl.col("probability").diff().over("side", "horizon")).drop_nulls()
    assert (steps["probability"] >= 0).all()


def test_a_horizon_beyond_the_history__is_refused() -> None:
    with pytest.raises(DataError, match="no horizon is fully observed"):
        probability_surface(random_market(), one_tier(), horizons=[365 * DAY], seed=0)


def first_passage(distance: float, *, volatility: float, days: float) -> float:
    """Return the chance that a driftless geometric Brownian motion falls by a fraction within some days."""
    normal = NormalDist()
    time = days / 365
    spread, drift, barrier = volatility * time**0.5, -(volatility**2) / 2, -np.log(1 - distance)
    below = normal.cdf((-barrier - drift * time) / spread)
    return below + np.exp(-2 * drift * barrier / volatility**2) * normal.cdf((-barrier + drift * time) / spread)


def simulated(days: int, steps: int, *, within: bool, seed: int) -> Market:
    """Return days of Brownian paths at 80 % a year, each from 100; lows within bars exact, or of closes only."""
    rng = np.random.default_rng(seed)
    deviation = 0.8 * (1 / 365 / steps) ** 0.5
    drawn = rng.normal(-(deviation**2) / 2, deviation, (days, steps))
    closes = np.cumsum(drawn, axis=1)
    opens = np.concatenate([np.zeros((days, 1)), closes[:, :-1]], axis=1)
    lowest = np.minimum(opens, closes)
    if within:  # the minimum of a bridge: (a + b - sqrt((a - b)^2 + 2 v E)) / 2 with E exponential
        spread = (opens - closes) ** 2 + 2 * deviation**2 * rng.standard_exponential(closes.shape)
        lowest = (opens + closes - np.sqrt(spread)) / 2
    opening, low, close = (100 * np.exp(values.ravel()) for values in (opens, lowest, closes))
    step = 86_400_000 // steps
    times = int(START.timestamp()) * 1000 + step * np.arange(days * steps)
    return market_of(times, opening, np.maximum(opening, close), low, close)


@pytest.mark.parametrize(
    ("expected", "days", "steps", "within"),
    [(0.2650, 20_000, 24, True), (0.2585, 1_500, 1_440, False), (0.2200, 20_000, 24, False)],
)
def test_simulated_first_passage__is_within_four_standard_errors_of_the_closed_form(
    expected: float, days: int, steps: int, within: bool
) -> None:
    """A 20x long over a day at 80 % volatility and 0.4 %: continuous, one-minute closes, hourly closes."""
    market = simulated(days, steps, within=within, seed=steps + within)
    found = lifetimes(market, one_tier(), leverages=[20.0], horizon=DAY)
    hits = found.bars["long"][0].reshape(days, steps)[:, 0]
    rate = (hits >= 0).mean()
    assert abs(rate - expected) < 4 * (expected * (1 - expected) / days) ** 0.5


def test_the_closed_form__has_the_published_values() -> None:
    distance = 1 - (1 - 1 / 20) / (1 - 0.004)
    assert first_passage(distance, volatility=0.8, days=1) == pytest.approx(0.2650, abs=5e-5)
    assert first_passage(distance, volatility=0.8, days=7) == pytest.approx(0.6852, abs=5e-5)


def test_excursions__equal_a_plain_loop_with_ties_and_gaps() -> None:
    market = random_market(300, 3)
    times = market.times
    found = excursions(market, 20 * HOUR, whole=False)
    low, high, opening = (market.prices("mark", name) for name in ("low", "high", "open"))
    gaps = set(market.long_gaps(0, market.gap_limit).tolist())
    for bar, row in enumerate(found.iter_rows(named=True)):
        inside = []
        for other in range(bar, times.size):
            if (other > bar and other in gaps) or times[other] >= times[bar] + 20 * 3_600_000:
                break
            inside.append(other)
        lowest = min(inside, key=lambda other: (low[other], other))
        highest = min(inside, key=lambda other: (-high[other], other))
        assert row["down"] == max(1 - low[lowest] / opening[bar], 0)
        assert row["up"] == max(high[highest] / opening[bar] - 1, 0)
        assert row["low_time"].timestamp() * 1000 == times[lowest]
        assert row["high_time"].timestamp() * 1000 == times[highest]
    assert excursions(market, 20 * HOUR).height < found.height


def test_first_lowest__of_windows_of_every_width() -> None:
    rng = np.random.default_rng(1)
    for size in (1, 2, 7, 64, 100):
        values = rng.integers(0, 5, size).astype(float)
        until = np.array([rng.integers(bar + 1, size + 1) for bar in range(size)])
        slow = [bar + int(np.argmin(values[bar:end])) for bar, end in enumerate(until)]
        assert first_lowest(values, until).tolist() == slow


def test_touching__is_the_surface_of_the_same_distance() -> None:
    """A price so far away is touched as often as the leverage whose liquidation price it is gets liquidated."""
    market, rate = random_market(), 0.004
    distance = 1 - (1 - 1 / 10) / (1 - rate)
    touched = touching(market, [distance * (1 - 1e-12)], [DAY], draws=0, seed=0)
    surface = probability_surface(market, one_tier(rate), leverages=[10.0], horizons=[DAY], draws=0, seed=0)
    assert touched["chance"][0] == surface.filter(pl.col("side") == "long")["probability"][0]


def test_critical_leverage__has_the_published_values_and_separates_the_liquidated() -> None:
    falls = {0.5109: 1.95, 0.2999: 3.30, 0.3117: 3.18}
    assert critical_leverage(np.array(list(falls)), 0.004) == pytest.approx(list(falls.values()), abs=0.005)
    short = critical_leverage(0.3, 0.004, "short")
    assert (1 / short - 0.004) / (1 + 0.004) == pytest.approx(0.3)  # the published threshold
    market = random_market(200, 7)
    worst = crashes(market, {"all": (START, START + 400 * DAY)}, maintenance_rate=0.004).row(0, named=True)
    for side, leverage in (("long", worst["long_leverage"]), ("short", worst["short_leverage"])):
        found = lifetimes(
            market, one_tier(), leverages=[leverage * 0.9999, leverage * 1.0001], horizon=worst["horizon"]
        )  # fmt: skip
        assert ((found.bars[side] >= 0).any(axis=1)).tolist() == [False, True]
    with pytest.raises(ArgumentError, match="below 1 for a long"):
        critical_leverage(1.0, 0.004)
    with pytest.raises(ArgumentError, match="rate between 0 and 1"):
        critical_leverage(0.1, 1.5)
    with pytest.raises(DataError, match="no bar opens in nowhere"):
        crashes(market, {"nowhere": (START - 2 * DAY, START - DAY)}, maintenance_rate=0.004)


def test_volatility__is_of_closed_bars_only() -> None:
    market = random_market(200, 9, missing=False)
    known = trailing_volatility(market, 50 * HOUR)
    closes = np.log(market.prices("mark", "close"))
    slow = (
        np.std(np.diff(closes)[99 - 50 : 99], ddof=1) * 24**0.5
    )  # the return into bar 99 is the last closed by 100
    assert known["volatility"][100] == pytest.approx(slow)
    assert known["volatility"][:20].null_count() == 20
    outcomes = market.bars.slice(100, 2).select(
        symbol="symbol", entry_time=pl.col("time") + timedelta(minutes=5), entry_price="open"
    ).with_columns(liquidation_price=pl.col("entry_price") * 0.9)  # fmt: skip
    found = distance_in_days(outcomes, market, 50 * HOUR)
    assert found["distance_days"][0] == pytest.approx(-np.log(0.9) / slow)
    regimes = entry_regime(outcomes, market, 50 * HOUR)
    low, high = np.quantile(known["volatility"].drop_nulls().to_numpy(), [1 / 3, 2 / 3])
    expected = "calm" if slow <= low else "middle" if slow <= high else "turbulent"
    assert regimes["entry_regime"][0] == expected
