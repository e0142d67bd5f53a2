"""Heatmaps of others: read as charting front ends write them, scored like our own, or refused."""

from __future__ import annotations

import json
from copy import deepcopy

import numpy as np
import polars as pl
import pytest
from level_cases import market, venue

from backtest import population
from backtest.__main__ import main
from backtest.errors import DataError
from backtest.study.levels import level_grid, without_drift
from backtest.study.levels.evaluation import given_heatmap, hidden_events, score
from backtest.study.levels.export import heatmap_json
from backtest.study.levels.levels import levels

HISTORY = market()
BOOK = population.from_volume(HISTORY, venue()).book
GRID = level_grid(HISTORY, "A", bins=60, columns=240, logarithmic=False)
OURS = levels(without_drift(BOOK, HISTORY, venue()), GRID, survival=BOOK.survival, book=BOOK)
DOCUMENT = heatmap_json(OURS, HISTORY)


@pytest.mark.parametrize("wrap", [lambda found: found, lambda found: {"code": "0", "data": found}])
def test_map__that_we_wrote_is_read_back(wrap) -> None:
    found = given_heatmap(wrap(DOCUMENT), symbol="A", source="ours")
    np.testing.assert_allclose(found.grid.price_edges, GRID.price_edges, rtol=1e-6)
    assert (found.grid.start, found.grid.step, found.grid.columns) == (GRID.start, GRID.step, GRID.columns)
    np.testing.assert_allclose(found.amounts(), OURS.amounts(), atol=0.006)
    assert found.assumptions == ("ours",)


def test_score__of_a_map_that_we_wrote_is_our_own() -> None:
    truth = population.synthetic(HISTORY, venue(), count=3_000, seed=2)
    labels = hidden_events(truth, HISTORY, venue(), "A")
    found = given_heatmap(DOCUMENT, symbol="A")
    names = ["predictor", "bins", "area", "captured", "area_low", "looks"]
    ours, theirs = (score(each, HISTORY, labels, seed=1, draws=19).select(names) for each in (OURS, found))
    same = ours["predictor"] != "shifted"  # takes the sides of cells, which the shape does not say
    assert theirs.filter(same).drop("predictor", "bins").to_numpy() == pytest.approx(
        ours.filter(same).drop("predictor", "bins").to_numpy(), rel=1e-6
    )


def test_stamps_in_milliseconds_and_numbers_as_text__are_read() -> None:
    other = deepcopy(DOCUMENT)
    for candle in other["price_candlesticks"]:
        candle[0] *= 1000
    other["y_axis"] = [str(price) for price in other["y_axis"]]
    found = given_heatmap(other, symbol="A")
    assert found.grid.start == GRID.start
    np.testing.assert_array_equal(found.amounts(), given_heatmap(DOCUMENT, symbol="A").amounts())


def test_cells_given_twice__are_added_up_and_sides_follow_from_the_close() -> None:
    small = {
        "y_axis": [90, 100, 110],
        "liquidation_leverage_data": [[0, 0, 5.0], [0, 0, 2.0], [1, 2, 3.0]],
        "price_candlesticks": [[1_621_382_400, 100, 101, 99, 100, 1], [1_621_386_000, 100, 101, 99, 101, 1]],
    }
    found = given_heatmap(small, symbol="A")
    assert found.amounts("long").tolist() == [[7.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    assert found.amounts("short").tolist() == [[0.0, 0.0], [0.0, 0.0], [0.0, 3.0]]
    assert found.grid.price_edges.tolist() == [85.0, 95.0, 105.0, 115.0]


def changed(**changes: object) -> dict[str, object]:
    return {**DOCUMENT, **changes}


BAD = {
    "lacks y_axis": {k: v for k, v in DOCUMENT.items() if k != "y_axis"},
    "y_axis must be two or more positive prices that rise": changed(y_axis=[2.0, 1.0]),
    "y_axis must hold numbers": changed(y_axis=["a", "b"]),
    "price_candlesticks must be two or more": changed(price_candlesticks=DOCUMENT["price_candlesticks"][:1]),
    "price_candlesticks must be equally far apart: 2 of 2 are not": None,
    "price_candlesticks[0] must be a list, is 3": changed(price_candlesticks=[3]),
    "first [0, 999, 1.0]": changed(liquidation_leverage_data=[[0, 999, 1.0]]),
    "first [0, 0, -1.0]": changed(liquidation_leverage_data=[[0, 0, 1.0], [0, 0, -1.0]]),
    "liquidation_leverage_data[0] must be a column, a price and an amount": changed(
        liquidation_leverage_data=[[0, 0]]
    ),
    "liquidation_leverage_data must hold finite numbers": changed(
        liquidation_leverage_data=[[0, 0, float("nan")]]
    ),
}


@pytest.mark.parametrize("said", BAD)
def test_bad_maps__are_refused_in_one_line(said: str) -> None:
    document = BAD[said]
    if document is None:
        candles = [list(candle) for candle in DOCUMENT["price_candlesticks"][:3]]
        candles[1][0] = candles[0][0]
        document, said = changed(price_candlesticks=candles), "must be equally far apart"
    with pytest.raises(DataError) as caught:
        given_heatmap(document, symbol="A", source="map.json")
    assert said in str(caught.value)
    assert str(caught.value).startswith("map.json")


def test_levels_command__scores_a_given_map_beside_its_own(tmp_path, capsys) -> None:
    HISTORY.bars.with_columns(symbol=pl.lit("BTCUSDT")).write_parquet(tmp_path / "bars.parquet")
    given = tmp_path / "their.json"
    given.write_text(json.dumps({"data": DOCUMENT}))
    words = [
        "levels",
        "--bars",
        str(tmp_path / "bars.parquet"),
        "--formats",
        "parquet",
        "--out",
        str(tmp_path / "o"),
    ]
    assert main([*words, "--hidden-truth", "--score-map", str(given)]) == 0
    assert f"Score of {given} against the same" in capsys.readouterr().out
    found = pl.read_parquet(tmp_path / "o" / "given_score.parquet")
    assert found.filter(predictor="map", bins="touched")["area"][0] > 0.5
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert str(given) in summary["inputs"]
    assert main([*words, "--score-map", str(given)]) == 2
    assert "--score-map needs liquidations to score against: --recorded FILE or" in capsys.readouterr().err
    given.write_text("{")
    assert main([*words, "--hidden-truth", "--score-map", str(given)]) == 2
    assert f"{given} is not a JSON file of a heatmap" in capsys.readouterr().err
    given.write_text("[1]")
    assert main([*words, "--hidden-truth", "--score-map", str(given)]) == 2
    assert "is not a JSON file of a heatmap: it holds no object" in capsys.readouterr().err
