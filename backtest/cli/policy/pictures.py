"""Charts of a grid of policies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from backtest.amounts import number
from backtest.cli.policy.results import FILL_WORDS, Tried, cap_words, same


def draw_multiples(tried: Tried, path: Path, notes: Sequence[str]) -> None:
    """Draw and save the effect of each cap, one column per history."""
    from backtest.chart.venues.policy import small_multiples

    bands = "" if tried.books == 1 else ": lines are medians over the books, shades their range"
    if tried.books == 1 and "liquidated_share_low" in tried.policies.columns:
        bands = ": shades are bands over calendar blocks"
    figure = small_multiples(
        tried.banded(tried.base()),
        title="Effect of a cap on leverage",
        subtitle=f"{FILL_WORDS[tried.fill].capitalize()}{_terms(tried)}{bands}",
        notes=notes,
    )
    figure.savefig(path, format="png")
    figure.clear()


def draw_frontier(tried: Tried, path: Path, notes: Sequence[str]) -> None:
    """Draw and save freedom against shortfall, one panel per history."""
    from backtest.chart.venues.policy import frontiers

    book = tried.policies["book"][0]
    figure = frontiers(
        tried.base("change", "rate_scale").filter(book=book).with_columns(label=_labels(tried)),
        title="Freedom of traders against shortfall",
        subtitle=f"{book}, {FILL_WORDS[tried.fill]}{_terms(tried)}; faint: dominated by another cap, same rates",
        notes=notes,
    )
    figure.savefig(path, format="png")
    figure.clear()


def draw_procedures(tried: Tried, path: Path, notes: Sequence[str]) -> None:
    """Draw and save the losses of the liquidated and of others by procedure, one row per history."""
    from backtest.chart.venues.procedures import MEASURES, side_by_side

    own = tried.base("procedure", "fill").filter(same("cap", tried.loosest), response=tried.grid.responses[0])
    middle = own.group_by("history", "procedure", "fill", maintain_order=True).agg(
        pl.col(*(measure.column for measure in MEASURES)).median()
    )
    basis = f"; medians over {tried.books} books" if tried.books > 1 else ""
    figure = side_by_side(
        middle,
        title="Liquidation procedures, and who pays",
        subtitle=f"With {cap_words(tried.loosest)}, fund {number(tried.grid.funds[0])}; {_marks(tried)}{basis}",
        notes=notes,
    )
    figure.savefig(path, format="png")
    figure.clear()


def _marks(tried: Tried) -> str:
    """Return the meaning of the marks."""
    if len(tried.grid.fills) == 1:
        return f"{FILL_WORDS[tried.fill]} only"
    return "hollow: filled at the liquidation price, full: at the worst price of the bar"


def _terms(tried: Tried) -> str:
    return f" ({tried.terms})" if tried.terms else ""


def _labels(tried: Tried) -> pl.Expr:
    """Return the name of each policy: its cap, and other values that differ from the first of their axes."""
    cap = pl.when(pl.col("cap").is_null()).then(pl.lit("none")).otherwise(pl.format("{}x", _short("cap")))
    scaled = pl.when(pl.col("rate_scale") == tried.grid.rate_scales[0]).then(pl.lit(""))
    changed = pl.when(pl.col("change") == next(iter(tried.grid.changes))).then(pl.lit(""))
    return pl.concat_str(
        cap,
        scaled.otherwise(pl.format(", rates times {}", _short("rate_scale"))),
        changed.otherwise(pl.format(", {}", "change")),
    )


def _short(name: str) -> pl.Expr:
    """Return a number as text without trailing zeros."""
    return pl.col(name).cast(pl.String).str.strip_suffix(".0")
