"""The throttle model: published figures, plain-Python sums, and the arrivals it describes, simulated."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from backtest.errors import ArgumentError
from backtest.schemas.frames import Side
from backtest.study.liquidations import feed_throttling
from backtest.study.liquidations.flow import interval

SECONDS, MINUTE = 60, timedelta(minutes=1)
START = datetime(2021, 5, 19, 12, tzinfo=UTC)
DISPERSIONS = (0.0, 0.5, 10.0)


def random_outcomes(rows: int = 600, bars: int = 4, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "symbol": rng.choice(["BTCUSDT", "ETHUSDT"], rows),
            "side": rng.choice(["long", "short"], rows),
            "entry_price": np.full(rows, 100.0),
            "quantity": np.ones(rows),
            "liquidated": rng.uniform(size=rows) < 0.9,
            "outcome_time": [START + MINUTE * int(bar) for bar in rng.integers(0, bars, rows)],
            "fill_notional": rng.lognormal(7, 2, rows).round(2),
            "shortfall": np.zeros(rows),
        },
        schema_overrides={"side": Side, "outcome_time": pl.Datetime("ms", "UTC")},
    )


def one_bar(sizes, weights=None) -> pl.DataFrame:
    rows = random_outcomes(len(sizes), bars=1).with_columns(
        symbol=pl.lit("BTCUSDT"), liquidated=pl.lit(True), fill_notional=pl.Series(sizes, dtype=pl.Float64)
    )
    return rows if weights is None else rows.with_columns(weight=pl.Series(weights, dtype=pl.Float64))


def totals(outcomes: pl.DataFrame, **how) -> dict:
    return feed_throttling.visible(outcomes, ["symbol"], **how).row(0, named=True)


@pytest.mark.parametrize(
    ("rate", "share"), [(0.5, 0.787), (1, 0.632), (2, 0.432), (5, 0.199), (10, 0.100), (50, 0.020)]
)
def test_visible_share__equals_the_published_table(rate, share):
    assert feed_throttling.visible_share(rate) == pytest.approx(share, abs=5e-4)


@pytest.mark.parametrize("dispersion", DISPERSIONS)
def test_visible_share__equals_counts_drawn_from_the_law(dispersion):
    rng, rate, seconds = np.random.default_rng(1), 1.7, 400_000
    each = rng.gamma(rate / dispersion, dispersion, seconds) if dispersion else rate
    counts = rng.poisson(each, seconds)
    assert counts.var() / counts.mean() == pytest.approx(1 + dispersion, rel=0.03)
    error = np.std(counts > 0) / rate / math.sqrt(seconds)
    assert feed_throttling.visible_share(rate, dispersion) == pytest.approx(
        np.mean(counts > 0) / rate, abs=4 * error
    )


def test_visible_share__falls_with_the_rate_and_with_clustering():
    rates = np.geomspace(0.01, 1000, 60)
    shares = np.stack([feed_throttling.visible_share(rates, dispersion) for dispersion in (0.0, 0.1, 1.0, 10.0)])
    assert (np.diff(shares, axis=1) < 0).all()
    assert (np.diff(shares, axis=0) <= 0).all()


def test_visible_share__of_nothing_is_one_a_cluster():
    assert feed_throttling.visible_share(0.0) == 1
    assert feed_throttling.visible_share([0.0, 1e-9], 10.0) == pytest.approx(math.log(11) / 10)


def test_visible_notional_share__equals_the_largest_of_each_simulated_second():
    rng, sizes, seconds = np.random.default_rng(2), np.random.default_rng(3).lognormal(0, 2, 500), 20_000
    for rate, dispersion in ((0.4, 0.0), (3.0, 0.0), (3.0, 10.0)):
        each = rng.gamma(rate / dispersion, dispersion, seconds) if dispersion else np.full(seconds, rate)
        largest = [rng.choice(sizes, count).max(initial=0.0) for count in rng.poisson(each)]
        expected, error = np.mean(largest) / (rate * sizes.mean()), np.std(largest) / (rate * sizes.mean())
        share = feed_throttling.visible_notional_share(rate, sizes, dispersion)
        assert share == pytest.approx(expected, abs=4 * error / math.sqrt(seconds))


@pytest.mark.parametrize("dispersion", DISPERSIONS)
def test_visible_notional_share__of_equal_sizes_is_that_of_the_counts(dispersion):
    rates = np.array([0.0, 0.3, 2.0, 20.0])
    shares = feed_throttling.visible_notional_share(rates, np.full(2_000, 7.0), dispersion)
    assert shares == pytest.approx(feed_throttling.visible_share(rates, dispersion))


def test_implied_rate__of_bybits_share_is_six_a_second():
    assert feed_throttling.implied_rate(feed_throttling.BYBIT_VISIBLE_SHARE) == pytest.approx(6.3, abs=0.05)


@pytest.mark.parametrize("dispersion", DISPERSIONS)
def test_implied_rate__is_the_inverse(dispersion):
    rates = np.geomspace(1e-6, 1e4, 50)
    shares = feed_throttling.visible_share(rates, dispersion)
    assert feed_throttling.implied_rate(shares, dispersion) == pytest.approx(rates, rel=1e-7, abs=1e-9)


def test_implied_rate__is_nan_where_no_rate_shows_so_much():
    found = feed_throttling.implied_rate([1.0, 1.01])
    assert found[0] == pytest.approx(0, abs=1e-12)
    assert np.isnan(found[1])
    assert np.isnan(feed_throttling.implied_rate(0.5, 10.0))


def test_dispersion_of_gaps__makes_clusters_of_the_mean_size():
    dispersion = feed_throttling.dispersion_of_gaps(feed_throttling.GAPS_UNDER_A_SECOND)
    assert math.log1p(dispersion) / dispersion == pytest.approx(0.24)
    assert feed_throttling.dispersion_of_gaps(0) == 0


def test_dispersion_of_gaps__is_recovered_from_simulated_clusters():
    rng, dispersion = np.random.default_rng(4), 10.0
    sizes = rng.logseries(dispersion / (1 + dispersion), 50_000)  # clusters far apart: gaps inside are short
    assert feed_throttling.dispersion_of_gaps(1 - 1 / sizes.mean()) == pytest.approx(dispersion, rel=0.05)


def test_shown__uniform_equals_the_sum_in_plain_python():
    sizes = [500.0, 20.0, 3_000.0, 20.0, 1.0, 800.0]
    silent = 1 - 1 / SECONDS
    largest = sum(size * silent**place for place, size in enumerate(sorted(sizes, reverse=True)))
    count = SECONDS * (1 - silent ** len(sizes))
    by_largest, by_latest = (totals(one_bar(sizes), rule=rule) for rule in ("largest", "latest"))
    assert by_largest["visible_notional"] == pytest.approx(largest, rel=1e-6)
    assert by_latest["visible_notional"] == pytest.approx(sum(sizes) * count / len(sizes), rel=1e-6)
    assert by_largest["visible_count"] == pytest.approx(count, abs=1e-5)
    assert by_latest["visible_count"] == pytest.approx(count, abs=1e-5)


@pytest.mark.parametrize("dispersion", [0.3, 10.0])
def test_shown__clustered_equals_the_urn_in_plain_python(dispersion):
    sizes = np.random.default_rng(5).lognormal(6, 2, 40).round(2)
    in_one = len(sizes) / (SECONDS * dispersion)
    silent, expected = 1.0, []
    for place in range(len(sizes)):
        expected.append(SECONDS * silent * in_one / (SECONDS * in_one + place))
        silent *= 1 - in_one / (SECONDS * in_one + place)
    feed = feed_throttling.shown(one_bar(sizes), rule="largest", dispersion=dispersion)
    assert feed["fill_notional"].to_list() == sizes.tolist()
    by_size = feed.sort("fill_notional", descending=True)
    assert by_size["weight"].to_list() == pytest.approx(expected, abs=1e-7)


def walked(outcomes: pl.DataFrame, rule: str, dispersion: float) -> dict[int, float]:
    """Return what each row shows, feed by feed and row by row; sizes of equal weight may be exchanged."""

    def occupied(orders: float, together: float) -> float:
        if not dispersion:
            return SECONDS * (1 - (1 - 1 / SECONDS) ** orders)
        each = together / (SECONDS * dispersion)
        rest, every = each * (SECONDS - 1), each * SECONDS
        logs = math.lgamma(rest + orders) - math.lgamma(rest) + math.lgamma(every) - math.lgamma(every + orders)
        return SECONDS * (1 - math.exp(logs))

    shown = {}
    rows = outcomes.with_row_index("row").filter("liquidated")
    for _, feed in rows.group_by("symbol", "outcome_time"):
        ordered = sorted(feed.to_dicts(), key=lambda row: (-row["fill_notional"], -row["weight"], row["row"]))
        together, above = sum(row["weight"] for row in ordered), 0.0
        for row in ordered:
            if rule == "latest":
                expected = row["weight"] * occupied(together, together) / together
            else:
                expected = occupied(above + row["weight"], together) - occupied(above, together)
                above += row["weight"]
            shown[row["row"]] = min(max(expected, 0.0), row["weight"])
    return shown


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dispersion", DISPERSIONS)
@pytest.mark.parametrize("rule", feed_throttling.RULES)
def test_shown__equals_walking_feed_by_feed_where_sizes_tie_and_bars_miss(rule, dispersion, seed):
    rng = np.random.default_rng(seed)
    outcomes = random_outcomes(300, bars=9, seed=seed).with_columns(
        fill_notional=pl.Series(rng.choice([1.0, 5.0, 5.5, 70.0], 300)),
        weight=pl.Series(rng.choice([0.25, 1.0, 3.0, 40.0], 300)),
    )
    outcomes = outcomes.filter(pl.col("outcome_time") != START + 4 * MINUTE)
    feed = feed_throttling.shown(outcomes, rule=rule, dispersion=dispersion)
    expected = walked(outcomes, rule, dispersion)
    assert feed.height == len(expected)
    keys = ["symbol", "outcome_time", "fill_notional"]
    gone = outcomes.with_row_index("row").filter("liquidated")
    plain = gone.select(*keys, pl.col("row").replace_strict(expected, return_dtype=pl.Float64).alias("weight"))
    found, told = (
        frame.group_by(keys).agg(pl.sum("weight")).sort(keys)["weight"].to_list() for frame in (feed, plain)
    )
    assert found == pytest.approx(told, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("dispersion", [0.0, 4.0])
def test_shown__equals_simulated_arrivals_inside_the_bar(dispersion):
    rng, runs, sizes = np.random.default_rng(6), 4_000, np.random.default_rng(7).lognormal(0, 1, 90).round(2)
    in_one = len(sizes) / (SECONDS * max(dispersion, 1e-9))
    latest, largest = np.zeros(runs), np.zeros(runs)
    for run in range(runs):
        chances = rng.dirichlet(np.full(SECONDS, in_one)) if dispersion else None
        second = rng.choice(SECONDS, len(sizes), p=chances)
        last, most, arriving = np.zeros(SECONDS), np.zeros(SECONDS), rng.permutation(sizes)
        last[second] = arriving  # the later one stays
        np.maximum.at(most, second, arriving)
        latest[run], largest[run] = last.sum(), most.sum()
    for rule, found in (("latest", latest), ("largest", largest)):
        expected = totals(one_bar(sizes), rule=rule, dispersion=dispersion)["visible_notional"]
        assert expected == pytest.approx(found.mean(), abs=4 * found.std() / math.sqrt(runs))


@pytest.mark.parametrize("dispersion", DISPERSIONS)
@pytest.mark.parametrize("rule", feed_throttling.RULES)
def test_visible__of_a_crowded_bar_is_the_share_at_its_rate(rule, dispersion):
    row = totals(one_bar(np.ones(30_000)), rule=rule, dispersion=dispersion, bar=timedelta(hours=1))
    share = feed_throttling.visible_share(30_000 / 3600, dispersion)
    assert row["count_share"] == pytest.approx(share, rel=1e-3)
    assert row["notional_share"] == pytest.approx(share, rel=1e-3)


@pytest.mark.parametrize("dispersion", DISPERSIONS)
@pytest.mark.parametrize("rule", feed_throttling.RULES)
def test_visible__shows_a_lone_liquidation_whole(rule, dispersion):
    row = totals(one_bar([123.45]), rule=rule, dispersion=dispersion)
    assert row["visible_count"] == pytest.approx(1, abs=1e-6)
    assert row["visible_notional"] == pytest.approx(123.45, abs=1e-4)
    part = totals(one_bar([123.45], [0.01]), rule=rule, dispersion=dispersion)
    assert part["visible_count"] == pytest.approx(0.01, abs=2e-6)


@pytest.mark.parametrize("dispersion", DISPERSIONS)
@pytest.mark.parametrize("rule", feed_throttling.RULES)
def test_visible__counts_a_weight_like_as_many_rows(rule, dispersion):
    sizes = [9.0, 100.0, 35.0]
    weighted = totals(one_bar(sizes, [3, 2, 5]), rule=rule, dispersion=dispersion)
    repeated = totals(one_bar([9.0] * 3 + [100.0] * 2 + [35.0] * 5), rule=rule, dispersion=dispersion)
    assert weighted == pytest.approx(repeated, abs=2e-5)


@pytest.mark.parametrize("dispersion", DISPERSIONS)
def test_visible__largest_shows_more_notional_of_as_many_orders(dispersion):
    outcomes = random_outcomes()
    keys = ["symbol", interval("1m")]
    latest, largest = (
        feed_throttling.visible(outcomes, keys, rule=rule, dispersion=dispersion) for rule in feed_throttling.RULES
    )
    assert (largest["notional_share"] > latest["notional_share"]).all()
    assert largest["count_share"].to_list() == pytest.approx(latest["count_share"].to_list(), abs=1e-5)
    assert latest["notional_share"].to_list() == pytest.approx(latest["count_share"].to_list(), abs=1e-5)
    assert (largest["visible_notional"] < largest["notional"]).all()


def test_visible__clustering_hides_more():
    outcomes = random_outcomes()
    seen = [
        feed_throttling.visible(outcomes, ["symbol"], dispersion=each)["visible_count"] for each in DISPERSIONS
    ]
    assert (seen[0] > seen[1]).all()
    assert (seen[1] > seen[2]).all()


@pytest.mark.parametrize("rule", feed_throttling.RULES)
def test_visible__does_not_depend_on_the_order_of_rows(rule):
    outcomes = random_outcomes().with_columns(weight=pl.int_range(1, pl.len() + 1) * 0.37)
    shuffled = outcomes.sample(fraction=1.0, shuffle=True, seed=8)
    keys = ["symbol", interval("1m"), "side"]
    found, again = (
        feed_throttling.visible(rows, keys, rule=rule, dispersion=3.0) for rows in (outcomes, shuffled)
    )
    assert found.equals(again)


def test_visible__symbols_have_a_feed_each_and_sides_share_it():
    both = one_bar(np.ones(100))
    crowded = totals(both)["visible_count"]
    apart = both.with_columns(symbol=pl.Series(["BTCUSDT", "ETHUSDT"] * 50))
    assert feed_throttling.visible(apart, ["symbol"])["visible_count"].sum() > crowded
    assert feed_throttling.visible(both, ["side"])["visible_count"].sum() == pytest.approx(crowded, abs=1e-4)


def test_visible__of_nothing_liquidated_is_empty():
    outcomes = random_outcomes().with_columns(liquidated=pl.lit(False))
    assert feed_throttling.visible(outcomes, ["symbol"]).is_empty()


def test_curve__holds_both_cases():
    table = feed_throttling.curve([0.5, 1.0], 10.0)
    assert table.columns == ["rate", "uniform", "clustered"]
    assert table["clustered"].to_list() == pytest.approx(list(feed_throttling.visible_share([0.5, 1.0], 10.0)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: feed_throttling.visible_share(-1.0), "rate must be finite and not negative"),
        (lambda: feed_throttling.visible_share(1.0, math.nan), "dispersion must be finite and not negative"),
        (lambda: feed_throttling.implied_rate([0.5, 0.0]), "every rate shows something"),
        (lambda: feed_throttling.dispersion_of_gaps(1.0), "below 1"),
        (lambda: feed_throttling.visible_notional_share(1.0, []), "at least one above zero"),
        (lambda: feed_throttling.shown(random_outcomes(), rule="first"), "rule must be one of latest, largest"),
        (lambda: feed_throttling.shown(random_outcomes(), bar=timedelta(seconds=1)), "at least two"),
        (lambda: feed_throttling.shown(random_outcomes(), bar=timedelta(seconds=2.5)), "whole seconds"),
        (lambda: feed_throttling.shown(random_outcomes(), dispersion=-1.0), "dispersion"),
    ],
)
def test_arguments_that_cannot_be_served__are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
