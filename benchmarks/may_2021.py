"""By how much would other policies have changed the low of 19 May 2021? The table of ``docs/replay.md``.

``python benchmarks/may_2021.py ../shared/data`` needs minutes and funding of May 2021, which are not part of the
project. Each figure is a range: over three synthetic books, and between an impact that stays and one that
halves every hour.
"""

from __future__ import annotations

import warnings
from argparse import ArgumentParser
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from backtest import Book, Impact, Market, Venue, population
from backtest.errors import InputWarning
from backtest.study.policy.counterfactuals import counterfactual, strength_limits

SYMBOL = "BTCUSDT"
START = datetime(2021, 5, 1, tzinfo=UTC)
ON_THE_DAY = pl.col("time").dt.date() == date(2021, 5, 19)
SEEDS = (20210519, 1, 2)

#: How far the liquidations of the day's longs move the mark together.
MOVES = (0.01, 0.02, 0.05)

BINANCE = Venue.load("binance")
POLICIES = {
    "nothing is sold": BINANCE.with_(
        adl_trigger="never", step="fraction", step_fraction=1.0, slices="takeover", unwind="hold", rounds=0
    ),
    "leverage at most 20": BINANCE.with_(maximum_leverage=20.0),
    "maintenance rates doubled": BINANCE.with_(rate_scale=2.0),
    "maintenance rates halved": BINANCE.with_(rate_scale=0.5),
}
RULES = {"tiers": "nearest", "fund": 1e9, "leverage_limit": "cap"}


class Change(NamedTuple):
    """What one policy would have changed, at one strength of impact."""

    policy: str
    move: float
    low: float  #: of the lowest price of the day, relative
    spared: int  #: liquidated only in fact
    added: int  #: liquidated only under the policy


def history(folder: Path) -> Market:
    """Return the minutes of May 2021 as far as they are known, and their funding."""
    window = (pl.col("symbol") == SYMBOL) & (pl.col("time") >= START)
    bars = pl.read_parquet(folder / "spot_1m_may_2021.parquet").filter(window)
    funding = pl.read_parquet(folder / "funding_8h.parquet").filter(window, pl.col("time") <= bars["time"].max())
    return Market(bars, funding)


def changes(book: Book, market: Market) -> list[Change]:
    """Return what every policy would have changed for one book, under each impact."""
    facts = counterfactual(book, market, BINANCE, BINANCE, impact=Impact(), **RULES).facts
    longs = facts.flow.filter(ON_THE_DAY, pl.col("side") == "long")["notional"].sum()
    print_facts(facts.outcomes, strength_limits(facts.flow, market).filter(ON_THE_DAY), longs)
    lows = market.prices("mark", "low")
    day = market.bars.select(ON_THE_DAY).to_series().to_numpy()
    found = []
    for name, policy in POLICIES.items():
        for move in MOVES:
            for kept in (1.0, 0.0):
                impact = Impact(mark=move / longs, permanent=kept, half_life_seconds=3600)
                run = counterfactual(book, market, BINANCE, policy, impact=impact, facts=facts, **RULES).policy
                low = (lows * np.exp(run.impact["offset"].to_numpy()))[day].min() / lows[day].min() - 1
                both = facts.outcomes.select("position_id", fact="liquidated").join(
                    run.outcomes.select("position_id", then="liquidated"), on="position_id"
                )
                only = (both.filter(pl.col(a), ~pl.col(b)).height for a, b in (("fact", "then"), ("then", "fact")))
                found.append(Change(name, move, low, *only))
    return found


def print_facts(outcomes: pl.DataFrame, limits: pl.DataFrame, longs: float) -> None:
    """Print how much was liquidated in fact, and in how much of the flow each strength is impossible."""
    on_the_day = pl.col("outcome_time").dt.date() == date(2021, 5, 19)
    gone = outcomes.filter("liquidated", on_the_day, pl.col("side") == "long")["entry_notional"].sum()
    share, flow = gone / outcomes["entry_notional"].sum(), limits["notional"].sum()
    beyond = [limits.filter(pl.col("strength") < move / longs)["notional"].sum() / flow for move in (*MOVES, 0.1)]
    parts = ", ".join(f"{part:.1%} at {move:.0%}" for part, move in zip(beyond, (*MOVES, 0.1), strict=True))
    print(
        f"liquidated {outcomes['liquidated'].sum():,}; longs of the day {share:.1%} of the book; beyond: {parts}"
    )


def main(folder: Path) -> None:
    """Print the table."""
    warnings.simplefilter("ignore", InputWarning)  # the nearest tiers are asked for
    market = history(folder)
    rows = []
    for seed in SEEDS:
        book = population.synthetic(market, BINANCE, count=100_000, seed=seed, tiers="nearest")
        rows += changes(book, market)
    for name in POLICIES:
        own = [row for row in rows if row.policy == name]
        lows = [[row.low for row in own if row.move == move] for move in MOVES]
        cells = [f"{min(low):+.2%} to {max(low):+.2%}" for low in lows]
        counts = [[row.spared for row in own], [row.added for row in own]]
        cells.append(", ".join(f"{min(count):,} to {max(count):,}" for count in counts))
        print(f"| {' | '.join([name, *cells])} |")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
