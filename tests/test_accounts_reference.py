"""The sweep of accounts against the reference, bit for bit, and its laws."""

from __future__ import annotations

import os
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from account_reference import reference_account_outcomes
from random_accounts import Case, random_case

from backtest import Market, sweep_accounts
from backtest.book import Accounts
from backtest.engine import shortcuts
from backtest.engine.account_outcomes import AccountOutcomes
from backtest.schemas import ACCOUNT_OUTCOME_COLUMNS, LEG_OUTCOME_COLUMNS

#: How many random accounts are compared; the engine's author runs over a hundred times as many.
ACCOUNTS = int(os.environ.get("BACKTEST_REFERENCE_ACCOUNTS", "960"))
BATCHES = 4
A_CASE = 60


def swept(case: Case, threads: int | None = 1, **changes: object) -> AccountOutcomes:
    """Return the engine's outcomes of a case."""
    options = dict(case.options) | changes
    limit = options.pop("gap_limit_ms")
    market = Market(case.bars, case.funding, gap_limit=None if limit is None else timedelta(milliseconds=limit))
    return sweep_accounts(Accounts(**case.frames), market, case.venue, threads=threads, **options)


def assert_same(title: str, case: Case, expected: pl.DataFrame, found: pl.DataFrame, names: list[str]) -> None:
    """Fail with the first row that differs, and everything that decided it."""
    assert found.columns == expected.columns
    assert found.schema == expected.schema
    both = pl.concat([expected.select(names), found.select(pl.col(names).name.prefix("found_"))], how="horizontal")
    wrong = both.select(pl.col(name).ne_missing(pl.col(f"found_{name}")) for name in names)
    rows = wrong.select(pl.any_horizontal(names)).to_series().arg_true()
    if rows.len():
        row = rows[0]
        account = expected["account_id"][row]
        lines = [
            f"{title}: {rows.len():,} of {found.height:,} rows differ, {case.options}",
            f"  {expected.row(row, named=True)}",
        ]
        lines += [
            f"  {name}: reference {expected[name][row]!r}, sweep {found[name][row]!r}"
            for name in names
            if wrong[name][row]
        ]
        lines += [
            f"  {name}: {frame.filter(pl.col('account_id') == account).to_dicts()}"
            for name, frame in case.frames.items()
            if "account_id" in frame.columns
        ]
        pytest.fail("\n".join(lines))


@pytest.fixture(params=["searched", "by threshold"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Accounts of one position go the short way where trees are worth planting: always, or never."""
    monkeypatch.setattr(shortcuts, "BARS_AN_ACCOUNT", 0 if request.param == "searched" else 1_000)
    return str(request.param)


@pytest.mark.parametrize("batch", range(BATCHES))
@pytest.mark.usefixtures("way")
def test_sweep_accounts__equals_the_bar_by_bar_reference(batch: int) -> None:
    for number in range(-(-ACCOUNTS // (BATCHES * A_CASE))):
        seed = [batch, number]
        case = random_case(np.random.default_rng(seed), A_CASE)
        accounts, legs = reference_account_outcomes(
            case.frames, case.bars, case.funding, case.venue, **case.options
        )
        found = swept(case, 1 + number % 2)
        title = f"random_case(default_rng({seed}), {A_CASE})"
        assert_same(title, case, accounts, found.accounts, list(ACCOUNT_OUTCOME_COLUMNS))
        assert_same(title, case, legs, found.legs, list(LEG_OUTCOME_COLUMNS))
