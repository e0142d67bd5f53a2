"""How fast accounts are swept: against a vectorised scan of the same rules, equal answers first, one run.

    python benchmarks/accounts.py --accounts 1000000

The market is drawn: minute bars of eight correlated symbols with funding. Of the accounts a quarter each hold one,
two, three or six legs; of those with several, half are hedged. The scan works through the bars in pieces that fit the cache, all
bars of a piece at once, symbol by symbol, and stops at the first piece that liquidates: what a fast vectorised
backtester would do. It evaluates the same pieces under the same convention in the same order, and gives the same bars.
"""

from __future__ import annotations

import argparse
import gc
import platform
import time
from datetime import UTC, datetime, timedelta

import numba
import numpy as np
import polars as pl

from backtest import Accounts, Market, Venue, sweep_accounts
from backtest.engine import accounts as engine
from backtest.engine.accounts import prepare
from backtest.kernel import account_terms
from backtest.kernel.account_search import BOX, CLOSES, COMMON_MOVE, LEAF
from backtest.kernel.compile import readonly
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas import Side, Time

START = datetime(2021, 1, 1, tzinfo=UTC)
BARS, SYMBOLS = 525_600, 8
PIECE = 512  # bars a scan looks at together: 8 symbols of four columns fit the second cache
KINDS = {1: 0.25, 2: 0.25, 3: 0.25, 6: 0.25}


def market(bars: int, rng: np.random.Generator) -> Market:
    """Return minute bars of correlated symbols (0.8), with funding every eight hours."""
    frames, stamps = [], []
    common = rng.normal(0, 1, bars)
    times = pl.Series("time", np.arange(bars) * 60_000).cast(Time) + timedelta(
        milliseconds=START.timestamp() * 1000
    )
    for number in range(SYMBOLS):
        moves = 0.0008 * (np.sqrt(0.8) * common + np.sqrt(0.2) * rng.normal(0, 1, bars))
        close = 100.0 * (number + 1) * np.exp(np.cumsum(moves))
        opening = np.append(100.0 * (number + 1), close[:-1])
        reach = np.abs(rng.normal(0, 0.0004, (2, bars)))
        frames.append(
            pl.DataFrame(
                {
                    "symbol": pl.repeat(f"S{number}", bars, eager=True),
                    "time": times,
                    "open": opening,
                    "high": np.maximum(opening, close) * (1 + reach[0]),
                    "low": np.minimum(opening, close) * (1 - reach[1]),
                    "close": close,
                }
            )
        )
        every = times.gather_every(480)
        rates = rng.normal(0.0001, 0.0002, every.len())
        stamps.append(pl.DataFrame({"symbol": f"S{number}", "time": every, "rate": rates}))
    return Market(pl.concat(frames), pl.concat(stamps))


def venue(tiers: int) -> Venue:
    """Return a venue with one rate or with several marginal tiers."""
    rates = np.array([0.005, 0.01, 0.02, 0.05, 0.1])[:tiers]
    floors = np.array([0.0, 50_000, 250_000, 1_000_000, 5_000_000])[:tiers]
    table = TierTable(name="drawn", rates=rates, floors=floors)
    return Venue(name="drawn", title="Drawn", contracts={}, default=Contract(symbol="any", tables=(table,)))


def accounts(prices: Market, count: int, rng: np.random.Generator, kind: str = "mixed") -> Accounts:
    """Return accounts at leverages from 1 to 50 of their gross notional, opened anywhere, held to the end."""
    number = rng.choice(list(KINDS), count, p=list(KINDS.values())) if kind == "mixed" else np.full(count, 1)
    number = np.full(count, 2) if kind == "pair" else number
    owner = np.repeat(np.arange(count), number)
    place = np.arange(owner.size) - np.repeat(np.cumsum(number) - number, number)
    bars = prices.firsts[1] - prices.firsts[0]
    entry = np.sort(rng.integers(0, bars - 1, count))
    symbol = (rng.integers(0, SYMBOLS, count)[owner] + place) % SYMBOLS
    first_side = rng.integers(0, 2, count)
    alternating = rng.random(count) < 0.5
    side = (first_side[owner] + place * alternating[owner]) % 2
    value = rng.lognormal(9, 1.5, count)[owner] / number[owner] * rng.uniform(0.8, 1.25, owner.size)
    if kind == "pair":
        symbol, side = symbol - place, place
        symbol %= SYMBOLS
        value = np.repeat(rng.lognormal(9, 1.5, count), 2) * np.where(place == 1, 0.98, 1.0)
    close = prices.prices("mark", "close").reshape(SYMBOLS, bars)
    price = close[symbol, entry[owner]]
    gross = np.bincount(owner, weights=value, minlength=count)
    leverage = np.full(count, 40.0) if kind == "pair" else np.exp(rng.uniform(0, np.log(50), count))
    legs = pl.DataFrame(
        {
            "leg_id": np.arange(owner.size),
            "account_id": owner,
            "symbol": pl.Series(symbol).replace_strict({n: f"S{n}" for n in range(SYMBOLS)}),
            "side": pl.Series(np.where(side == 0, "long", "short")).cast(Side),
            "entry_time": pl.Series((entry[owner] + 1) * 60_000 + int(START.timestamp() * 1000)).cast(Time),
            "entry_price": price,
            "quantity": value / price,
        }
    )
    wallets = pl.DataFrame({"account_id": np.arange(count), "wallet": gross / leverage})
    return Accounts(wallets, legs)
