"""Amplification: closed forms, the chain of rounds in plain Python, and what removing a flow leaves."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from backtest.errors import ArgumentError, DataError
from backtest.study.liquidations import without_liquidations
from backtest.study.liquidations.without_liquidations import Impact
from backtest.study.prediction import amplification

START = datetime(2021, 5, 19, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TIME = pl.Datetime("ms", "UTC")
WIDTH = 10.0


def levels(notional, first: int = 0) -> pl.DataFrame:
    edges = WIDTH * (first + np.arange(len(notional)))
    return pl.DataFrame({"price_bin": edges, "notional": np.asarray(notional, float)})


def uniform(ratio: float, depth: float = 5_000.0, bins: int = 4_000) -> pl.DataFrame:
    return levels(np.full(bins, ratio * depth * WIDTH))


def march(frame: pl.DataFrame, shocks, *, price=20_000.0, side=1, depth=5_000.0) -> pl.DataFrame:
    book = depth if isinstance(depth, pl.Expr | pl.DataFrame) else amplification.constant_depth(depth)
    return amplification.march(frame, shocks, price=price, side=side, width=WIDTH, depth=book, exogenous=True)


def rounds(waiting: dict[int, float], *, price: float, shock: float, depth: float, side: int) -> float:
    """Follow the chain in plain Python: each round's liquidations move the price, which liquidates more."""

    def liquidated(top: float, bottom: float) -> float:
        overlaps = (
            (number, max(0.0, min(top, (number + 1) * WIDTH) - max(bottom, number * WIDTH))) for number in waiting
        )
        return sum(waiting[number] * overlap / WIDTH for number, overlap in overlaps)

    move, step = 0.0, shock
    while step > 1e-12:
        ends = sorted((price - side * move, price - side * (move + step)))
        move, step = move + step, liquidated(ends[1], ends[0]) / depth
    return move


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.8, 0.9])
@pytest.mark.parametrize("side", [1, -1])
def test_march__of_uniform_levels_and_linear_impact_is_one_over_one_less_r(ratio, side):
    row = march(uniform(ratio), [100.0, 777.7], side=side, price=20_003.0)
    assert row["amplification"].to_list() == pytest.approx([1 / (1 - ratio)] * 2)
    assert row["move"].to_list() == pytest.approx([100 / (1 - ratio), 777.7 / (1 - ratio)])
    assert row["liquidated_notional"].to_list() == pytest.approx((row["move"] * ratio * 5_000).to_list())
    assert row["stop_price"].to_list() == pytest.approx((20_003.0 - side * row["move"]).to_list())


@pytest.mark.parametrize("ratio", [0.0, 0.2, 0.5, 0.8, 0.9])
def test_by_level__amplifies_by_one_over_one_less_r(ratio):
    row = amplification.by_level(uniform(ratio, bins=1), width=WIDTH, depth=amplification.constant_depth(5_000.0))
    assert row["ratio"].item() == pytest.approx(ratio)
    assert row["amplification"].item() == pytest.approx(1 / (1 - ratio))
    assert not row["runaway"].item()


@pytest.mark.parametrize("ratio", [1.0, 1.5, 40.0])
def test_a_ratio_of_one_or_more__is_a_runaway_without_a_number(ratio):
    depth = amplification.constant_depth(4_096.0)
    row = amplification.by_level(uniform(ratio, 4_096.0, bins=1), width=WIDTH, depth=depth)
    assert row["runaway"].item()
    assert row["amplification"].item() is None
    marched = march(uniform(ratio, 4_096.0), [1.0], depth=4_096.0).row(0, named=True)
    assert marched["runaway"]
    assert [marched[name] for name in ("move", "stop_price", "amplification", "liquidated_notional")] == [None] * 4


def test_march__passes_a_cluster_denser_than_the_book_and_stops_beyond():
    crowd = {1_990: 4_000.0 * WIDTH}  # four times the book, in one bin
    frame = levels([4_000.0 * WIDTH], first=1_990)
    row = march(frame, [95.0, 100.0], depth=1_000.0).row(1, named=True)
    assert not row["runaway"]
    assert row["move"] == pytest.approx(100 + 4 * WIDTH)
    assert row["move"] == pytest.approx(rounds(crowd, price=20_000.0, shock=100.0, depth=1_000.0, side=1))


