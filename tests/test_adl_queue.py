"""The ADL queue before anything happens: the order in which a replay then hits counterparties, in fifths."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from test_replay import NOON, book, market, plain_venue

from backtest import Venue, replay
from backtest.__main__ import main
from backtest.errors import ArgumentError
from backtest.kernel.choices import AdlRank
from backtest.rules import TierTable
from backtest.study.holders import adl_queue
from backtest.study.holders.deleveraging import UNRANKED

RANKS = ("profit_leverage", "binance", "bitmex", "size", "top_ten", "water_filling")


def test_every_rank__is_scored_here_or_declared_to_have_no_order() -> None:
    assert sorted((*RANKS, *UNRANKED)) == sorted(AdlRank.names())


def shorts(count: int, seed: int = 1) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [
        {"side": "short", "entry_price": float(rng.uniform(45_000, 60_000)),
         "quantity": float(rng.uniform(0.1, 2)), "margin": float(rng.uniform(2_000, 60_000))}
        for _ in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("rank", RANKS)
def test_queue__is_the_order_and_the_score_of_a_replay(rank: str):
    venue = plain_venue(0.01, adl_rank=rank, adl_price="mark", takeover_price="bankruptcy")
    for seed in range(5):
        held = book({"entry_price": 50_000.0, "quantity": 2.5, "margin": 5_000.0}, *shorts(12, seed))
        path = market((50_000, 50_000, 50_000, 50_000), (42_500, 42_500, 42_500, 42_500))
        hit = replay(held, path, venue, fund=0.0).adl
        queue = adl_queue(held, venue, {"BTCUSDT": 42_500.0}).filter(pl.col("adl_place").is_not_null())
        queue = queue.filter(side="short").sort("adl_place")
        assert hit.height > 0
        own = dict(queue.select("position_id", "adl_score").iter_rows())
        assert [own[each] for each in hit["counterparty_id"]] == pytest.approx(hit["score"].to_list(), rel=1e-6)
        if rank not in ("top_ten", "water_filling"):  # these share among several
            assert hit["counterparty_id"].to_list() == queue["position_id"].to_list()[: hit.height]


def test_lights__are_fifths_of_a_queue_by_weight_and_none_for_losers():
    rows = [
        {"side": "short", "entry_price": 50_000.0 + 100 * n, "quantity": 1.0, "margin": 10_000.0}
        for n in range(10)
    ]
    loser = {"side": "short", "entry_price": 30_000.0, "quantity": 1.0, "margin": 20_000.0}
    venue = plain_venue(0.01, adl_rank="profit_leverage")
    found = adl_queue(book(*rows, loser), venue, {"BTCUSDT": 40_000.0})
    assert found["adl_lights"].to_list() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 0]
    assert found["adl_place"].to_list() == [*range(10, 0, -1), None]
    assert found["adl_score"][10] is None
    weighted = book(*rows).positions.with_columns(weight=pl.Series([1.0] * 9 + [9.0]))
    lights = adl_queue(weighted, venue, {"BTCUSDT": 40_000.0})["adl_lights"].to_list()
    assert lights == [1, 1, 1, 2, 2, 2, 2, 3, 3, 5]
    same = book(*[rows[0]] * 3)
    assert adl_queue(same, venue, {"BTCUSDT": 40_000.0})["adl_place"].to_list() == [1, 2, 3]
    for rank in UNRANKED:
        none = adl_queue(book(*rows), plain_venue(0.01, adl_rank=rank), {"BTCUSDT": 40_000.0})
        assert none["adl_lights"].null_count() == none["adl_place"].null_count() == 10
    lost = plain_venue(0.01, adl_rank="bitmex", adl_profit_required=False)
    assert adl_queue(book(*rows, loser), lost, {"BTCUSDT": 40_000.0})["adl_place"][10] == 11


def test_margins__follow_from_leverage_where_there_is_none():
    rows = [{"side": "short", "entry_price": 50_000.0, "quantity": 1.0, "leverage": 5.0}]
    found = adl_queue(book(*rows), plain_venue(0.01, adl_rank="binance"), {"BTCUSDT": 40_000.0})
    assert found["equity"].to_list() == [20_000.0]
    assert found["adl_score"][0] == pytest.approx(1.0 * 400 / 20_000)
    table = TierTable(name="by leverage", model="leverage", rate_factor=0.5)
    keyed = plain_venue(0.01, adl_rank="binance", tables=(table,))
    found = adl_queue(book(*rows), keyed, {"BTCUSDT": 40_000.0})
    assert found["adl_score"][0] == pytest.approx(1.0 * (0.1 * 40_000) / 20_000)


def test_bad_prices__are_refused():
    held = book(*shorts(2))
    with pytest.raises(ArgumentError, match="prices must hold every symbol of the book: BTCUSDT is missing"):
        adl_queue(held, plain_venue(), {})
    with pytest.raises(ArgumentError, match="prices of BTCUSDT must be above zero, is 0"):
        adl_queue(held, plain_venue(), {"BTCUSDT": 0.0})


def test_price__prints_the_place_among_positions_of_a_file(capsys, tmp_path):
    path = tmp_path / "positions.parquet"
    frame = book(*shorts(20)).positions.with_columns(entry_time=pl.lit(NOON).cast(pl.Datetime("ms", "UTC")))
    frame.with_columns(weight=pl.lit(1.0)).write_parquet(path)
    words = "price --venue binance"
    words += " --side short --entry-price 50000 --quantity 1 --leverage 20 --date 2021-05-19"
    assert main([*words.split(), "--positions", str(path), "--mark", "BTCUSDT=49000"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    others = frame.select("position_id", "symbol", "side", "entry_time", "entry_price", "quantity", "margin")
    own = {"position_id": [99], "symbol": ["BTCUSDT"], "side": ["short"], "entry_time": [NOON],
           "entry_price": [50_000.0], "quantity": [1.0], "margin": [2_500.0]}  # fmt: skip
    both = pl.concat([others, pl.DataFrame(own, schema=others.schema)])
    row = adl_queue(both, Venue.load("binance"), {"BTCUSDT": 49_000.0}, tiers="nearest").row(-1, named=True)
    assert f"{row['adl_lights']} of 5 lights at 49,000: place {row['adl_place']} of " in text
    assert main([*words.split(), "--positions", str(path)]) == 0
    assert "no light at 50,000" in capsys.readouterr().out
    assert main([*words.split(), "--positions", str(path), "--mark", "ETHUSDT=1"]) == 2
    assert "--mark must be of BTCUSDT, is of ETHUSDT" in capsys.readouterr().err
