"""Tables of ``backtest check``: venue by leverage, the trades liquidated, what was left out."""

from __future__ import annotations

import polars as pl

from backtest.amounts import column, number, plain, plural, timestamp
from backtest.cli.common.text import table

#: Liquidated trades that are printed; all are in the files.
MOST = 20


def span(certain: int, possible: int) -> str:
    """Return a number of trades as a range where the bars leave it open."""
    return f"{certain:,}" if certain == possible else f"{certain:,}-{possible:,}"


def by_venue(counts: pl.DataFrame) -> str:
    """Return how many trades are liquidated, a row a venue, a column a leverage."""
    leverages = counts["leverage"].unique(maintain_order=True).to_list()
    heads = ["own\nleverage" if one is None else f"{plain(one)}x" for one in leverages]
    rows = []
    for (venue,), own in counts.group_by("venue", maintain_order=True):
        cells = [cell(row) for row in own.iter_rows(named=True)]
        highest = own["highest_for_all"][0]
        rows.append([str(venue), *cells, number(highest, 2)])
    title = "Trades liquidated (certainly, or a range to possibly), and the leverage below which none is"
    header = ["venue", *heads, "none\nbelow"]
    return f"{title}\n{table(header, rows)}"


#: Columns of isolated and cross margin side by side.
SIDE_BY_SIDE = (
    "venue", "leverage", "isolated:\nliquidated", "cross:\nliquidations", "first\n(UTC)", "trades\nin them",
    "unfunded", "after it", "wallet\nat the end",
)  # fmt: skip


def account_rows(counts: pl.DataFrame) -> list[list[str]]:
    """Return a row a venue and leverage: isolated margin, and one account in cross margin."""
    return [
        [
            str(row["venue"]),
            "own" if row["leverage"] is None else f"{plain(row['leverage'])}x",
            cell(row),
            f"{row['account_liquidations']:,}" + ("?" if row["account_ambiguous"] else ""),
            "-" if row["first_account_liquidation"] is None else timestamp(row["first_account_liquidation"]),
            f"{row['cross_liquidated']:,}",
            f"{row['unfunded']:,}",
            f"{row['after_liquidation']:,}",
            f"{row['end_wallet']:,.2f}",
        ]
        for row in counts.iter_rows(named=True)
    ]


def side_by_side(counts: pl.DataFrame) -> str:
    """Return isolated and cross margin side by side."""
    title = "Isolated, and one account in cross margin (?: bars leave open whether it is liquidated)"
    return f"{title}\n{table(list(SIDE_BY_SIDE), account_rows(counts))}"


def cell(row: dict[str, int]) -> str:
    """Return one count, or why there is none."""
    asked = row["trades"] - row["rejected"] - row["no_rules"]
    if not asked:
        return "not offered" if row["rejected"] else "no rules"
    text = span(row["certainly_liquidated"], row["possibly_liquidated"])
    return f"{text} of {asked:,}" if asked < row["trades"] else text


def liquidated(rows: pl.DataFrame) -> str:
    """Return the first liquidated trades."""
    if rows.is_empty():
        return ""
    first = rows.sort("outcome_time").head(MOST)
    columns = [
        [str(value) for value in first["trade_id"]],
        first["symbol"].to_list(),
        first["side"].cast(pl.String).to_list(),
        first["venue"].to_list(),
        [f"{plain(value)}x" for value in first["leverage"]],
        [timestamp(value) for value in first["entry_time"]],
        [timestamp(value) for value in first["outcome_time"]],
        [timestamp(value) for value in first["outcome_until"]],
        column(first["entry_price"].to_list()),
        column(first["liquidation_price"].to_list()),
        column(first["margin"].to_list()),
        column(first["margin_that_holds"].to_list()),
        [number(value, 1) for value in first["highest_surviving_leverage"]],
    ]
    header = [
        "trade", "symbol", "side", "venue", "leverage", "opened\n(UTC)", "liquidated\nbetween", "and\n(UTC)",
        "entry\nprice", "liquidation\nprice", "margin", "margin\nthat holds", "highest\nleverage",
    ]  # fmt: skip
    more = "" if rows.height <= MOST else f", the first {MOST} of {rows.height:,}"
    return f"Liquidated at the highest leverage{more}\n{table(header, zip(*columns, strict=True), left=4)}"


def reasons(left_out: pl.DataFrame) -> str:
    """Return why trades were left out, with their numbers."""
    counted = left_out.unique("trade_id", maintain_order=True)["reason"].value_counts(sort=True)
    return ", ".join(f"{plural(count, 'trade')} {reason}" for reason, count in counted.iter_rows())
