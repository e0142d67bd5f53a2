"""How much the shortfall after a delay depends on the width of the bars: through the crash of May 2021.

``python benchmarks/delays.py ../shared/data`` needs the spot minutes of five coins from 20 April to 22 May 2021,
which are not part of the project. One book a coin is swept on minutes, five minutes and hours, and its
liquidations are filled at the bar's worst price and after delays, mean of four draws. Printed is the shortfall
per million of the notional opened, and that of coarser bars over that of the minutes. The constants of
``market.inside_bars`` were chosen on BTC and ETH; the other coins were looked at in the same runs.
"""

from __future__ import annotations

import warnings
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import polars as pl

from backtest import Book, Market, Venue, sweep
from backtest.errors import InputWarning
from backtest.rules import Contract, TierTable
from backtest.study.policy import Delay
from backtest.study.policy.delays import delayed

COINS = ("BTCUSDT", "ETHUSDT", "DOGEUSDT", "XRPUSDT", "ADAUSDT")
WIDTHS = ("1m", "5m", "1h")
COUNT, NOTIONAL = 4_000, 1_000.0

FLAT = Venue(
    name="flat",
    title="0.4 % for all",
    contracts={},
    default=Contract(symbol="*", tables=(TierTable(name="all", rates=np.full(1, 0.004)),)),
)


def book_of(market: Market) -> Book:
    """Return positions of both sides, opened at full hours at 5 to 50 times leverage."""
    rng, hours = np.random.default_rng(5), market.resample("1h").bars
    rows = hours[np.sort(rng.integers(1, hours.height - 1, COUNT))]
    return Book(
        pl.DataFrame(
            {
                "symbol": rows["symbol"],
                "side": np.where(rng.random(COUNT) < 0.6, "long", "short"),
                "entry_time": rows["time"],
                "entry_price": rows["open"],
                "quantity": NOTIONAL / rows["open"],
                "leverage": rng.choice([5.0, 10.0, 20.0, 50.0], COUNT),
            }
        )
    )


def shortfalls(bars: Market, book: Book, seconds: float | None) -> float:
    """Return the shortfall per million of notional; without a delay that at the bar's worst price."""
    if seconds is None:
        found = [sweep(book, bars.with_last_price(), FLAT, fill_price="last_extreme")]
    else:
        swept, delay = sweep(book, bars, FLAT), Delay(seconds)
        found = [delayed(swept, bars, "mark", delay, seed) for seed in range(delay.draws)]
    sums = [outcomes["shortfall"].sum() for outcomes in found]
    return float(np.mean(sums)) / (NOTIONAL * COUNT) * 1e6


def main() -> None:
    """Print the table."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder that holds spot_1m_may_2021.parquet")
    folder = parser.parse_args().data
    warnings.simplefilter("ignore", InputWarning)
    minutes = pl.read_parquet(folder / "spot_1m_may_2021.parquet").sort("symbol", "time")
    for seconds in (10.0, 60.0, None):
        print(f"\n{'worst price of the bar' if seconds is None else f'{seconds:g} s after the trigger'}")
        for coin in COINS:
            market = Market(minutes.filter(symbol=coin))
            book = book_of(market)
            found = [
                shortfalls(market if each == "1m" else market.resample(each), book, seconds) for each in WIDTHS
            ]
            amounts = "".join(f"{each:>10,.0f}" for each in found)
            print(f"{coin:10}{amounts}   {found[1] / found[0]:6.2f}{found[2] / found[0]:8.2f}")


if __name__ == "__main__":
    main()
