"""The sweep of accounts against the reference, bit for bit, and its laws."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from account_reference import reference_account_outcomes
from random_accounts import START, Case, columns, random_case

from backtest import Market, Venue, sweep_accounts
from backtest.book import Accounts
from backtest.engine.accounts import trees
from backtest.engine.accounts.frames import AccountOutcomes
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import (
    ACCOUNT_OUTCOME_COLUMNS,
    COLLATERAL,
    HAIRCUTS,
    LEG_OUTCOME_COLUMNS,
    TRANSFERS,
    Side,
    Time,
)

#: Real prices, where they lie beside the repository.
REAL = Path(__file__).parents[2] / "shared" / "data"

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
    monkeypatch.setattr(trees, "BARS_AN_ACCOUNT", 0 if request.param == "searched" else 1_000)
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


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real market data is not beside the repository")
def test_sweep_accounts__equals_the_reference_on_real_hourly_marks() -> None:
    bars = pl.read_parquet(REAL / "mark_1h.parquet").select("symbol", "time", "open", "high", "low", "close")
    funding = pl.read_parquet(REAL / "funding_8h.parquet").select("symbol", "time", "rate")
    case = Case(real_accounts(bars), bars, funding, one_rate(), {"gap_limit_ms": 21_600_000})
    for convention in ("own_worst", "joint_worst", "closes"):
        expected = reference_account_outcomes(
            case.frames, bars, funding, case.venue, **case.options, convention=convention
        )
        found = swept(case, convention=convention)
        assert_same(f"real, {convention}", case, expected[0], found.accounts, list(ACCOUNT_OUTCOME_COLUMNS))
        assert_same(f"real, {convention}", case, expected[1], found.legs, list(LEG_OUTCOME_COLUMNS))
    assert 20 < found.accounts["liquidated"].sum() < 90


def real_accounts(bars: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return 120 accounts of one to four legs, each held for up to twelve days, anywhere from 2020 to 2026."""
    rng = np.random.default_rng(2020)
    opened = bars.filter(pl.col("time") > pl.lit(START).dt.offset_by("-1y")).sort("time")
    legs = []
    for account in range(120):
        first = int(rng.integers(0, opened.height - 2_000))
        for row in opened[first : first + 60].sample(int(rng.integers(1, 5)), seed=account).iter_rows(named=True):
            quantity = float(1_000 * rng.uniform(0.5, 2) / row["open"])
            end = row["time"] + timedelta(hours=int(rng.integers(20, 300)))
            side = str(rng.choice(["long", "short"]))
            legs.append((len(legs), account, row["symbol"], side, row["time"], row["open"], quantity, end))
    names = ("leg_id", "account_id", "symbol", "side", "entry_time", "entry_price", "quantity", "exit_time")
    frame = pl.DataFrame(legs, schema=names, orient="row").with_columns(
        pl.col("side").cast(Side), pl.col("entry_time", "exit_time").cast(Time)
    )
    gross = frame.group_by("account_id", maintain_order=True).agg(
        wallet=(pl.col("quantity") * pl.col("entry_price")).sum()
    )
    empty = {schema.name: schema for schema in (COLLATERAL, HAIRCUTS, TRANSFERS)}
    return {
        "accounts": gross.with_columns(pl.col("wallet") / pl.Series(np.exp(rng.uniform(0.5, 3.7, 120)))),
        "legs": frame,
        **{name: pl.DataFrame(schema=columns(schema)) for name, schema in empty.items()},
    }


def one_rate() -> Venue:
    table = TierTable(name="one", rates=[0.005, 0.01], floors=[0.0, 1_500.0])
    return Venue(name="one", title="One", contracts={}, default=Contract(symbol="any", tables=(table,)))
