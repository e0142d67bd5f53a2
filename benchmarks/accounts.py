"""How fast accounts are swept: beside a vectorised scan of the same rules, equal answers first, all in one run.

    python benchmarks/accounts.py --accounts 1000000 --write

The market is drawn: a year of minutes of eight correlated symbols with funding. A quarter of the accounts each
hold one, two, three or six legs, half of those with several alternating long and short; leverage of the gross
notional is log-uniform from 1 to 50, entries fall anywhere and everything is held to the end. The scan takes 512
bars at a time, symbol by symbol over plain columns that the compiler turns into vector instructions, and stops
after the piece that liquidates. It evaluates the same terms under the same convention in the same order, and
must find the same bars. Both run on one thread; a scan is timed on some of the accounts, which are drawn like
the rest.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

import numba
import numpy as np
import polars as pl
from tables import Table, in_turns, machine, require_equal, write

from backtest import Accounts, Market, Venue, sweep_accounts
from backtest.engine.accounts.prepare import Prepared, prepare
from backtest.engine.accounts.run import room_of, run, world_of
from backtest.kernel.accounts.search import LEAF, Terms
from backtest.kernel.accounts.sweep import World
from backtest.kernel.accounts.terms import EVERY, Holdings, gather
from backtest.kernel.types import Floats, Integers
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Side, Time

START = int(datetime(2021, 1, 1, tzinfo=UTC).timestamp() * 1000)
BARS, SYMBOLS = 525_600, 8
PIECE = 512  # bars a scan takes at a time: its sums stay in the first cache
LEGS = (1, 2, 3, 6)
SAMPLE = 300  # accounts a scan is timed on
TIERS = 5


def market(bars: int, rng: np.random.Generator) -> Market:
    """Return minute bars of correlated symbols (0.8), with funding every eight hours."""
    frames, stamps = [], []
    common = rng.normal(0, 1, bars)
    times = pl.Series(START + np.arange(bars) * 60_000).cast(Time)
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
    """Return accounts: ``mixed``, one leg (``plain``), or a ``pair``: a long and 0.98 of it short."""
    number = rng.choice(LEGS, count) if kind == "mixed" else np.full(count, 2 if kind == "pair" else 1)
    owner = np.repeat(np.arange(count), number)
    place = np.arange(owner.size) - np.repeat(np.cumsum(number) - number, number)
    bars = prices.firsts[1] - prices.firsts[0]
    entry = rng.integers(0, bars - 1, count)
    symbol = (rng.integers(0, SYMBOLS, count)[owner] + place) % SYMBOLS
    first_side = rng.integers(0, 2, count)
    alternating = rng.random(count) < 0.5
    side = (first_side[owner] + place * alternating[owner]) % 2
    value = rng.lognormal(9, 1.5, count)[owner] / number[owner] * rng.uniform(0.8, 1.25, owner.size)
    if kind == "pair":
        symbol, side = (symbol - place) % SYMBOLS, place
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
            "entry_time": pl.Series(START + (entry[owner] + 1) * 60_000).cast(Time),
            "entry_price": price,
            "quantity": value / price,
        }
    )
    wallets = pl.DataFrame({"account_id": np.arange(count), "wallet": gross / leverage})
    return Accounts(wallets, legs)


@numba.njit(nogil=True, error_model="numpy")
def scan(
    world: World, holdings: Holdings, terms: Terms, columns: Floats, sums: Floats, linear: bool, found: Integers
) -> None:
    """Write the bar each account is liquidated in, -1 where in none: every piece of bars from its entry on."""
    bars = world.grid.bars
    for i in range(found.shape[0]):
        found[i] = -1
        bar = holdings.start[holdings.first[i]]
        held = gather(holdings, world.rules, terms, i, bar, holdings.wallet[i], EVERY, 1.0)
        while bar < bars and found[i] < 0:
            width = min(PIECE, bars - bar)
            if linear:
                least_linear(terms, held.terms, held.constant, columns, sums, bar, width)
            else:
                least_common(terms, held.terms, held.constant, columns, sums, bar, width)
            total, used_up = sums[0], 0
            for j in range(width):
                used_up += total[j] <= 0.0  # a sum of whole numbers, which the compiler vectorises
            if used_up:
                found[i] = bar + np.argmax(total[:width] <= 0.0)
            bar += width


@numba.njit(nogil=True, error_model="numpy")
def least_linear(
    terms: Terms, count: int, constant: float, columns: Floats, sums: Floats, bar: int, width: int
) -> None:
    """Write V of a piece, each symbol at its own worst: of terms with one slope that is the low or the high."""
    total, part = sums[0], sums[1]
    for j in range(width):
        total[j] = constant
    t = 0
    while t < count:
        symbol, units, slope, first = terms.symbol[t], 0.0, 0.0, t
        while t < count and terms.symbol[t] == symbol:
            slope += terms.slope[terms.piece[t]]
            units += terms.side[t] * terms.quantity[t]
            t += 1
        price = columns[symbol, 0 if slope > 0.0 else 1][bar : bar + width]
        paid = columns[symbol, 3][bar : bar + width]
        c, d = terms.slope[terms.piece[first]], terms.level[terms.piece[first]]
        if t == first + 1:
            for j in range(width):
                total[j] = total[j] + ((c * price[j] + d) - units * paid[j])
            continue
        for j in range(width):
            part[j] = c * price[j] + d
        for u in range(first + 1, t):
            c, d = terms.slope[terms.piece[u]], terms.level[terms.piece[u]]
            for j in range(width):
                part[j] += c * price[j] + d
        for j in range(width):
            total[j] = total[j] + (part[j] - units * paid[j])


@numba.njit(nogil=True, error_model="numpy")
def least_common(
    terms: Terms, count: int, constant: float, columns: Floats, sums: Floats, bar: int, width: int
) -> None:
    """Write the least V of a piece of all lows, all highs, all closes."""
    for column in range(3):
        total, part, one = sums[column], sums[3], sums[4]
        for j in range(width):
            total[j] = constant
        t = 0
        while t < count:
            symbol, units = terms.symbol[t], 0.0
            price = columns[symbol, column][bar : bar + width]
            paid = columns[symbol, 3][bar : bar + width]
            for j in range(width):
                part[j] = 0.0
            while t < count and terms.symbol[t] == symbol:
                c, d = terms.slope[terms.piece[t]], terms.level[terms.piece[t]]
                for j in range(width):
                    one[j] = c * price[j] + d
                for k in range(terms.piece[t] + 1, terms.piece[t + 1]):
                    c, d = terms.slope[k], terms.level[k]
                    for j in range(width):
                        value = c * price[j] + d
                        one[j] = value if value < one[j] else one[j]
                for j in range(width):
                    part[j] += one[j]
                units += terms.side[t] * terms.quantity[t]
                t += 1
            for j in range(width):
                total[j] = total[j] + (part[j] - units * paid[j])
    for j in range(width):
        low = sums[1, j] if sums[1, j] < sums[0, j] else sums[0, j]
        sums[0, j] = sums[2, j] if sums[2, j] < low else low


class Case:
    """Accounts prepared for one convention, and the scan beside them."""

    def __init__(self, prices: Market, held: Accounts, tiers: int, convention: str) -> None:
        self.prepared: Prepared = prepare(
            held, prices, venue(tiers), convention=convention, profit=None, hedged=None, bracket=False,
            tiers="strict", threads=1,
        )  # fmt: skip
        self.linear = tiers == 1 and convention == "own_worst"
        self.count = len(held)
        leaf = self.prepared.bars.arrays.leaf.reshape(SYMBOLS, -1, LEAF)
        self.columns = np.ascontiguousarray(np.moveaxis(leaf, 2, 1))
        self.found = np.empty(min(SAMPLE, self.count), np.int64)
        self.ends = run(self.prepared, 1)

    def swept(self) -> None:
        self.ends = run(self.prepared, 1)

    def scanned(self) -> None:
        arrays = self.prepared.held.arrays
        scan(
            world_of(self.prepared, arrays), arrays, room_of(self.prepared, arrays), self.columns,
            np.empty((5, PIECE)), self.linear, self.found,
        )  # fmt: skip

    def check(self) -> None:
        """Fail unless both find the same bars."""
        self.scanned()
        found = np.where(self.ends.outcome == 0, self.ends.bar, -1)[: self.found.size]
        require_equal(found, self.found, "first bar used up")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--bars", type=int, default=BARS)
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    options, where = parser.parse_args(), machine()
    rng = np.random.default_rng(20210519)
    prices = market(options.bars, rng)
    tables = [rates(prices, options.accounts, rng), calls(prices, options.accounts, rng)]
    if options.write:
        write(tables, where)


def rates(prices: Market, count: int, rng: np.random.Generator) -> Table:
    """Time each kind of account under both rules, one thread, beside the scan."""
    bars = int(prices.firsts[1])
    table = Table(
        "Accounts beside a vectorised scan",
        *("accounts", "rules", "liquidated", "us each", "scan us", "ratio"),
        about=f"{count:,} mixed accounts (1, 2, 3 or 6 legs, half of those with several alternating long and "
        "short), a quarter as many of one leg (plain), and as many hedged pairs in one symbol at 40 times gross, "
        f"over {bars:,} bars of 8 symbols; one thread. The scan takes {PIECE} bars at a time as vectors, "
        "evaluates the same terms under the same convention, and stops after the piece that liquidates. It is "
        f"timed on {SAMPLE} of the accounts.",
    )
    for kind in ("mixed", "plain", "pair"):
        held = accounts(prices, count if kind == "mixed" else count // 4, rng, kind)
        for tiers, convention in ((1, "own_worst"), (TIERS, "joint_worst")):
            case = Case(prices, held, tiers, convention)
            case.check()
            fast, slow = in_turns(case.swept, case.scanned, repeats=2)
            each, scan_each = fast / case.count, slow / case.found.size
            rules = f"{tiers} tier{'s' if tiers > 1 else ''}, {convention}"
            share = f"{100 * (case.ends.outcome == 0).mean():.0f} %"
            table.add(
                kind, rules, share, f"{1e6 * each:.2f}", f"{1e6 * scan_each:,.0f}", f"{scan_each / each:,.0f}"
            )
    return table


def calls(prices: Market, count: int, rng: np.random.Generator) -> Table:
    """Time the whole public call, bracket and frames included."""
    table = Table(
        "sweep_accounts as called",
        *("accounts", "rules", "bracket", "seconds"),
        about="The whole call, frames in and frames out: it prepares arrays, builds trees, uses all threads, "
        "names columns.",
    )
    held = accounts(prices, count, rng)
    for tiers, convention, bracket in (
        (1, "own_worst", False),
        (1, "joint_worst", True),
        (TIERS, "joint_worst", True),
    ):
        rules = venue(tiers)
        (taken,) = in_turns(
            lambda: sweep_accounts(held, prices, rules, convention=convention, bracket=bracket), repeats=2
        )
        table.add(f"{count:,}", f"{tiers} tier{'s' if tiers > 1 else ''}, {convention}", bracket, f"{taken:.2f}")
    return table


if __name__ == "__main__":
    main()
