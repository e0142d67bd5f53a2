"""Leverage mixes by side: shares of a lognormal law, eras, files, and the books opened with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
from test_standing import START, market, venue

from backtest import population, sweep
from backtest.errors import ArgumentError, DataError
from backtest.population import MixBySide, SideMix, load_mix
from backtest.population.side_mixes import GRID, Era
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.rules.venue import Venue

LONGS, SHORTS = SideMix(12.0, 0.9), SideMix(4.0, 0.5)


def test_shares__are_those_of_a_lognormal_law_between_the_geometric_means() -> None:
    law = NormalDist(np.log(12.0), 0.9)
    shares = LONGS.shares()
    assert shares.sum() == pytest.approx(1.0, abs=1e-12)
    for number, leverage in enumerate(GRID):
        low = law.cdf(np.log(leverage * GRID[number - 1]) / 2) if number else 0.0
        high = law.cdf(np.log(leverage * GRID[number + 1]) / 2) if number + 1 < len(GRID) else 1.0
        assert shares[number] == pytest.approx(high - low, abs=1e-12)


def test_narrow_mix__is_one_leverage() -> None:
    assert SideMix(10.0, 0.01).shares()[GRID.index(10.0)] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "bad", [(0.5, 1.0), (126.0, 1.0), (10.0, 0.0), (10.0, 3.1), (float("nan"), 1.0), ("x", 1.0)]
)
def test_bad_mixes__are_refused(bad: tuple[object, object]) -> None:
    with pytest.raises(ArgumentError, match="must lie from"):
        SideMix(*bad)


def test_one_mix_of_both_sides__gives_the_same_book_as_its_shares_by_leverage() -> None:
    history = market()
    shares = dict(zip(GRID, LONGS.shares().tolist(), strict=True))
    as_shares = {leverage: share / sum(shares.values()) for leverage, share in shares.items()}
    by_side, by_share = (
        population.from_volume(history, venue(), leverage_mix=mix).flows
        for mix in (MixBySide.of(LONGS, LONGS), as_shares)
    )
    amounts = ["opened", "liquidated", "closed", "open_interest"]
    np.testing.assert_allclose(by_side.select(amounts), by_share.select(amounts), rtol=1e-9, atol=1e-9)


def test_each_side__opens_over_its_own_mix_of_its_own_era() -> None:
    history = market()
    change = START + timedelta(hours=100)
    mix = MixBySide.of(LONGS, SHORTS).changed(change, SHORTS, LONGS)
    positions = population.from_volume(history, venue(), leverage_mix=mix).book.positions
    for side, later in ((s, late) for s in ("long", "short") for late in (False, True)):
        own = positions.filter(pl.col("side") == side, (pl.col("entry_time") >= change) == later)
        opened = own.group_by("leverage").agg(pl.sum("weight")).sort("leverage")
        expected = (LONGS if (side == "long") != later else SHORTS).shares()
        np.testing.assert_allclose(opened["weight"] / opened["weight"].sum(), expected, rtol=1e-9)


def capped_venue() -> Venue:
    table = TierTable(name="one", rates=np.full(1, 0.005), max_leverages=np.full(1, 20.0))
    contracts = {"A": Contract(symbol="A", kind="linear", tables=(table,))}
    return Venue(name="one", title="One tier", contracts=contracts)


def test_leverage_asked__stands_beside_what_the_tier_allowed_in_the_book_and_its_outcomes() -> None:
    history = market()
    stood = population.from_volume(history, capped_venue(), leverage_mix=MixBySide.of(LONGS, SHORTS))
    outcomes = sweep(stood.book, history, capped_venue())
    for frame in (stood.book.positions, outcomes):
        assert set(frame["leverage_asked"]) == set(GRID)
        assert frame.select((pl.col("leverage") == pl.min_horizontal("leverage_asked", 20.0)).all()).item()
    notional = stood.book.positions["weight"] * 10_000
    beyond = notional.filter(stood.book.positions["leverage_asked"] > 20).sum() / notional.sum()
    said = next(text for text in stood.book.assumptions if "beyond its tier's limit" in text)
    assert said == f"leverage beyond its tier's limit, lowered to it: {100 * beyond:.3g} % of the notional"
    assert not [text for text in population.from_volume(history, venue()).book.assumptions if "beyond" in text]


def test_file__holds_what_was_saved(tmp_path) -> None:
    eras = (Era(LONGS, SHORTS), Era(SHORTS, LONGS, start=datetime(2021, 7, 27, tzinfo=UTC)))
    mix = MixBySide(eras, 'fitted on "recorded" days\nof one venue')
    mix.save(tmp_path / "mix.toml")
    assert load_mix(tmp_path / "mix.toml") == mix


BAD_FILES = {
    "era = [{long = {typical = 5, spread = 1}}]": "era[0].short: is missing",
    "era = [{long = {typical = 500, spread = 1}, short = {typical = 5, spread = 1}}]": (
        "era[0].long.typical: must lie from 1 to 125 and above 0, is 500.0"
    ),
    "era = [{long = {typical = '5', spread = 1}, short = {typical = 5, spread = 1}}]": (
        "era[0].long.typical: must be a number, is '5'"
    ),
    "provenance = 3\nera = []": "provenance: must be text, is 3",
    "provenance = 'none'": "era: is missing",
    "era = []": "era: must begin each era after the first at a time",
    "eras = []\nera = []": "eras: is not a setting here: there are provenance, era",
    "era = [{long = {typical = 5, spread = 1, mean = 2}, short = {typical = 5, spread = 1}}]": (
        "era[0].long.mean: is not a setting here: there are typical, spread"
    ),
    "era = [{from = 'soon', long = {typical = 5, spread = 1}, short = {typical = 5, spread = 1}}]": (
        "era[0].from: must be a date, is 'soon'"
    ),
    "era = [3]": "era[0]: must be a table, is 3",
    "era = ": "is not a TOML file of leverage mixes: Invalid value",
}


@pytest.mark.parametrize("text", BAD_FILES)
def test_bad_files__are_refused_by_path(tmp_path, text: str) -> None:
    (tmp_path / "mix.toml").write_text(text)
    with pytest.raises(DataError) as caught:
        load_mix(tmp_path / "mix.toml")
    assert BAD_FILES[text] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_eras_out_of_order__are_refused() -> None:
    first, second = datetime(2021, 1, 1, tzinfo=UTC), datetime(2022, 1, 1, tzinfo=UTC)
    for starts in ((second, first), (None, None), (first, first)):
        with pytest.raises(ArgumentError, match="eras must begin each era after the first"):
            MixBySide(tuple(Era(LONGS, SHORTS, start=start) for start in starts))


def test_mix_of_positions__is_that_of_the_book_they_were_drawn_from() -> None:
    mix = MixBySide.of(SideMix(12.0, 0.6), SideMix(5.0, 0.5))
    book = population.from_volume(market(), venue(), leverage_mix=mix).book.positions
    found = MixBySide.of_positions(book.with_columns(pl.col("quantity") * pl.col("weight"))).eras[0]
    for side in ("long", "short"):
        true, own = getattr(mix.eras[0], side), getattr(found, side)
        assert own.typical == pytest.approx(true.typical, rel=0.03)  # laid out on a grid
        assert own.spread == pytest.approx(true.spread, rel=0.1)
    with pytest.raises(DataError, match="must have shorts of different leverages between 1 and 125"):
        MixBySide.of_positions(book.filter(side="long"))
