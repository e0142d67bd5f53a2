"""Random venues' procedures, impacts and small markets to compare the replay with its reference on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from random_cases import Case, random_case

from backtest.rules.procedure import CHOICES, Impact, Procedure
from backtest.rules.venue import Venue

Rng = np.random.Generator


class Coupled(NamedTuple):
    """A case of one symbol with everything coupled."""

    case: Case
    venue: Venue
    impact: Impact
    fund: float
    seed: int


def random_procedure(rng: Rng, scale: float) -> Procedure:
    """Return any combination of settings; ``scale`` is a typical notional."""

    own = rng.spawn(1)[0]  # so that more settings leave the draws of those before as they were

    def pick(name: str, rng: Rng = rng) -> str:
        return str(rng.choice(CHOICES[name]))

    return Procedure(
        tier_step=int(own.choice([1, 1, 2, 9])),
        whole_tiers=int(own.choice([1, 1, 2])),
        in_lowest=pick("in_lowest", own),
        order_type=pick("order_type", own),
        order_limit=pick("order_limit", own),
        takeover_below=float(own.choice([0.0, 0.0, 2 / 3, 1.0])),
        step=(step := pick("step")),
        step_fraction=float(rng.choice([0.02, 0.25, 0.4, 1.0])),
        partial_from=float(rng.choice([0.0, 0.0, scale])),
        until=pick("until"),
        order_notional=float(rng.choice([np.inf, np.inf, scale / 4])),
        rounds=int(rng.choice([0, 0, 1, 3, 50])),
        round_seconds=float(rng.choice([0.5, 1.0, 30.0, 600.0])),
        slices={"all": "market"}.get(step, pick("slices")),  # drawn either way
        last=pick("last"),
        liquidation_fee_rate=float(rng.choice([0.0, 0.005, 0.02])),
        fee_fund_share=float(rng.choice([0.0, 0.3, 1.0])),
        trading_fee_rate=float(rng.choice([0.0, 0.0005])),
        trading_fee_fund_share=float(rng.choice([0.0, 0.25])),
        remainder_fund_share=float(rng.choice([0.5, 0.3])),
        inventory=pick("inventory"),
        backstop_capacity=float(rng.choice([np.inf, np.inf, 10 * scale, 0.0])),
        backstop_deviation=float(rng.choice([0.0, 0.01])),
        unwind=pick("unwind"),
        unwind_share=float(rng.choice([0.05, 1.0])),
        adl_trigger=str(rng.choice(["never", "fund_empty", "fund_empty", "fund_drop"])),
        adl_drop=float(rng.choice([0.1, 0.3])),
        adl_hours=float(rng.choice([0.2, 8.0])),
        adl_rank=pick("adl_rank"),
        adl_price=pick("adl_price"),
        adl_profit_required=bool(rng.random() < 0.7),
        clawback=bool(rng.random() < 0.4),
        restore_orders=bool(rng.random() < 0.5),
    )


def random_impact(rng: Rng, scale: float, face: bool) -> Impact:
    mark = 0.0 if face else float(rng.choice([0.0, 0.002, 0.02])) / scale
    return Impact(
        participation=float(rng.choice([np.inf, np.inf, 0.1, 0.5])),
        linear=float(rng.choice([0.0, 0.0, 0.002])) / scale,
        square_root=float(rng.choice([0.0, 0.0, 0.01])),
        mark=mark,
        permanent=float(rng.choice([1.0, 0.5, 0.0])),
        half_life_seconds=float(rng.choice([60.0, 3600.0])),
        largest_offset=float(rng.choice([1.0, 0.1])),
        waves=int(rng.choice([0, 0, 1, 3])),
        order=str(rng.choice(["price", "largest", "id"])),
    )


def coupled_case(rng: Rng, count: int = 60) -> Coupled:
    """Return a case of one symbol under a random procedure."""
    case = random_case(rng, count)
    symbol = case.positions["symbol"][0]
    positions = case.positions.filter(pl.col("symbol") == symbol)
    bars = case.bars.filter(pl.col("symbol") == symbol).head(120)
    positions = positions.filter(pl.col("entry_time") <= bars["time"].max())
    ids = positions["position_id"].implode()
    changes = case.adjustments
    if changes is not None:
        changes = changes.filter(pl.col("position_id").is_in(ids))
        changes = None if changes.is_empty() else changes
    stamps = case.funding
    if stamps is not None:
        stamps = stamps.filter(pl.col("symbol") == symbol)
        stamps = None if stamps.is_empty() else stamps
    contract = case.venue.contract(symbol)
    entry = positions["entry_price"] if contract.kind == "linear" else 1.0
    notional = positions["quantity"] * entry
    if contract.kind == "inverse":
        notional = positions["quantity"] / positions["entry_price"]
    scale = float(notional.mean() or 1.0) if positions.height else 1.0
    volume = scale * 20 * rng.exponential(1, bars.height)
    if contract.kind == "linear":
        volume = volume / bars["close"].to_numpy()
    bars = bars.with_columns(volume=pl.Series(volume))
    venue = case.venue.with_(
        procedure=random_procedure(rng, scale),
        takeover_price=str(rng.choice(["bankruptcy", "bankruptcy", "bankruptcy_with_fee", "backstop"])),
        takeover_discount=float(rng.choice([0.0, 0.01])),
    )
    options: dict[str, Any] = case.options | {"gap_limit_ms": None, "entry_bar": "untested"}
    if isinstance(options["tiers"], dict):
        options["tiers"] = {name: table for name, table in options["tiers"].items() if name == symbol}
    case = Case(bars, stamps, positions, changes, venue, options)
    fund = float(rng.choice([0.0, 0.05, 1.0, 100.0])) * scale
    return Coupled(
        case, venue, random_impact(rng, scale, contract.kind == "face_value"), fund, int(rng.integers(9))
    )


def few(coupled: Coupled, count: int) -> Coupled:
    """Return a case with its first positions alone."""
    case = coupled.case
    positions = case.positions.head(count)
    changes = case.adjustments
    if changes is not None:
        changes = changes.filter(pl.col("position_id").is_in(positions["position_id"].implode()))
        changes = None if changes.is_empty() else changes
    return coupled._replace(case=case._replace(positions=positions, adjustments=changes))


def unbounded(coupled: Coupled, rng: Rng) -> Coupled:
    """Return a case of fees beyond the margin, and of deleveraging at the mark from some distance on."""
    venue = coupled.venue.with_(
        liquidation_fee_rate=float(rng.choice([0.005, 0.02, 0.3])),
        liquidation_fee_beyond_margin=bool(rng.random() < 0.7),
        adl_trigger=str(rng.choice(["fund_empty", "fund_drop"])),
        adl_price="bankruptcy",
        adl_mark_beyond=float(rng.choice([0.0, 0.003, 0.02, 0.05, np.inf])),
    )
    return coupled._replace(venue=venue)


def taking_over(coupled: Coupled, rng: Rng) -> Coupled:
    """Return a case whose steps are taken over, at any venue's price."""
    venue = coupled.venue.with_(
        slices="takeover",
        last="takeover",
        step=str(rng.choice(["fraction", "tier", "enough"])),
        takeover_price=str(rng.choice(["backstop", "bankruptcy_with_fee", "bankruptcy"])),
        takeover_discount=float(rng.choice([0.0, 0.01, 0.2])),
    )
    return coupled._replace(venue=venue)
