"""How fast cross liquidation prices are: many accounts at once beside one after another, equal answers first.

python benchmarks/account_prices.py --accounts 10000 --write
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

import numpy as np
import polars as pl
from tables import Table, in_turns, machine, require_equal, write

from backtest import Accounts, Venue, account_prices

MARKS = {"BTCUSDT": 60_000.0, "ETHUSDT": 3_000.0, "SOLUSDT": 150.0, "XRPUSDT": 0.6}
LEGS = 4
SAMPLE = 100  # accounts that are solved one after another


def drawn(count: int, seed: int = 1) -> Accounts:
    """Return accounts of four legs each, long or short."""
    rng, rows = np.random.default_rng(seed), LEGS * count
    symbols = rng.choice(list(MARKS), rows)
    entry = np.array([MARKS[symbol] for symbol in symbols]) * rng.uniform(0.9, 1.1, rows)
    legs = pl.DataFrame(
        {
            "account_id": np.repeat(np.arange(count), LEGS),
            "symbol": symbols,
            "side": rng.choice(["long", "short"], rows),
            "entry_time": [datetime(2024, 8, 5, tzinfo=UTC)] * rows,
            "entry_price": entry,
            "quantity": rng.lognormal(9, 1.5, rows) / entry,
        }
    )
    return Accounts(pl.DataFrame({"account_id": np.arange(count), "wallet": rng.lognormal(8.5, 1, count)}), legs)


def main() -> None:
    """Compare and time, and write the table where asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    accounts, venue, where = drawn(options.accounts), Venue.load("binance"), machine()

    def solved(some: Accounts, profit: str = "shared") -> pl.DataFrame:
        prices = {name: MARKS[name] for name in some.symbols}
        return account_prices(some, venue, prices, tiers="nearest", profit=profit).symbols

    singles = [accounts.only(number) for number in range(SAMPLE)]
    names = ["account_id", "symbol"]
    one_by_one = pl.concat([solved(each) for each in singles]).sort(names)
    at_once = solved(accounts).filter(pl.col("account_id") < SAMPLE).sort(names)
    for side in ("price_below", "price_above"):
        ours, theirs = (found[side].fill_null(-1.0).to_numpy() for found in (at_once, one_by_one))
        require_equal(np.round(ours, 9), np.round(theirs, 9), side)
    title = f"Cross liquidation prices of {options.accounts:,} accounts of {LEGS} legs"
    table = Table(title, "profit", "seconds", "one after another, seconds")
    single = in_turns(lambda: [solved(each) for each in singles], repeats=1)[0] / SAMPLE * options.accounts
    for profit in ("shared", "excluded", "per_position"):
        taken = in_turns(lambda profit=profit: solved(accounts, profit))[0]
        table.add(profit, f"{taken:.2f}", f"{single:.0f}" if profit == "shared" else "")
    if options.write:
        write([table], where)


if __name__ == "__main__":
    main()