@pytest.mark.parametrize("side", [1, -1])
def test_march__equals_the_chain_of_rounds_in_plain_python(side):
    notional = np.random.default_rng(0).lognormal(9, 1, 4_000)
    waiting, frame = dict(enumerate(notional)), levels(notional)
    for shock, found in (
        march(frame, [3.0, 40.0, 250.0], side=side, price=20_004.0).select("shock", "move").iter_rows()
    ):
        near = {number: waiting[number] for number in range(1_900, 2_101)}
        assert found == pytest.approx(rounds(near, price=20_004.0, shock=shock, depth=5_000.0, side=side))


def test_march__carries_further_the_thinner_the_book():
    frame = levels(np.random.default_rng(1).lognormal(9, 1, 4_000))
    moves = [march(frame, [200.0], depth=depth)["move"].item() for depth in (50_000.0, 20_000.0, 8_000.0, 4_000.0)]
    assert moves == sorted(moves)
    assert moves[0] > 200


def test_march__without_levels_is_the_shock():
    assert march(levels([]), [100.0], depth=amplification.relative_depth(5.0))[
        "amplification"
    ].item() == pytest.approx(1)


def test_march__takes_only_the_side_that_is_liquidated():
    both = pl.concat([uniform(0.5).with_columns(side=pl.lit(side)) for side in ("long", "short")])
    assert march(both, [100.0])["amplification"].item() == pytest.approx(2)


def test_relative_depth__moves_by_the_basis_points_it_says():
    depth = amplification.relative_depth(25.0)
    row = amplification.by_level(levels([10e6], first=500), width=WIDTH, depth=depth).row(0, named=True)
    assert 1e6 / row["depth"] == pytest.approx(25e-4 * 5_005)
    assert row["runaway"]  # 13 March 2020: $1 m for 25 basis points, $10 m to liquidate


def test_a_depth_curve__is_read_along_straight_lines():
    curve = pl.DataFrame({"price": [30_000.0, 10_000.0], "depth": [3_000.0, 1_000.0]})
    frame = levels([1.0, 1.0, 1.0], first=1_999)
    found = amplification.by_level(frame, width=WIDTH, depth=curve)["depth"].to_list()
    assert found == pytest.approx([1_999.5, 2_000.5, 2_001.5])
    flat = pl.DataFrame({"price": [1.0, 2.0], "depth": [5_000.0, 5_000.0]})
    assert march(uniform(0.8), [50.0], depth=flat)["amplification"].item() == pytest.approx(5)


def test_march__refuses_a_move_that_is_not_declared_exogenous():
    with pytest.raises(ArgumentError, match="already contains its cascade"):
        amplification.march(
            uniform(0.5), [1.0], price=100.0, side=1, width=WIDTH, depth=amplification.constant_depth(1.0)
        )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: march(uniform(0.5), [0.0]), ArgumentError, "shock must be finite and above zero"),
        (lambda: march(uniform(0.5), [20_000.0]), ArgumentError, "shock must be smaller"),
        (lambda: march(uniform(0.5), [1.0], side=0), ArgumentError, "side must be"),
        (lambda: march(levels([-1.0]), [1.0]), DataError, "notional must be finite"),
        (lambda: march(levels([1.0]), [1.0], price=math.nan), ArgumentError, "price must be"),
        (lambda: amplification.constant_depth(0.0), ArgumentError, "notional must be"),
        (lambda: amplification.relative_depth(-1.0), ArgumentError, "basis_points_per_million"),
        (
            lambda: march(levels([1.0]), [1.0], depth=pl.DataFrame({"price": [1.0], "depth": [0.0]})),
            DataError,
            "depth must be finite and above zero",
        ),
        (lambda: Impact(-1.0), ArgumentError, "basis_points must be"),
        (lambda: Impact(1.0, 2.0), ArgumentError, "power must lie"),
        (lambda: Impact(1.0, permanent=2.0), ArgumentError, "permanent must be"),
        (lambda: Impact(1.0, permanent=0.5), ArgumentError, "half_life must be"),
    ],
)
def test_what_cannot_be_served__is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def history(rows: int = 300, seed: int = 2) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    close = 40_000 * np.exp(np.cumsum(rng.normal(-5e-4, 5e-3, rows)))
    return pl.DataFrame(
        {"time": [START + MINUTE * row for row in range(rows)], "close": close}, schema_overrides={"time": TIME}
    )


def liquidations(rows: int = 300, seed: int = 3, short: float = 0.2) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    sides = {"long_notional": rng.lognormal(13, 2, rows), "short_notional": short * rng.lognormal(13, 2, rows)}
    return history(rows).select("time").with_columns(**{name: pl.Series(each) for name, each in sides.items()})


