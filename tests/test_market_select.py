"""Parts of a market, and a market without funding or with a last price, keep everything else."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from scale_cases import made_market

from backtest import Market
from backtest.errors import ArgumentError, DataError
from backtest.study.liquidations import flow

WHOLE = made_market(np.random.default_rng(0))
MARKET = Market(WHOLE.bars, WHOLE.funding, gap_limit=timedelta(hours=2), description="made")


@pytest.mark.parametrize(
    "changed",
    [MARKET.select(MARKET.symbols[:1]), MARKET.without_funding(), MARKET.with_last_price()],
    ids=["select", "without_funding", "with_last_price"],
)
def test_changed_market__keeps_description_and_gap_limit(changed: Market) -> None:
    assert (changed.description, changed.gap_limit) == ("made", timedelta(hours=2))


def test_select__keeps_bars_that_open_in_the_window_and_funding_of_its_symbols() -> None:
    symbol, start, end = MARKET.symbols[0], MARKET.bars["time"][5], MARKET.bars["time"][20]
    found = MARKET.select([symbol], start, end)
    inside = (pl.col("symbol") == symbol) & (pl.col("time") >= start) & (pl.col("time") < end)
    assert found.bars.equals(MARKET.bars.filter(inside))
    assert found.funding is not None
    assert found.funding["symbol"].unique().to_list() == [symbol]


def test_select__refuses_strangers_and_empty_windows() -> None:
    with pytest.raises(ArgumentError, match="is not in the bars"):
        MARKET.select(["NOBODY"])
    with pytest.raises(ArgumentError, match="no bars"):
        MARKET.select(start=MARKET.bars["time"][5], end=MARKET.bars["time"][5])


def test_studies__refuse_outcomes_that_do_not_say_what_positions_were_worth() -> None:
    with pytest.raises(DataError, match="outcomes must have entry_notional, which sweep"):
        flow.summary(pl.DataFrame({"liquidated": [True]}))
