"""Lifetimes of positions opened at every bar: equal to those positions as rows, in the reference and the sweep."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from random_cases import random_case
from reference import reference_outcomes

from backtest import Book, Market, Venue, sweep
from backtest.engine.sweep.lifetimes import NOT_ALLOWED, SURVIVED, lifetimes
from backtest.errors import ArgumentError, TiersError
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Side

LEVERAGES = (1.0, 3.0, 20.0, 100.0)
START = datetime(2021, 5, 19, tzinfo=UTC)


def rows_for(market: Market, venue: Venue, symbol: str, notional: float) -> pl.DataFrame:
    """Return the positions lifetimes asks about, as rows: by side, leverage and bar."""
    bars = market.bars.filter(pl.col("symbol") == symbol).select("time", price="open")
    kind = venue.contract(symbol).kind
    quantity = {"linear": notional / pl.col("price"), "inverse": notional * pl.col("price")}
    held = (
        pl.DataFrame({"side": ["long", "short"]}, schema={"side": Side})
        .join(pl.DataFrame({"leverage": LEVERAGES}), how="cross")
        .join(bars, how="cross")
    )
    return held.select(
        position_id=pl.int_range(pl.len()),
        symbol=pl.lit(symbol),
        side="side",
        entry_time="time",
        entry_price="price",
        quantity=quantity.get(kind, pl.lit(notional)),
        leverage="leverage",
    )


def bars_of_outcomes(outcomes: pl.DataFrame, times: np.ndarray) -> np.ndarray:
    moments = outcomes["outcome_time"].to_physical().fill_null(0).to_numpy()
    return np.where(outcomes["liquidated"].to_numpy(), np.searchsorted(times, moments), SURVIVED)


def test_lifetimes__equal_the_reference_and_the_sweep_where_positions_are_allowed() -> None:
    rng = np.random.default_rng(11)
    compared = 0
    for _ in range(60):
        case = random_case(rng, 20)
        limit = case.options["gap_limit_ms"]
        gap_limit = None if limit is None else timedelta(milliseconds=limit)
        bars = case.bars.group_by("symbol", maintain_order=True).head(70)
        if (bars["open"] <= 0).any():
            continue
        market = Market(bars, case.funding, gap_limit=gap_limit)
        tiers = case.options["tiers"]
        symbol, notional = str(rng.choice(market.symbols)), float(rng.choice([10.0, 1_000.0, 1e6]))
        held = rows_for(market, case.venue, symbol, notional)
        if isinstance(tiers, dict):
            tiers = {name: table for name, table in tiers.items() if name in market.symbols}
        try:
            found = lifetimes(
                market, case.venue, symbol=symbol, leverages=LEVERAGES, notional=notional, tiers=tiers, threads=2
            )
        except TiersError:
            with pytest.raises(TiersError):
                sweep(Book(held), market, case.venue, tiers=tiers)
            continue
        hits = np.concatenate([found.bars[side].ravel() for side in ("long", "short")])
        allowed = hits != NOT_ALLOWED
        admitted = sweep(Book(held), market, case.venue, tiers=tiers, leverage_limit="filter")
        admitted = admitted.filter(pl.col("outcome") != "rejected")
        assert admitted["position_id"].to_list() == np.flatnonzero(allowed).tolist()
        assert (bars_of_outcomes(admitted, found.times) == hits[allowed]).all()
        few = held.filter(pl.Series(allowed & (rng.random(allowed.size) < 0.25)))
        options = dict(case.options, trigger_price=None, fill_price="liquidation_price", entry_bar="untested")
        options["tiers"] = tiers
        slow = reference_outcomes(few, None, bars, case.funding, case.venue, **options)
        assert (bars_of_outcomes(slow, found.times) == hits[few["position_id"].to_numpy()]).all()
        compared += few.height
    assert compared > 2_000


def minute_market(lows: list[float]) -> Market:
    count = len(lows)
    return Market(
        pl.DataFrame(
            {
                "symbol": ["X"] * count,
                "time": [START + timedelta(minutes=minute) for minute in range(count)],
                "open": [100.0] * count,
                "high": [100.0] * count,
                "low": lows,
                "close": [100.0] * count,
            }
        )
    )


def one_tier(rate: float = 0.01, max_leverage: float = 50.0) -> Venue:
    table = TierTable(name="all", rates=np.array([rate]), max_leverages=np.array([max_leverage]))
    return Venue(name="x", title="x", contracts={}, default=Contract(symbol="X", tables=(table,)))


def test_a_horizon__ends_the_search_before_its_own_moment() -> None:
    market = minute_market([100.0] * 5 + [50.0])
    whole = lifetimes(market, one_tier(), leverages=[10.0])
    assert whole.bars["long"].tolist() == [[5] * 6]
    five = lifetimes(market, one_tier(), leverages=[10.0], horizon=timedelta(minutes=5))
    assert five.bars["long"].tolist() == [[SURVIVED, 5, 5, 5, 5, 5]]


def test_what_the_tier_does_not_allow__is_marked() -> None:
    found = lifetimes(minute_market([100.0, 90.0]), one_tier(), leverages=[50.0, 51.0])
    assert found.bars["long"].tolist() == [[1, 1], [NOT_ALLOWED] * 2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"leverages": []}, "leverages must be numbers of 1 or more"),
        ({"leverages": [0.5]}, "leverages must be numbers of 1 or more"),
        ({"leverages": [2.0], "notional": 0.0}, "notional must be finite and above zero"),
        ({"leverages": [2.0], "horizon": timedelta(0)}, "horizon must be above zero"),
        ({"leverages": [2.0], "symbol": "Y"}, "symbol must be one of the bars' \\(X\\), is 'Y'"),
    ],
)
def test_wrong_questions__are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        lifetimes(minute_market([100.0, 90.0]), one_tier(), **wrong)