IMPACTS = {
    "linear": Impact(3.0),
    "fading": Impact(3.0, permanent=0.3, half_life=timedelta(minutes=20)),
    "gone": Impact(3.0, permanent=0.0, half_life=timedelta(minutes=20)),
    "root": Impact(20.0, 0.5, permanent=0.5, half_life=HOUR),
}


@pytest.mark.parametrize("name", IMPACTS)
def test_paths__equal_plain_python(name):
    bars, flow, impact = history(), liquidations(), IMPACTS[name]
    found = without_liquidations.paths(bars, flow, {name: impact})[name].to_list()
    bought = (flow["short_notional"] - flow["long_notional"]).to_list()
    kept = 1.0 if impact.half_life is None else 0.5 ** (MINUTE / impact.half_life)
    lasting = fading = 0.0
    for row, close in enumerate(bars["close"]):
        lasting, fading = lasting + bought[row], fading * kept + bought[row]
        left = impact.permanent * lasting + (1 - impact.permanent) * fading
        moved = math.copysign(impact.basis_points * 1e-4 * (abs(left) / 1e6) ** impact.power, left)
        assert found[row] == pytest.approx(close * math.exp(-moved))


@pytest.mark.parametrize("impacts", [IMPACTS, without_liquidations.IMPACTS])
def test_paths__without_any_flow_are_the_history_exactly(impacts):
    bars = history()
    nothing = liquidations().with_columns(long_notional=0.0, short_notional=0.0)
    table = without_liquidations.paths(bars, nothing, impacts)
    for name in impacts:
        assert table[name].to_list() == bars["close"].to_list()
    assert without_liquidations.endogenous_share(table)["endogenous_share"].to_list() == [0.0] * len(impacts)


def test_paths__lie_above_the_history_where_longs_went_and_below_where_shorts_did():
    bars, flow = history(), liquidations(short=0.0)
    above = without_liquidations.paths(bars, flow)
    below = without_liquidations.paths(
        bars, flow.rename({"long_notional": "short_notional", "short_notional": "long_notional"})
    )
    for name in without_liquidations.IMPACTS:
        assert (above[name] > above["history"]).all()
        assert (below[name] < below["history"]).all()
        assert (above[name] * below[name]).to_list() == pytest.approx((above["history"] ** 2).to_list())


def test_endogenous_share__grows_with_the_impact_where_only_longs_went():
    impacts = {str(points): Impact(points) for points in (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 25.0)}
    shares = without_liquidations.endogenous_share(
        without_liquidations.paths(history(), liquidations(short=0.0), impacts)
    )
    assert (shares["endogenous_share"].diff().drop_nulls() > 0).all()
    assert shares["endogenous_share"][0] == 0


def test_endogenous_share__equals_plain_python():
    table = without_liquidations.paths(history(), liquidations(), IMPACTS)

    def fall(prices) -> float:
        return max(1 - later / earlier for place, earlier in enumerate(prices) for later in prices[place:])

    whole = fall(table["history"].to_list())
    for row in without_liquidations.endogenous_share(table).iter_rows(named=True):
        without = fall(table[row["impact"]].to_list())
        assert row["drawdown"] == pytest.approx(whole)
        assert row["drawdown_removed"] == pytest.approx(without)
        assert row["endogenous_share"] == pytest.approx(1 - without / whole)


def test_endogenous_share__of_a_history_that_never_fell_is_nan():
    rising = history().with_columns(close=pl.int_range(1, pl.len() + 1).cast(pl.Float64))
    nothing = liquidations().with_columns(long_notional=0.0, short_notional=0.0)
    shares = without_liquidations.endogenous_share(without_liquidations.paths(rising, nothing))
    assert shares["endogenous_share"].is_nan().all()


def test_square_root__moves_by_the_published_basis_points():
    impact = without_liquidations.square_root(daily_volatility=0.05, daily_notional=60e9)
    table = pl.DataFrame({"bought": [1e6, 9e6, 90e6, 900e6]})
    moved = table.select(impact.log_price(pl.col("bought"), MINUTE)).to_series() * 1e4
    assert moved.to_list() == pytest.approx([1.8, 5.8, 18, 58], rel=0.03)


def test_paths__need_an_interval_for_every_bar():
    with pytest.raises(DataError, match="an interval for the time of every bar: 100 have none"):
        without_liquidations.paths(history(), liquidations().head(200))


def test_paths__leave_out_bars_that_are_missing():
    bars = history().filter(pl.int_range(pl.len()) % 7 != 0)
    whole, part = (without_liquidations.paths(rows, liquidations(), IMPACTS) for rows in (history(), bars))
    assert part.equals(whole.join(bars.select("time"), on="time", how="semi", maintain_order="left"))
