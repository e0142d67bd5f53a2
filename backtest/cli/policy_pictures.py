"""The charts of a grid of policies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from backtest.cli.policy_tried import FILL_WORDS, Tried


def draw_multiples(tried: Tried, path: Path, notes: Sequence[str]) -> None:
    """Draw what each cap changed, a column a history, and save it."""
    from backtest.chart.policy import small_multiples

    bands = "" if tried.books == 1 else ": lines are the middle of the books, shades their range"
    if tried.books == 1 and "liquidated_share_low" in tried.policies.columns:
        bands = ": shades are bands over calendar blocks"
    figure = small_multiples(
        tried.banded(tried.base()),
        title="What a cap on leverage would have changed",
        subtitle=f"{FILL_WORDS[tried.fill].capitalize()}{bands}",
        notes=notes,
    )
    figure.savefig(path, format="png")
    figure.clear()


def draw_frontier(tried: Tried, path: Path, notes: Sequence[str]) -> None:
    """Draw freedom against shortfall, a panel a history, and save it."""
    from backtest.chart.policy import frontiers

    book = tried.policies["book"][0]
    figure = frontiers(
        tried.marked.filter(fill=tried.fill, book=book).with_columns(label=_labels(tried)),
        title="Freedom against loss",
        subtitle=f"{book}, {FILL_WORDS[tried.fill]}; faint: beaten by another cap under the same rates",
        notes=notes,
    )
    figure.savefig(path, format="png")
    figure.clear()


def _labels(tried: Tried) -> pl.Expr:
    """Return the name of each policy: its cap, and what else differs from the first values of its axes."""
    cap = pl.when(pl.col("cap").is_null()).then(pl.lit("none")).otherwise(pl.format("{}x", _short("cap")))
    scaled = pl.when(pl.col("rate_scale") == tried.grid.rate_scales[0]).then(pl.lit(""))
    changed = pl.when(pl.col("change") == next(iter(tried.grid.changes))).then(pl.lit(""))
    return pl.concat_str(
        cap,
        scaled.otherwise(pl.format(", rates times {}", _short("rate_scale"))),
        changed.otherwise(pl.format(", {}", "change")),
    )


def _short(name: str) -> pl.Expr:
    """Return a number without zeros that say nothing, as text."""
    return pl.col(name).cast(pl.String).str.strip_suffix(".0")
