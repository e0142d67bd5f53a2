"""What changed from each tier table of a contract to the next, by size."""

from __future__ import annotations

import math
from datetime import datetime
from itertools import pairwise

import numpy as np

from backtest.amounts import number, plain
from backtest.cli.common.text import table
from backtest.rules.contract import Contract
from backtest.rules.tiers import ALWAYS_UNTIL, TierTable


def changes(contract: Contract, start: datetime | None, end: datetime | None) -> str:
    """Return the changes in a period, each as the sizes whose rate or leverage limit is another."""
    blocks = []
    for before, after in pairwise(contract.tables):
        outside = (start is not None and after.start < start) or (end is not None and before.end >= end)
        if not outside and not before.same_as(after):
            blocks.append(f"{_when(before, after)}\n{_sizes(before, after)}")
    if not blocks:
        return f"No change of {contract.symbol} is known in this period."
    return "\n\n".join(blocks)


def _when(before: TierTable, after: TierTable) -> str:
    if before.end == after.start and before.end < ALWAYS_UNTIL:
        return f"{before.name} to {after.name}: at {after.start:%Y-%m-%d %H:%M} UTC"
    return f"{before.name} to {after.name}: between {before.end:%Y-%m-%d} and {after.start:%Y-%m-%d}"


def _sizes(before: TierTable, after: TierTable) -> str:
    """Return the sizes at which two tables differ."""
    if before.keyed_by != after.keyed_by or before.contract_size != after.contract_size:
        return f"  {before.model} by {before.size} became {after.model} by {after.size}"
    edges = np.union1d(before.floors, after.floors)
    edges = np.union1d(edges, [own.cap for own in (before, after) if math.isfinite(own.cap)])
    ends = [*edges[1:], math.inf]
    rows = []
    for low, high in zip(edges, ends, strict=True):
        was, now = (_at(own, low) for own in (before, after))
        if was != now:
            rows.append([number(low), number(high) if math.isfinite(high) else "no limit", *was, *now])
    header = ["sizes from", "to", "rate %\nbefore", "leverage\nbefore", "rate %\nafter", "leverage\nafter"]
    return table(header, rows, left=0)


def _at(own: TierTable, size: float) -> tuple[str, str]:
    """Return the rate and the leverage limit just above a size."""
    if size >= own.cap:
        return "not held", "not held"
    tier = int(np.searchsorted(own.floors, size, side="right")) - 1
    limit = own.max_leverages[tier]
    if not own.by_size:
        return f"{plain(own.rate_factor)} / leverage", plain(limit)
    return plain(100 * own.rates[tier], 6), plain(limit) if math.isfinite(limit) else "unknown"
