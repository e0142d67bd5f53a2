"""Kinds of bad input about accounts in cross margin."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

START = datetime(2021, 5, 18, tzinfo=UTC)
SWEEP = "sweep --bars bars.parquet --accounts accounts.parquet --legs legs.parquet --venue venue.toml --out out"


def good_account_files() -> dict[str, Any]:
    """Return files of accounts that a sweep takes."""
    return {
        "accounts.parquet": pl.DataFrame({"account_id": [1, 2], "wallet": [5_000.0, 9_000.0]}),
        "legs.parquet": pl.DataFrame(
            {
                "leg_id": [1, 2, 3],
                "account_id": [1, 1, 2],
                "symbol": "BTCUSDT",
                "side": ["long", "short", "long"],
                "entry_time": hours(1, 2, 3),
                "entry_price": 40_000.0,
                "quantity": [1.0, 0.5, 1.0],
                "exit_time": hours(20, 21, 22),
            }
        ),
        "collateral.parquet": pl.DataFrame({"account_id": [1], "symbol": ["BTCUSDT"], "quantity": [0.1]}),
        "haircuts.parquet": pl.DataFrame(
            {"symbol": ["BTCUSDT", "BTCUSDT"], "floor": [0.0, 1_000.0], "haircut": [0.05, 0.1]}
        ),
        "transfers.parquet": pl.DataFrame({"account_id": [2], "time": hours(10), "wallet_change": [-100.0]}),
    }


def account_kinds() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield what is wrong, the words of the command line, and the files that are not good."""
    yield "accounts without legs named", SWEEP.replace("--legs legs.parquet ", ""), {}
    yield "positions beside accounts", f"{SWEEP} --positions positions.parquet", {}
    yield (
        "neither positions nor accounts",
        SWEEP.replace("--accounts accounts.parquet --legs legs.parquet ", ""),
        {},
    )
    yield "a fill rule for accounts", f"{SWEEP} --fill-price last_close", {}
    yield "an unknown convention", f"{SWEEP} --convention own", {}
    yield "a wallet that is not a number", SWEEP, changed("accounts", wallet=float("nan"))
    yield "an account that stands twice", SWEEP, changed("accounts", account_id=1)
    yield "an account without legs", SWEEP, changed("legs", account_id=1, row=2)
    yield "a leg of an unknown account", SWEEP, changed("legs", account_id=7)
    yield "a leg that stands twice", SWEEP, changed("legs", leg_id=1)
    yield "a leg's side that is none", SWEEP, changed("legs", side="up")
    yield "a leg that exits before it is opened", SWEEP, changed("legs", exit_time=START)
    yield "a leg without bars", SWEEP, changed("legs", symbol="ETHUSDT")
    yield "a leg opened before the bars", SWEEP, changed("legs", entry_time=START - timedelta(hours=1))
    yield (
        "a leg opened when no table was in force",
        f"{SWEEP} --from 2021-05-18",
        {"venue.toml": ("from = 2021-03-18", "from = 2021-05-19")},
    )
    yield (
        "legs that are no whole number of contracts",
        f"{SWEEP} --procedure",
        {"venue.toml": ("[contracts.BTCUSDT]", "[contracts.BTCUSDT]\nlot = 0.3")},
    )
    yield "positions of an account beyond the table", SWEEP, changed("legs", quantity=26.0)
    yield (
        "collateral in two rows of a symbol",
        f"{SWEEP} --collateral collateral.parquet",
        {"collateral.parquet": pl.concat([good_account_files()["collateral.parquet"]] * 2)},
    )
    collateral = f"{SWEEP} --collateral collateral.parquet --haircuts haircuts.parquet"
    yield "a haircut above one", collateral, changed("haircuts", haircut=1.5)
    yield "haircuts that fall", collateral, changed("haircuts", haircut=0.01)
    yield "a schedule that does not begin at zero", collateral, changed("haircuts", floor=1.0, row=0)
    yield (
        "a transfer of an unknown account",
        f"{SWEEP} --transfers transfers.parquet",
        changed("transfers", account_id=9, row=0),
    )
    yield (
        "collateral in the symbol of an inverse contract",
        f"{SWEEP} --collateral collateral.parquet",
        {"venue.toml": ('basis = "mark"', 'kind = "inverse"\nbasis = "mark"')},
    )
    yield "a fee reserved at bankruptcy in an account", SWEEP, {"venue.toml": ('"at_mark"', '"at_bankruptcy"')}
    yield (
        "a reserved fee in an account of several positions",
        SWEEP,
        {
            "venue.toml": (
                'closing_fee = { value = "at_mark"',
                'kind = "inverse"\nclosing_fee = { value = "at_bankruptcy"',
            )
        },
    )


def changed(name: str, row: int = 1, **cells: Any) -> dict[str, Any]:
    """Return the file of a frame with cells of one row replaced."""
    frame = good_account_files()[f"{name}.parquet"]
    here = pl.int_range(pl.len()) == row
    columns = (
        pl.when(here).then(pl.lit(value, frame.schema[column])).otherwise(pl.col(column)).alias(column)
        for column, value in cells.items()
    )
    return {f"{name}.parquet": frame.with_columns(columns)}


def hours(*count: float) -> pl.Series:
    return pl.Series([START + timedelta(hours=n) for n in count], dtype=pl.Datetime("ms", "UTC"))
