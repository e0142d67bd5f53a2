"""The tables of ``backtest levels``: clusters, the magnet test, the score of a map."""

from __future__ import annotations

from math import isnan

import polars as pl

from backtest.amounts import amount, number, percentage, significant, timestamp
from backtest.cli.common.text import table
from backtest.study.levels.evaluation.magnet_test import FEWEST_BLOCKS, FEWEST_PAIRS

#: Clusters that are printed.
MOST = 10


def cluster_rows(clusters: pl.DataFrame, currency: str, synthetic: bool) -> str:
    """Return clusters, the largest first; without amounts of a synthetic book, with outcomes where known."""
    if clusters.is_empty():
        return "none within reach"
    has_outcomes = "triggered" in clusters.columns
    header = ["side", "prices", "distance\n%", "days of\nvolatility", "of the side\n%", "mean\nleverage"]
    header += [] if synthetic else ["open"]
    header += ["triggered\n%", "closed\n%", "still open\n%", "first triggered\n(UTC)"] if has_outcomes else []
    lines = []
    for row in clusters.head(MOST).iter_rows(named=True):
        line = [
            f"{row['side']}s",
            f"{significant(row['price_low'])} to {significant(row['price_high'])}",
            f"{100 * row['distance']:+.1f}",
            number(row["days"], 1),
            percentage(row["share"], 1),
            number(row["mean_leverage"], 1),
        ]
        line += [] if synthetic else [amount(row["notional"], currency)]
        if has_outcomes:
            line += [percentage(row[name], 0) for name in ("triggered", "closed", "open")]
            line += [timestamp(row["first_triggered"]) if row["first_triggered"] else "-"]
        lines.append(line)
    return table(header, lines, left=2)


def screener_rows(found: pl.DataFrame) -> str:
    """Return the screener, the likeliest first."""
    if found.is_empty():
        return "none"
    header = ["symbol", "side", "prices", "distance\n%", "days of\nvolatility", "touched in\n24 h, %",
              "of the side\n%", "change since\na day before, %"]  # fmt: skip
    lines = [
        [
            row["symbol"],
            f"{row['side']}s",
            f"{significant(row['price_low'])} to {significant(row['price_high'])}",
            f"{100 * row['distance']:+.1f}",
            number(row["days"], 1),
            "-" if isnan(row["chance"]) else percentage(row["chance"], 0),
            percentage(row["share"], 1),
            "-" if isnan(row["change"]) else f"{100 * row['change']:+.0f}",
        ]
        for row in found.head(MOST).iter_rows(named=True)
    ]
    return table(header, lines, left=3)


def magnet_rows(found: pl.DataFrame) -> str:
    """Return the magnet test."""
    header = [
        "placebo",
        "prices",
        "pairs",
        "clusters\n%",
        "placebos\n%",
        "difference\npoints",
        "95 % band\npoints",
    ]
    lines = [
        [
            row["placebo"],
            row["prices"],
            number(row["pairs"]),
            percentage(row["reached"], 0),
            percentage(row["placebo_reached"], 0),
            _points(row["difference"]),
            f"{_points(row['difference_low'])} to {_points(row['difference_high'])}",
        ]
        for row in found.iter_rows(named=True)
    ]
    return table(header, lines, left=2)


def magnet_omitted(found: pl.DataFrame | None, reliable: pl.DataFrame | None) -> str:
    """Return which comparisons of the magnet test are left out, and why; nothing where none is."""
    if found is None:
        return "Magnet test left out: too few moments have a known volatility and a cluster near the price."
    count = found.height - (0 if reliable is None else reliable.height)
    which = " left out" if reliable is None else f": {count} of {found.height} comparisons are left out"
    why = f"fewer than {FEWEST_PAIRS} pairs, or pairs on fewer than {FEWEST_BLOCKS} days"
    return f"Magnet test{which}: {why}." if count else ""


def score_rows(found: pl.DataFrame) -> str:
    """Return the score of a map and its baselines."""
    header = [
        "predictor",
        "bins",
        "emptier bins\n%",
        "95 % band\n%",
        "in the top\ntenth, %",
        "map leads by\npoints",
        "95 % band\npoints",
    ]
    lines = [
        [
            row["predictor"],
            row["bins"],
            percentage(row["area"], 1),
            f"{percentage(row['area_low'], 1)} to {percentage(row['area_high'], 1)}",
            percentage(row["captured"], 1),
            "-" if row["predictor"] == "map" else _points(row["lead"]),
            "-" if row["predictor"] == "map" else f"{_points(row['lead_low'])} to {_points(row['lead_high'])}",
        ]
        for row in found.sort("bins", maintain_order=True).iter_rows(named=True)
    ]
    return table(header, lines, left=2)


def _points(value: float) -> str:
    return "-" if value != value else f"{100 * value:+.1f}"
