"""Ranking of days under an estimated book: volume times the move, with the book's own rank beside it."""

from __future__ import annotations

import polars as pl

from backtest.amounts import number, percentage
from backtest.cli.common.swept import Swept
from backtest.cli.common.text import paragraph, table
from backtest.study.calibration import baselines

#: Days that are listed of each side.
MOST = 5

TITLE = "Heaviest days by volume times the move, hour by hour"

NOTE = (
    "Days are ranked by volume times the move against the side. On recorded days a book with one leverage mix of "
    "both sides has not been shown to rank them better (docs/populations.md); it says at which prices levels lie."
)


def day_ranks(swept: Swept) -> str:
    """Return the heaviest days of each side by volume times the move, with the rank that the book gives them."""
    plain = [baselines(swept.market, symbol=symbol) for symbol in swept.market.symbols]
    days = pl.concat(plain).group_by("time").agg(pl.col("^.*_hourly_product$").sum()).sort("time")
    days = days.join(swept.flow("1d"), on="time", how="left", maintain_order="left")
    lines = []
    for side in ("long", "short"):
        product, book = f"{side}_hourly_product", f"{side}_notional"
        ranked = days.with_columns(
            rank=pl.col(product).rank("ordinal", descending=True), own=pl.col(book).rank("min", descending=True)
        ).sort("rank")
        largest = ranked[product][0]
        lines += [
            [
                f"{side}s",
                number(row["rank"]),
                f"{row['time']:%Y-%m-%d}",
                percentage(row[product] / largest if largest else 0.0, 0),
                number(row["own"]) if row[book] else "-",
            ]
            for row in ranked.head(MOST).iter_rows(named=True)
        ]
    header = ["side", "rank", "day\n(UTC)", "of the\nheaviest, %", "rank in\nthe book"]
    return f"{table(header, lines)}\n{paragraph(NOTE)}"
