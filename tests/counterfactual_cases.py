"""Random pairs of a history's rules and another policy, and both worlds of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from random_cases import Case, random_case
from replay_cases import coupled_case, random_impact, random_procedure

from backtest import Book, Market, replay
from backtest.engine.replay.replay import Replay
from backtest.rules.procedure import Impact
from backtest.rules.venue import Venue

Rng = np.random.Generator
FRAMES = ("outcomes", "fund", "adl", "impact", "ledger", "flow")


class Two(NamedTuple):
    """A book, the history's rules, another policy, and how the market takes both."""

    case: Case
    venue: Venue
    policy: Venue
    fund: float
    policy_fund: float
    impact: Impact
    seed: int

    def replayed(self, venue: Venue, fund: float, impact: Impact, **more: Any) -> Replay:
        case = self.case
        options = {name: value for name, value in case.options.items() if name != "gap_limit_ms"}
        return replay(
            Book(case.positions, case.adjustments), Market(case.bars, case.funding, gap_limit=None), venue,
            fund=fund, impact=impact, seed=self.seed, threads=1, **options, **more,
        )  # fmt: skip

    @property
    def unmoved(self) -> Impact:
        return replace(self.impact, mark=0.0)

    def facts(self) -> Replay:
        return self.replayed(self.venue, self.fund, self.unmoved, record_flow=True)


def two_policies(rng: Rng, count: int = 60) -> Two | None:
    """Return a random market of one symbol and two policies; None for odds and empty books."""
    coupled = coupled_case(rng, count)
    case = coupled.case
    if case.positions.is_empty():
        return None
    kind = coupled.venue.contract(case.positions["symbol"][0]).kind
    if kind == "face_value":
        return None
    price = pl.col("entry_price") if kind == "linear" else 1 / pl.col("entry_price")
    scale = float(case.positions.select((pl.col("quantity") * price).mean()).item())
    return _two(rng, coupled.case, coupled.venue, (coupled.fund, coupled.seed), coupled.impact, scale)


def several_symbols(rng: Rng, count: int = 60) -> Two | None:
    """Return a random market of several linear symbols that share a fund, and two policies; None for fewer."""
    case = random_case(rng, count)
    linear = [name for name in case.bars["symbol"].unique() if case.venue.contract(name).kind == "linear"]
    own = pl.col("symbol").is_in(linear)
    bars, positions = case.bars.filter(own), case.positions.filter(own)
    if positions["symbol"].n_unique() < 2:
        return None
    stamps = None if case.funding is None else case.funding.filter(own)
    changes = case.adjustments
    if changes is not None:
        changes = changes.join(
            positions.select("position_id"), on="position_id", how="semi", maintain_order="left"
        )
    scale = float((positions["quantity"] * positions["entry_price"]).mean())  # type: ignore[arg-type]
    volume = scale * 20 * rng.exponential(1, bars.height) / bars["close"].to_numpy()
    options = case.options | {"gap_limit_ms": None, "entry_bar": "untested"}
    if isinstance(options["tiers"], dict):
        options["tiers"] = {name: table for name, table in options["tiers"].items() if name in linear}
    venue = case.venue.with_(procedure=random_procedure(rng, scale))
    case = Case(
        bars.with_columns(volume=pl.Series(volume)), None if stamps is None or stamps.is_empty() else stamps,
        positions, None if changes is None or changes.is_empty() else changes, venue, options,
    )  # fmt: skip
    fund = float(rng.choice([0.0, 1.0, 100.0])) * scale
    return _two(rng, case, venue, (fund, 0), random_impact(rng, scale, False), scale)


def _two(rng: Rng, case: Case, venue: Venue, holds: tuple[float, int], impact: Impact, scale: float) -> Two:
    mark = impact.mark or float(rng.choice([0.002, 0.02])) / scale
    impact = replace(impact, mark=mark, order="price", waves=0)
    policy = venue.with_(procedure=random_procedure(rng, scale))
    if rng.random() < 0.6:
        policy = policy.with_(rate_scale=float(rng.choice([0.5, 0.8, 1.0])))
    other = float(rng.choice([holds[0], 0.0, 10 * holds[0]]))
    return Two(case, venue, policy, holds[0], other, impact, holds[1])


def same(one: Replay, other: Replay, names: tuple[str, ...] = FRAMES) -> str:
    """Return the names of frames that differ."""
    return " ".join(name for name in names if not getattr(one, name).equals(getattr(other, name)))
