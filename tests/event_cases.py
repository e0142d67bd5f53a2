"""Markets that jump once, and books of which the jump liquidates one position or several."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from replay_cases import random_procedure

from backtest import Book, Impact, Market, Venue, replay
from backtest.engine.replay.replay import Replay
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Side, Time

START = datetime(2024, 12, 2, tzinfo=UTC)
BARS = 40

#: Funds that are tried, in notionals of the largest loser.
FUNDS = (0.0, 1e-3, 0.01, 0.05, 0.1, 0.5, 2.0)


@dataclass(frozen=True)
class Event:
    """A book, its market and rules, and what a fund of one is worth."""

    book: Book
    market: Market
    venue: Venue
    impact: Impact
    scale: float


@dataclass(frozen=True)
class Borne:
    """What a fund left for others."""

    quantity: float  #: deleveraged
    money: float  #: given up, clawed back or uncovered
    first: datetime | None  #: deleveraging


def random_event(rng: np.random.Generator, losers: int, *, alike: bool = False) -> Event:
    """Return a market that jumps against ``losers`` highly leveraged positions of one side, and swings before.

    ``alike``: they all have one entry and one leverage, and so one bankruptcy price.
    """
    side = rng.choice(["long", "short"])
    sign = 1 if side == "long" else -1
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, BARS)))
    jump = int(rng.integers(5, BARS - 5))
    close[jump:] *= np.exp(-sign * rng.uniform(0.05, 0.4))
    opening = np.append(100.0, close[:-1])
    if rng.random() < 0.7:  # the bar opens beyond bankruptcy, else it goes there
        opening[jump] = close[jump]
    times = [START + number * timedelta(minutes=1) for number in range(BARS)]
    bars = pl.DataFrame(
        {
            "symbol": "X", "time": times, "open": opening,
            "high": np.maximum(opening, close) * 1.0005, "low": np.minimum(opening, close) * 0.9995,
            "close": close, "volume": rng.exponential(2_000, BARS),
        },
        schema_overrides={"time": Time},
    )  # fmt: skip
    others = int(rng.integers(2, 14))
    count = losers + others
    entry = rng.integers(0, 5, count)
    leverage = np.append(rng.uniform(12, 60, losers), rng.uniform(0.5, 1.5, others))
    quantity = np.exp(rng.normal(0, 1.2, count)) * np.append(np.full(losers, 4.0), np.ones(others))
    against = ["long", "short"] if side == "short" else ["short", "long"]
    sides = [side] * losers + [against[int(rng.random() < 0.25)] for _ in range(others)]
    price = close[entry] * np.exp(rng.normal(0, 0.01, count))
    if alike:
        entry[:losers], leverage[:losers], price[:losers] = entry[0], leverage[0], price[0]
    positions = pl.DataFrame(
        {
            "position_id": np.arange(count), "symbol": "X", "side": pl.Series(sides, dtype=Side),
            "entry_time": [times[number] for number in entry],
            "entry_price": price,
            "quantity": quantity, "leverage": leverage,
        },
        schema_overrides={"entry_time": Time},
    )  # fmt: skip
    scale = float((positions["quantity"] * positions["entry_price"])[:losers].to_numpy().max())
    procedure = replace(
        random_procedure(rng, scale), adl_trigger=str(rng.choice(["fund_empty", "fund_empty", "fund_drop"]))
    )
    impact = Impact(
        participation=float(rng.choice([np.inf, np.inf, 0.1])),
        linear=float(rng.choice([0.0, 0.05])) / scale,
        square_root=float(rng.choice([0.0, 0.01])),
    )
    table = TierTable(name="one", model="flat", rates=[0.01])
    venue = Venue(name="x", title="x", contracts={"X": Contract(symbol="X", tables=(table,))}).with_(
        procedure=procedure,
        takeover_price=str(rng.choice(["bankruptcy", "bankruptcy", "backstop"])),
        takeover_discount=float(rng.choice([0.0, 0.01])),
        remainder=str(rng.choice(["returned", "fund", "shared"])),
    )
    return Event(Book(positions), Market(bars, gap_limit=None), venue, impact, scale)


def played(event: Event, fund: float) -> Replay:
    return replay(
        event.book, event.market, event.venue, fund=fund * event.scale, impact=event.impact, threads=1, trace=0
    )


def begun(found: Replay) -> int:
    """Return of how many positions the liquidation began, as far as anything was closed."""
    touched = (pl.col("filled_in_market") + pl.col("taken_over") > 0) | pl.col("liquidated")
    return int(found.outcomes.select(touched.sum()).item())


def orders(found: Replay) -> int:
    """Return how many orders the first position's liquidation took."""
    return found.trace.filter(pl.col("step").cast(pl.String).is_in(["filled", "taken over"])).height


def borne(found: Replay) -> Borne:
    deficit = -found.ledger.row(by_predicate=pl.col("account") == "deficit", named=True)["cash"] / found.unit
    given_up = float(found.adl["given_up"].clip(lower_bound=0).sum())
    money = given_up + float(found.outcomes["clawed_back"].sum()) + deficit
    return Borne(float(found.adl["quantity"].sum()), money, found.adl["time"].min())  # type: ignore[arg-type]


def breaches(small: Borne, large: Borne, scale: float) -> set[str]:
    """Return in what a larger fund left more to others, or earlier."""
    found = set()
    if large.quantity > small.quantity * (1 + 1e-9) + 1e-12:
        found.add("more deleveraged")
    if large.money > small.money + 1e-6 * scale:
        found.add("more money")
    if large.first is not None and (small.first is None or large.first < small.first):
        found.add("earlier")
    return found
