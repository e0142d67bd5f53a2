"""One fund for several symbols against one each, on hand-made flows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from backtest.errors import ArgumentError
from backtest.schemas.frames import Time
from backtest.study.fund import insurance
from backtest.study.fund.pooled import pooled_funds, symbol_flows

HOUR = timedelta(hours=1)
START = datetime(2021, 5, 1, tzinfo=UTC)


def flows(**columns: list[float]) -> pl.DataFrame:
    count = len(next(iter(columns.values())))
    return pl.DataFrame(
        {"time": [START + hour * HOUR for hour in range(count)], **columns},
        schema_overrides={"time": Time} | dict.fromkeys(columns, pl.Float64),
    )


def test_symbol_flows__add_up_to_the_fund_s_flow() -> None:
    fund = pl.DataFrame(
        {
            "symbol": ["B", "A", "B", "A"],
            "time": [START, START, START + HOUR, START + 3.5 * HOUR],
            "fund": [105.0, 103.0, 96.0, 97.0],
            "paid_in": [5.0, 0.0, 0.0, 1.0],
            "paid_out": [0.0, 2.0, 7.0, 0.0],
        },
        schema_overrides={"time": Time},
    )
    found = symbol_flows(fund)
    assert found.columns == ["time", "A", "B"]
    assert found["A"].to_list() == [-2, 0, 0, 1]
    assert found["B"].to_list() == [5, -7, 0, 0]
    assert (found["A"] + found["B"]).to_list() == insurance.fund_flow(fund)["flow"].to_list()


def test_pooled_funds__of_symbols_that_run_dry_together_save_nothing() -> None:
    rng = np.random.default_rng(2)
    one = rng.normal(0.0, 3.0, 400)
    found = pooled_funds(flows(A=list(one), B=list(2 * one)), horizon=20 * HOUR, block=5 * HOUR)
    assert found.pooled == pytest.approx(found.apart)
    assert found.saved == pytest.approx(0)
    assert found.independent < 0.95 * found.pooled
    low, high = found.pooled_band
    assert low < found.pooled < high


def test_pooled_funds__of_symbols_that_make_each_other_good_need_nothing() -> None:
    """In every block of two hours A loses what B gains: a path of such blocks is level at the end of each hour."""
    loss = [-3.0, 1.0] * 50
    found = pooled_funds(flows(A=loss, B=[-x for x in loss]), horizon=10 * HOUR, block=2 * HOUR, confidence=0.5)
    assert found.pooled == 0
    assert found.saved == 1
    assert found.independent > 0


def test_pooled_funds__are_a_hand_made_case() -> None:
    """Two intervals and blocks of one: a path of two hours is (0, 0), (0, 1), (1, 0) or (1, 1), a quarter each.

    A then needs 8, 4, 4 or 0 and B 0, 2, 3 or 6; what they lose together is 3 in each hour, so 6 in every path.
    """
    found = pooled_funds(flows(A=[-4, 0], B=[1, -3]), horizon=2 * HOUR, block=HOUR, confidence=0.6, paths=4_000)
    assert found.separate == {"A": 4.0, "B": 3.0}
    assert found.pooled == 6
    assert found.apart == 7
    assert found.saved == pytest.approx(1 / 7)


def test_pooled_funds__of_one_symbol_are_its_fund_size() -> None:
    values = list(np.random.default_rng(3).normal(0.1, 5, 300))
    one = flows(A=values)
    size = insurance.fund_size(one.rename({"A": "flow"}), horizon=24 * HOUR, seed=4)
    found = pooled_funds(one, horizon=24 * HOUR, seed=4)
    assert (found.pooled, found.separate["A"]) == (size.bootstrap, size.bootstrap)
    assert found.pooled_band == (size.low, size.high)


def test_pooled_funds__refuse_what_the_flows_do_not_hold() -> None:
    with pytest.raises(ArgumentError, match="a column a symbol"):
        pooled_funds(flows(A=[1.0] * 9).drop("A"), horizon=HOUR)
    with pytest.raises(ArgumentError, match="whole intervals"):
        pooled_funds(flows(A=[1.0] * 9), horizon=1.5 * HOUR, block=HOUR)
