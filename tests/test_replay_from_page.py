"""The replay against a simulator written from its page alone, on random markets.

``BACKTEST_PAGE_MARKETS=400`` compares all; by default a small part is.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from replay_cases import random_impact, random_procedure
from replay_from_page import Simulator, Trader

from backtest import Book, Market, Venue, replay
from backtest.engine.replay.replay import Replay
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Side, Time

MARKETS = int(os.environ.get("BACKTEST_PAGE_MARKETS", "24"))
BATCHES = 4
START = datetime(2022, 3, 1, tzinfo=UTC)

#: Money that the two may differ by, relative to the book's notional: float64 rounds in another order.
CLOSE = 1e-8


class Drawn(NamedTuple):
    """A random market, book and procedure, as the replay takes them and as the simulator does."""

    given: dict[str, Any]
    simulator: Simulator
    scale: float


def drawn(seed: int, **changes: Any) -> Drawn:
    rng = np.random.default_rng([seed, 41])
    inverse, minutes, count = bool(rng.random() < 0.35), int(rng.choice([1, 5, 60])), int(rng.integers(12, 50))
    bars = _bars(rng, count)
    side = rng.choice(["long", "short"], size=int(rng.integers(2, 25)))
    size, leverage = 10 * rng.lognormal(0, 1, side.size), rng.uniform(3, 25, side.size)
    enters = np.minimum(rng.geometric(0.3, side.size) - 1, count - 2)
    entry = np.array([bars[bar][0] for bar in enters])
    notional = size if inverse else size * entry
    quantity = size * entry if inverse else size
    scale = float(notional.mean())
    margin = notional / leverage
    exits = [int(bar + rng.integers(1, count)) if rng.random() < 0.3 else None for bar in enters]
    stops = [float(e * (1 - (1 if s == "long" else -1) * rng.uniform(0.01, 0.1))) if rng.random() < 0.25 else None
             for e, s in zip(entry, side, strict=True)]  # fmt: skip
    floors = [0.0, scale, 2 * scale][: int(rng.integers(1, 4))]
    rates = [0.005, 0.012, 0.02][: len(floors)]
    rules = random_procedure(rng, scale)
    rules = replace(
        rules,
        adl_rank="size" if rules.adl_rank == "random" else rules.adl_rank,
        **changes,
    )
    impact = random_impact(rng, scale, False)
    turnover = scale * 20 * rng.exponential(1, count)
    stamps = {int(bar): float(rng.normal(0, 0.002)) for bar in rng.choice(count, 3, replace=False)}
    fund = float(rng.choice([0.0, 0.05, 1.0, 100.0])) * scale
    remainder = str(rng.choice(["returned", "fund", "shared"]))
    takeover, discount = str(rng.choice(["bankruptcy", "backstop"])), float(rng.choice([0.0, 0.01]))

    table = TierTable(name="tiers", model="marginal", floors=np.array(floors), rates=np.array(rates))
    kind: Any = "inverse" if inverse else "linear"
    contract = Contract(symbol="A", tables=(table,), kind=kind, basis="mark")
    venue = Venue(name="page", title="Page", contracts={"A": contract}).with_(
        procedure=rules, remainder=remainder, takeover_price=takeover, takeover_discount=discount
    )
    times = [START + timedelta(minutes=minutes * bar) for bar in range(count)]
    columns = dict(zip(("open", "high", "low", "close"), zip(*bars, strict=True), strict=True))
    closes = np.array(columns["close"])
    frame = pl.DataFrame(
        {"symbol": "A", "time": times, **columns, "volume": turnover if inverse else turnover / closes}
    )
    funding = pl.DataFrame({"symbol": "A", "time": [times[b] for b in sorted(stamps)],
                            "rate": [stamps[b] for b in sorted(stamps)]})  # fmt: skip
    positions = pl.DataFrame(
        {
            "position_id": rng.permutation(side.size), "symbol": "A", "side": pl.Series(side, dtype=Side),
            "entry_time": pl.Series([times[bar] for bar in enters], dtype=Time), "entry_price": entry,
            "quantity": quantity, "margin": margin,
            "exit_time": pl.Series([times[b] if b is not None and b < count else None for b in exits], dtype=Time),
            "stop_price": pl.Series(stops, dtype=pl.Float64),
        }
    )  # fmt: skip
    lot = 10.0 ** np.ceil(np.log10(quantity.sum() / 1e18))
    traders = [
        Trader(
            id=row["position_id"], side=1 if row["side"] == "long" else -1, lots=round(row["quantity"] / lot),
            per_lot=lot, entry=row["entry_price"], margin=row["margin"], leverage=float(leverage[number]),
            enters=int(enters[number]), exits=exits[number], stop=stops[number],
        )
        for number, row in enumerate(positions.iter_rows(named=True))
    ]  # fmt: skip
    simulator = Simulator(
        inverse=inverse, rates=rates, floors=floors, rules=rules, impact=impact, remainder=remainder,
        takeover_price=takeover, discount=discount, minutes=minutes, bars=bars, volume=list(turnover),
        stamps=stamps, traders=traders, fund_at_start=fund,
    )  # fmt: skip
    given = {"book": positions, "bars": frame, "funding": funding, "venue": venue, "impact": impact, "fund": fund}
    return Drawn(given, simulator, float(notional.sum()))


def _bars(rng: np.random.Generator, count: int) -> list[tuple[float, float, float, float]]:
    """Return bars of a path that jumps, some of them between bars."""
    bars, price = [], 100.0
    for _ in range(count):
        opening = price * float(np.exp(rng.normal(0, 0.04))) if rng.random() < 0.15 else price
        close = opening * float(np.exp(rng.normal(0, 0.012) + (rng.random() < 0.08) * rng.normal(0, 0.08)))
        up, down = np.exp(np.abs(rng.normal(0, 0.006, 2)))
        bars.append((opening, max(opening, close) * float(up), min(opening, close) / float(down), close))
        price = close
    return bars


def played(case: Drawn) -> Replay:
    given = case.given
    return replay(
        Book(given["book"]), Market(given["bars"], given["funding"], gap_limit=None), given["venue"],
        fund=given["fund"], impact=given["impact"], exogenous=True, threads=1,
    )  # fmt: skip


def differences(case: Drawn) -> list[str]:
    """Return what the replay and the simulator disagree on."""
    found, expected, near = played(case), case.simulator.run(), CLOSE * case.scale
    said = []
    for row, t in zip(found.outcomes.iter_rows(named=True), expected.traders, strict=True):
        pairs = {
            "filled": (row["filled_in_market"] / row["quantity"], t.sold / t.full),
            "taken over": (row["taken_over"] / row["quantity"], t.taken / t.full),
            "deleveraged": (row["deleveraged"] / row["quantity"], t.given / t.full),
            "fees": (row["fees"] / case.scale, t.fees / expected.unit / case.scale),
            "fund": (row["fund_effect"] / case.scale, t.to_fund / expected.unit / case.scale),
            "clawed": (row["clawed_back"] / case.scale, t.clawed / expected.unit / case.scale),
        }
        if row["realised_pnl"] is not None:
            pairs["pnl"] = (row["realised_pnl"] / case.scale, (t.pocket + t.fees) / expected.unit / case.scale)
        if row["outcome"] != t.outcome:
            said.append(f"position {t.id}: {row['outcome']}, by the page {t.outcome}")
        said += [f"position {t.id}: {name} {a:.9g}, by the page {b:.9g}"
                 for name, (a, b) in pairs.items() if abs(a - b) > 10 * CLOSE]  # fmt: skip
    cash = {row["account"]: row["cash"] / found.unit for row in found.ledger.iter_rows(named=True)}
    cash["traders"] += cash.pop("pending")
    for name, units in expected.accounts.items():
        if abs(cash[name] - units / expected.unit) > near:
            said.append(f"{name} {cash[name]}, by the page {units / expected.unit}")
    matches = found.adl.select("liquidated_id", "counterparty_id").rows()
    said += [] if matches == expected.matches else [f"matches {matches}, by the page {expected.matches}"]
    for side, name in ((1, "long_triggered"), (-1, "short_triggered")):
        triggered = np.array([amounts[side] for amounts in expected.triggered])
        if np.abs(found.impact[name].to_numpy() - triggered).max() > near:
            said.append(name)
    if abs(found.impact["offset"][-1] - expected.offset) > CLOSE:
        said.append(f"offset {found.impact['offset'][-1]}, by the page {expected.offset}")
    assert sum(expected.accounts.values()) == 0
    return said


@pytest.mark.parametrize("batch", range(BATCHES))
def test_replay__equals_a_simulator_written_from_its_page(batch: int) -> None:
    for seed in range(batch, MARKETS, BATCHES):
        said = differences(drawn(seed))
        assert not said, f"drawn({seed}): {said[:6]}"


@pytest.mark.parametrize("far", [0.0, 0.01])
def test_replay__of_fees_beyond_margins_and_adl_at_the_mark_equals_the_simulator(far: float) -> None:
    changes = {"liquidation_fee_rate": 0.02, "liquidation_fee_beyond_margin": True, "adl_trigger": "fund_empty"}
    for seed in range(1_000, 1_000 + MARKETS // BATCHES):
        said = differences(drawn(seed, **changes, adl_price="bankruptcy", adl_mark_beyond=far))
        assert not said, f"drawn({seed}), {far}: {said[:6]}"
