"""What a holder can do: the figures that documents print, and the same on prices."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from account_reference import Moment, is_exempt, members, moments, world_of, worst_prices
from random_accounts import Case, random_case

from backtest import Accounts, Book, Market, Venue, sweep, sweep_accounts
from backtest.engine.accounts.alerts import replay_alerts
from backtest.errors import ArgumentError, DataError
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Side, Time
from backtest.study.holders import hedges, precautions
from backtest.study.holders.alerts import saved, vigilance, worth
from backtest.study.holders.options import stop_against_liquidation, ways

START = datetime(2024, 5, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def ascend() -> tuple[Contract, TierTable]:
    contract = Venue.load("ascend").contract("EVENT")
    return contract, contract.tables[0]


LONG = {"side": 1, "quantity": 1000.0, "entry_price": 0.5, "margin": 100.0}


def test_ways__give_the_figures_of_ascends_document() -> None:
    found = ways(*ascend(), **LONG, price=0.45, added_margin=50.0, lower_leverage=5.0)
    assert found["way"].to_list() == ["as it is", "margin added", "leverage lowered", "reduced"]
    assert found["liquidation_price"].to_list()[:3] == pytest.approx([0.425, 0.375, 0.325])  # 5x: 17.5 points
    assert found["maintenance_margin"].to_list() == pytest.approx([25.0, 25.0, 25.0, 12.5])
    assert found["margin_ratio"][0] == pytest.approx(2.0)  # the document's Caution at 45 %
    assert found["margin_ratio"][3] == pytest.approx(4.0)  # 50 of equity against 12.5: it improves


def test_stop_against_liquidation__gives_the_documents_table() -> None:
    found = stop_against_liquidation(*ascend(), **LONG, stop_price=0.45, slippage=0.02, penalty_rate=0.01)
    assert found.select("way", "set_by").rows() == [
        ("liquidation", "venue"),
        ("stop as intended", "holder"),
        ("stop as filled", "holder"),
        ("stop that failed", "venue"),
    ]
    assert found["price"].to_list() == pytest.approx([0.425, 0.45, 0.45, 0.425])
    assert found["loss"].to_list() == pytest.approx([75.0, 50.0, 59.0, 75.0])
    assert found["penalty"].to_list() == pytest.approx([10.0, 0.0, 0.0, 10.0])
    assert found["remaining_margin"].to_list() == pytest.approx([15.0, 50.0, 41.0, 15.0])


def test_stop_against_liquidation__refuses_a_stop_beyond_the_liquidation_price() -> None:
    with pytest.raises(
        ArgumentError, match=r"stop_price must lie between the entry price 0.5 and .* 0.425, is 0.4"
    ):
        stop_against_liquidation(*ascend(), **LONG, stop_price=0.4)


def falling(prices: list[float]) -> Market:
    times = pl.Series([START + MINUTE * bar for bar in range(len(prices))]).cast(Time)
    opening = [prices[0], *prices[:-1]]
    return Market(
        pl.DataFrame(
            {
                "symbol": ["X"] * len(prices),
                "time": times,
                "open": opening,
                "high": [max(pair) for pair in zip(opening, prices, strict=True)],
                "low": [min(pair) for pair in zip(opening, prices, strict=True)],
                "close": prices,
            }
        )
    )


def venue(rate: float = 0.1, **contract: object) -> Venue:
    one = Contract(symbol="X", tables=(TierTable(name="t", rates=[rate]),), **{"basis": "entry", **contract})  # type: ignore[arg-type]
    return Venue(name="hand", title="By hand", contracts={"X": one})


def positions(count: int, **columns: object) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "position_id": np.arange(count),
            "symbol": ["X"] * count,
            "side": pl.Series(["long"] * count).cast(Side),
            "entry_time": pl.Series([START] * count).cast(Time),
            "entry_price": [100.0] * count,
            "quantity": [1.0] * count,
        }
    ).with_columns(**columns)


def test_compared__every_way_saves_those_it_should() -> None:
    book = Book(positions(3, leverage=pl.Series([2.0, 4.0, 10.0])))
    market = falling([100.0, 95.0, 84.0, 84.0])  # 4x is liquidated at 85, 2x at 60
    changes = {
        "margin doubled": precautions.adding_margin(1.0),
        "leverage halved": precautions.lowering_leverage(2.0),
        "half of it": precautions.reducing(0.5),
        "stop at 96": precautions.stopping(pl.Series([96.0, 96.0, None])),
    }
    found = precautions.compared(book, market, venue(), changes)
    assert found["liquidated"].to_list() == [2, 1, 1, 1, 1]
    assert found["stopped"].to_list() == [0, 0, 0, 0, 2]
    assert found["margin"].to_list() == pytest.approx([85.0, 170.0, 170.0, 85.0, 85.0])


def test_stopped__tells_intended_filled_and_failed() -> None:
    book = Book(positions(200, leverage=pl.lit(4.0)))
    market = falling([100.0, 80.0])
    rng = np.random.default_rng(4)
    found = precautions.stopped(book, market, venue(), distance=0.5, slippage=0.01, failing=0.25, rng=rng)
    failed = found["failed"]
    assert 30 < failed.sum() < 70
    assert found.filter(failed).select(pl.col("outcome").unique())["outcome"].to_list() == ["liquidated"]
    kept = found.filter(~failed)
    assert (kept["outcome"] == "stopped").all()
    assert kept["stop_price"].unique().to_list() == [92.5]  # half the way from 100 to 85
    assert kept["fill_price"].unique().to_list() == pytest.approx([92.5 * 0.99])
    assert kept["realised_pnl"].unique().to_list() == pytest.approx([92.5 * 0.99 - 100])
    assert (found["outcome_without"] == "liquidated").all()


def test_stopped__refuses_shares_beyond_one_and_books_that_lose_rows() -> None:
    book, market, rng = Book(positions(2, leverage=pl.lit(4.0))), falling([100.0, 80.0]), np.random.default_rng(1)
    with pytest.raises(ArgumentError, match=r"distance must lie between 0 and 1, is 1\.0"):
        precautions.stopped(book, market, venue(), distance=1.0, rng=rng)
    with pytest.raises(ArgumentError, match="leverage_limit must not be filter"):
        precautions.stopped(book, market, venue(), distance=0.5, rng=rng, leverage_limit="filter")


def test_pairs__hedged_in_one_coin_survive_in_cross_margin_and_lose_a_leg_in_isolated() -> None:
    market = falling([100.0, 100.0, 100.0, 70.0, 100.0, 130.0, 130.0])
    two = pl.concat([market.bars, market.bars.with_columns(symbol=pl.lit("Y"))])
    market = Market(two)
    rules = Venue(name="any", title="Any", contracts={}, default=venue().contract("X"))
    window = {"start": START, "end": START + 2 * MINUTE, "until": START + 6 * MINUTE}
    rng = np.random.default_rng(2)
    of = hedges.pairs(market, **window, count=30, leverage=8.0, rng=rng, same_symbol=True)
    assert of.positions["margin"].sum() == pytest.approx(of.accounts.accounts["wallet"].sum())
    assert (of.positions.group_by("pair").agg(pl.col("symbol").n_unique())["symbol"] == 1).all()
    row = hedges.liquidated(of, market, rules).row(0, named=True)
    assert (row["isolated"], row["isolated_both"], row["most"]) == (1.0, 1.0, 0.0)
    apart = hedges.pairs(market, **window, count=30, leverage=8.0, rng=rng)
    assert (apart.positions.group_by("pair").agg(pl.col("symbol").n_unique())["symbol"] == 2).all()
    row = hedges.liquidated(apart, market, rules).row(0, named=True)
    assert row["least"] <= row["common"] <= row["most"] <= 1.0
    in_coin = replace(rules, default=replace(rules.default, kind="inverse"))
    with pytest.raises(ArgumentError, match="sizes of pairs are those of linear contracts"):
        hedges.liquidated(apart, market, in_coin)
    late = {"start": START + 60 * MINUTE, "end": START + 61 * MINUTE, "until": START + 62 * MINUTE}
    with pytest.raises(ArgumentError, match="pairs need two symbols with bars"):
        hedges.pairs(market, **late, count=3, leverage=8.0, rng=rng)


def test_isolated__accounts_are_liquidated_as_their_positions_are() -> None:
    rng = np.random.default_rng(8)
    prices = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.02, 300))) * 64) / 64
    market = falling(prices.tolist())
    held = positions(200, margin=pl.Series(rng.integers(4, 60, 200) * 0.5)).with_columns(
        side=pl.Series(["long", "short"] * 100).cast(Side)
    )
    for rules in (venue(), venue(basis="mark"), venue(basis="mark", trigger="<")):
        opened = sweep(Book(held), market, rules)["outcome"] != "rejected"  # which accounts are not
        swept = sweep(Book(held.filter(opened)), market, rules)
        accounts = sweep_accounts(Accounts.isolated(held.filter(opened)), market, rules)
        assert accounts.accounts["outcome_time"].equals(swept["outcome_time"])
        assert accounts.accounts["outcome"].equals(swept["outcome"])
    with pytest.raises(DataError, match="positions need a column margin"):
        Accounts.isolated(held.drop("margin"))


def test_alerts__come_at_the_ratio_and_at_most_every_half_hour() -> None:
    prices = [100.0] * 10 + [88.0] * 100 + [84.0] * 5 + [70.0]
    book = positions(1, margin=pl.lit(24.0))  # equity 24 at 100; 10 needed: alert at 12.5, below 88.5
    found = replay_alerts(Accounts.isolated(book), falling(prices), venue(), ratio=0.8)
    row = found.row(0, named=True)
    assert row["outcome"] == "liquidated"
    assert row["first_alert"] == START + 10 * MINUTE
    assert row["outcome_time"] == START + 110 * MINUTE
    assert row["alerts"] == 4  # at 10, 40, 70 and 100
    assert row["last_alert"] == START + 100 * MINUTE
    assert row["warning"] == 99 * MINUTE
    assert saved(found, [99 * MINUTE, 100 * MINUTE])["saved"].to_list() == [1, 0]


def test_alerts__equal_a_walk_bar_by_bar() -> None:
    given = 0
    for seed in range(12):
        case = random_case(np.random.default_rng([21, seed]), 30)
        shared = {name: case.options[name] for name in ("profit", "hedged", "convention")}
        limit = case.options["gap_limit_ms"]
        market = Market(
            case.bars, case.funding, gap_limit=None if limit is None else timedelta(milliseconds=limit)
        )
        rules = case.venue.with_(trigger="<=")
        found = replay_alerts(
            Accounts(**case.frames), market, rules, ratio=0.5, quiet=timedelta(minutes=3), **shared
        )
        expected = walked(case, rules, 2.0, 3)
        assert found["alerts"].to_list() == [len(bars) for bars in expected]
        times = market_times(case)
        assert found["first_alert"].to_list() == [times[bars[0]] if bars else None for bars in expected]
        assert found["last_alert"].to_list() == [times[bars[-1]] if bars else None for bars in expected]
        given += sum(len(bars) for bars in expected)
    assert given > 200


def market_times(case: Case) -> list[datetime]:
    first, last = case.bars["time"].min(), case.bars["time"].max()
    return [first + MINUTE * bar for bar in range((last - first) // MINUTE + 1)]


def walked(case: Case, rules: Venue, demand: float, quiet: int) -> list[list[int]]:
    """Return the bars in which each account is alerted, every bar of its life looked at in turn."""
    options = dict(case.options)
    convention = options.pop("convention")
    frames, bars, funding = case.frames, case.bars, case.funding
    worlds = [world_of(frames, bars, funding, rules, **options, demand=times) for times in (1.0, demand)]
    found = []
    lives = (list(members(frames, world)) for world in worlds)
    for (account, *own), (_, *same) in zip(*lives, strict=True):
        wallet = account["wallet"] - account.get("order_margin", 0.0)
        own_moments = moments(*own, wallet, worlds[0])
        alerted, free = [], 0
        for moment, watched in zip(own_moments, moments(*same, wallet, worlds[1]), strict=True):
            if moment.state is None:
                continue
            if watched.bar >= free and is_used_up(watched, worlds[1], convention):
                alerted.append(watched.bar)
                free = watched.bar + quiet
            if is_used_up(moment, worlds[0], convention):
                break
        found.append(alerted)
    return found


def is_used_up(moment: Moment, world: dict[str, Any], convention: str) -> bool:
    state, bar = moment.state, moment.bar
    if is_exempt(state, world):
        return False
    return any(worst_prices(state, world["grid"], bar, convention, view).V <= 0 for view in state.views())


def test_worth__counts_who_was_warned_and_who_in_vain() -> None:
    times = pl.Series([START, START, START, None]).cast(Time)
    replayed = pl.DataFrame(
        {
            "outcome": ["liquidated", "liquidated", "open", "open"],
            "outcome_time": pl.Series([START + 11 * MINUTE, START, None, None]).cast(Time),
            "alerts": [2, 1, 3, 0],
            "first_alert": times,
            "warning": pl.Series([10 * MINUTE, timedelta(0), None, None]).cast(pl.Duration("ms")),
        }
    )
    row = worth(replayed).row(0, named=True)
    assert (row["accounts"], row["alerts"], row["alerted"], row["liquidated"]) == (4, 6, 3, 2)
    assert (row["warned"], row["in_vain"]) == (1, 1)
    assert row["warned_share"] == 0.5
    assert row["in_vain_share"] == pytest.approx(1 / 3)
    assert saved(replayed, [timedelta(0), 5 * MINUTE])["saved_share"].to_list() == [1.0, 0.5]
    assert vigilance({0.8: replayed, 0.9: replayed})["ratio"].to_list() == [0.8, 0.9]
