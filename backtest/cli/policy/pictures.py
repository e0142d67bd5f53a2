"""Charts of a grid of policies."""

from __future__ import annotations

from typing import Any

import polars as pl

from backtest.amounts import number, percentage, three_figures
from backtest.chart.venues.policy import RESPONSE_WORDS
from backtest.cli.policy.results import FILL_WORDS, Tried, cap_words, procedure_called, same
from backtest.study.policy.grid import FILLS


def multiples(tried: Tried, dress: dict[str, Any]) -> Any:
    """Return the effect of each cap, one column per history."""
    from backtest.chart.venues.policy import small_multiples

    bands = "" if tried.books == 1 else ": lines are medians over the books, shades their range"
    if tried.books == 1 and "liquidated_share_low" in tried.policies.columns:
        bands = ": shades are bands over calendar blocks"
    return small_multiples(
        tried.banded(tried.base()),
        title=cap_finding(tried),
        subtitle=f"Effect of a cap on leverage, {FILL_WORDS[tried.fill]}{_terms(tried)}{bands}",
        **dress,
    )


def frontier(tried: Tried, dress: dict[str, Any]) -> Any:
    """Return freedom against shortfall, one panel per history."""
    from backtest.chart.venues.policy import frontiers

    book = tried.policies["book"][0]
    shown = tried.base("change", "rate_scale").filter(book=book).with_columns(label=_labels(tried))
    return frontiers(
        shown,
        title=frontier_finding(shown),
        subtitle=f"Freedom of traders against shortfall, {book}, {FILL_WORDS[tried.fill]}{_terms(tried)}; faint: "
        "dominated by another cap, same rates",
        **dress,
    )


def procedures(tried: Tried, dress: dict[str, Any]) -> Any:
    """Return the losses of the liquidated and of others by procedure, one row per history."""
    from backtest.chart.venues.procedures import MEASURES, side_by_side

    own = tried.base("procedure", "fill").filter(same("cap", tried.loosest), response=tried.grid.responses[0])
    middle = own.group_by("history", "procedure", "fill", maintain_order=True).agg(
        pl.col(*(measure.column for measure in MEASURES)).median()
    )
    basis = f"; medians over {tried.books} books" if tried.books > 1 else ""
    return side_by_side(
        middle,
        title=procedure_finding(tried, middle),
        subtitle=f"Liquidation procedures, and who pays: with {cap_words(tried.loosest)}, fund "
        f"{number(tried.grid.funds[0])}; {_marks(tried)}{basis}",
        **dress,
    )


def cap_finding(tried: Tried) -> str:
    """Return the shares of positions liquidated under the loosest and the tightest cap, in a sentence."""
    own = tried.base().filter(response=tried.grid.responses[0])
    loose, tight = (_shares(own.filter(same("cap", cap))) for cap in (tried.loosest, tried.tightest))
    response = RESPONSE_WORDS.get(tried.grid.responses[0], tried.grid.responses[0])
    if tried.loosest == tried.tightest:
        return f"With {cap_words(tried.loosest)}, {loose} of positions are liquidated"
    return (
        f"With {cap_words(tried.tightest)} instead of {cap_words(tried.loosest)}, {tight} of positions are "
        f"liquidated instead of {loose} ({response})"
    )


def frontier_finding(shown: pl.DataFrame) -> str:
    """Return how many policies no other dominates."""
    kept = shown.height - int(shown["dominated"].sum())
    return f"{number(kept)} of {number(shown.height)} policies are dominated by no other"


def procedure_finding(tried: Tried, middle: pl.DataFrame) -> str:
    """Return the procedures that leave the least and the most to others, of the first history."""
    column = "shortfall_per_million"
    own = middle.filter(pl.col("history") == middle["history"][0], pl.col("fill") == tried.fill).sort(column)
    least, most = own.row(0, named=True), own.row(-1, named=True)
    where = f" ({least['history']})" if middle["history"].n_unique() > 1 else ""
    if least["procedure"] == most["procedure"] or least[column] == most[column]:
        return f"Lost beyond margins per million{where}: {three_figures(least[column])} under every procedure"
    ends = (f"{three_figures(row[column])} ({procedure_called(row['procedure'])})" for row in (least, most))
    return f"Lost beyond margins per million{where}: {' to '.join(ends)}"


def _shares(rows: pl.DataFrame) -> str:
    """Return the shares liquidated, from the lowest to the highest of all histories and books."""
    ends = [float(end) for end in (rows["liquidated_share"].min(), rows["liquidated_share"].max())]  # type: ignore[arg-type]
    return " to ".join(dict.fromkeys(percentage(end, 1) for end in ends)) + " %"


def _marks(tried: Tried) -> str:
    """Return the meaning of the marks."""
    if len(tried.grid.fills) == 1:
        return f"{FILL_WORDS[tried.fill]} only"
    last = "after the delay" if "worst_price" not in tried.grid.fills else "at the worst price of the bar"
    between = "; grey: after the delay" if set(FILLS) <= set(tried.grid.fills) else ""
    return f"hollow: filled at the liquidation price, full: {last}{between}"


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
