"""Findings of ``backtest levels`` in one sentence each, for the titles of its charts.

Shares and distances are of every book; amounts only of given ones, whose dollars mean something.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from backtest.amounts import amount, moment, percentage, signed, significant
from backtest.cli.common import charts
from backtest.cli.levels.study import LevelStudy
from backtest.study.levels.levels import Levels

#: Price move in the finding of the map.
MOVE = 0.05


def heatmap(study: LevelStudy) -> str:
    """Return where the largest cluster of each side lies, and what part of the side it holds."""
    largest = _largest(study.clusters)
    if not largest:
        return f"No open liquidation levels of {study.symbol} crowd {study.reach}"
    first, *others = (
        f"{_percent(row['share'])} of the {side}s{verb} {_away(row['distance'])}"
        for (side, row), verb in zip(largest.items(), (" cluster", ""), strict=False)
    )
    return f"{study.symbol}: {', '.join([f'{first} the price', *others])}"


def clusters(study: LevelStudy) -> str:
    """Return the prices of the largest cluster of each side."""
    largest = _largest(study.clusters)
    if not largest:
        return f"No liquidation levels of {study.symbol} crowd {study.reach}"
    parts = [
        f"{significant(row['centre'])} ({side}s, {signed(100 * row['distance'], '+.1f')} %)"
        for side, row in largest.items()
    ]
    return f"{study.symbol} is most crowded at {' and '.join(parts)}"


def cluster_outcomes(study: LevelStudy) -> str:
    """Return the part of the former clusters' notional that was triggered since."""
    found = study.cluster_outcomes
    whole = float(found["notional"].sum())
    when = moment(charts.in_zone(study.options, study.since))
    if not whole:
        return f"No liquidation levels of {study.symbol} crowded {study.reach} on {when}"
    triggered = float((found["notional"] * found["triggered"]).sum()) / whole
    return f"{_percent(triggered)} of the clusters of {study.symbol} of {when} were triggered since"


def level_map(study: LevelStudy) -> str:
    """Return how much of each side a move of five per cent would trigger."""
    move, held = _percent(MOVE), study.map.cumulative
    parts = [
        f"a {word} of {move} would trigger {_percent(_within(study, side))} of the {side}s in reach"
        for side, word in (("long", "fall"), ("short", "rise"))
        if float(held[side].max()) > 0  # type: ignore[arg-type]
    ]
    if not parts:
        return f"No levels of {study.symbol} are open {study.reach}"
    second = f", a rise as far {_percent(_within(study, 'short'))} of the shorts" if parts[1:] else ""
    return f"{study.symbol}: {parts[0]}{second}"


def in_money(study: LevelStudy) -> str:
    """Return the amounts of each side within reach, of a given book; nothing of another."""
    if study.money is None:
        return ""
    found, money = study.map.cumulative, study.money
    return ": " + ", ".join(f"{side}s {amount(float(found[side].max()), money)}" for side in ("long", "short"))  # type: ignore[arg-type]


def multiples(maps: dict[str, Levels]) -> str:
    """Return which symbol holds the most of what is open at the end."""
    held = {symbol: float(own.at(-1).sum()) for symbol, own in maps.items()}
    whole = sum(held.values())
    if not whole:
        return f"Nothing is open at the end: {', '.join(held)}"
    first = max(held, key=lambda symbol: held[symbol])
    return f"{first} holds {_percent(held[first] / whole)} of the levels that are open at the end"


def score(scored: pl.DataFrame | None, magnet: pl.DataFrame | None) -> str:
    """Return how the map ranks beside the best baseline; without a score, whether clusters pulled the price."""
    if scored is not None:
        own = {row["predictor"]: row["area"] for row in scored.filter(bins="all").iter_rows(named=True)}
        rest = {name: area for name, area in own.items() if not name.startswith("map") and area is not None}
        best = max(rest, key=lambda name: rest[name], default=None)
        beside = f", {best} above {_percent(rest[best])}" if best else ""
        return f"The map ranks liquidated prices above {_percent(own['map'])} of all bins{beside}"
    if magnet is None:
        return "Too few clusters for a magnet test"
    above = magnet.filter(pl.col("difference_low") > 0).height
    return (
        f"Clusters were reached more often than {above} of {magnet.height} placebos, beyond the bands"
        if above
        else "No pull of clusters on the price is shown: every band contains zero"
    )


def _largest(found: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the largest cluster of each side, the largest of all first."""
    rows: dict[str, dict[str, Any]] = {}
    for row in found.iter_rows(named=True):
        rows.setdefault(row["side"], row)
    return rows


def _within(study: LevelStudy, side: str) -> float:
    """Return the share of a side of the map that a move of five per cent triggers."""
    found, sign = study.map, -1 if side == "long" else 1
    prices, amounts = found.cumulative["price"].to_numpy(), found.cumulative[side].to_numpy()
    order = slice(None) if sign > 0 else slice(None, None, -1)
    at = float(np.interp(sign * found.mark_price * (1 + sign * MOVE), (sign * prices)[order], amounts[order]))
    return at / float(amounts.max()) if at > 0 else 0.0


def _percent(part: float) -> str:
    """Return a share without decimals, and nearly nothing or nearly all as such."""
    if 0 < part < 0.005:
        return "less than 1 %"
    return "more than 99 %" if 0.995 <= part < 1 else f"{percentage(part, 0)} %"


def _away(distance: float) -> str:
    return f"{percentage(abs(distance), 1)} % {'above' if distance > 0 else 'below'}"
