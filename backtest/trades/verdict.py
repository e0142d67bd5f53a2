"""A check in a table and in a sentence."""

from __future__ import annotations

import polars as pl

from backtest.amounts import moment, percent, plain, plural
from backtest.trades.book import Keep

#: What the name of a tier table ends in where it did not apply at the entry.
NOT_IN_FORCE = "(not in force)"

_RECORDED = (pl.col("recorded") == "liquidated") & pl.col("possibly_liquidated").is_not_null()

#: How far the list's own liquidation price lies from ours, a fraction.
_PRICE_DIFFERENCE = (pl.col("exit_price") / pl.col("liquidation_price") - 1).abs()

KEPT = {"size": "with the same size and less margin", "stake": "with the same margin and more size"}


def counts(rows: pl.DataFrame, venue: str, leverage: float | None) -> pl.DataFrame:
    """Return one row: how many trades a venue would have liquidated at a leverage (None: the list's own)."""
    outcome = pl.col("outcome")
    return rows.select(
        venue=pl.lit(venue),
        leverage=pl.lit(leverage, pl.Float64),
        trades=pl.len(),
        certainly_liquidated=pl.col("certainly_liquidated").sum(),
        possibly_liquidated=pl.col("possibly_liquidated").sum(),
        rejected=(outcome == "rejected").sum(),
        no_rules=(outcome == "no_rules").sum(),
        unknown=(outcome == "unknown").sum(),
        tiers_not_in_force=pl.col("tier_source").str.ends_with(NOT_IN_FORCE).sum(),
        recorded_liquidations=_RECORDED.sum(),
        recorded_found=(_RECORDED & pl.col("possibly_liquidated")).sum(),
        recorded_later=pl.col("liquidated_later").is_not_null().sum(),
        recorded_price_difference=_PRICE_DIFFERENCE.filter(_RECORDED & pl.col("possibly_liquidated")).median(),
        first_liquidation=pl.col("outcome_time").filter(pl.col("certainly_liquidated")).min(),
        highest_for_all=pl.col("highest_surviving_leverage").min(),
        realised_pnl=pl.col("realised_pnl").sum(),
        logged_pnl=pl.col("logged_pnl").sum(),
    )


def sentences(totals: pl.DataFrame, keep: Keep, titles: dict[str, str]) -> list[str]:
    """Return the answer for the highest leverage on each venue, with the range that the bars leave open."""
    said = []
    for (venue,), own in totals.group_by("venue", maintain_order=True):
        row = own.sort("leverage", nulls_last=False).row(-1, named=True)
        said.append(_of_venue(row, titles.get(str(venue), str(venue)), keep))
    return said


def substituted(totals: pl.DataFrame) -> list[str]:
    """Return how many trades are under a tier table that did not apply at their entry, a sentence a venue."""
    found = totals.group_by("venue", maintain_order=True).agg(pl.col("tiers_not_in_force").max())
    return [
        f"{venue}: {plural(count, 'trade')} under tier tables that were not in force at their entry"
        for venue, count in found.iter_rows()
        if count
    ]


def recorded(totals: pl.DataFrame) -> list[str]:
    """Return how the liquidations that the list itself records compare with ours, at the list's own leverage."""
    said = []
    for row in totals.filter(pl.col("leverage").is_null(), pl.col("recorded_liquidations") > 0).iter_rows(
        named=True
    ):
        others = row["possibly_liquidated"] - row["recorded_found"]
        listed = plural(row["recorded_liquidations"], "liquidation")
        text = (
            f"of {listed} that the list records, {row['recorded_found']:,} are liquidated under {row['venue']}'s "
        )
        text += f"rules, certainly or possibly, and so are {plural(others, 'other trade')}"
        if row["recorded_found"] < row["recorded_liquidations"]:
            text += f"; of the rest {row['recorded_later']:,} would have been later, had they been held on"
        if row["recorded_price_difference"] is not None:
            text += f"; the prices differ by {percent(row['recorded_price_difference'])} in the median"
        said.append(text)
    return said


def _of_venue(row: dict[str, object], title: str, keep: Keep) -> str:
    certain, possible = int(row["certainly_liquidated"] or 0), int(row["possibly_liquidated"] or 0)  # type: ignore[call-overload]
    asked = int(row["trades"]) - int(row["rejected"]) - int(row["no_rules"])  # type: ignore[call-overload]
    leverage = row["leverage"]
    how = "at their own leverage" if leverage is None else f"at {plain(float(str(leverage)))}x, {KEPT[keep]},"
    number = f"{certain:,}" if certain == possible else f"{certain:,} to {possible:,}"
    if not possible:
        number = "None"
    if not asked:
        none = plural(int(row["trades"]), "trade")  # type: ignore[call-overload]
        return f"None of {none} could have been opened {how} on {title}."
    said = f"{number} of {plural(asked, 'trade')} would have been liquidated {how} on {title}"
    first = row["first_liquidation"]
    if first is not None:
        said += f", the first on {moment(first)}"  # type: ignore[arg-type]
    highest = row["highest_for_all"]
    if highest is not None and possible:
        surely = "" if certain == possible else " for certain"
        said += f"; {plain(floored(float(highest)))}x would have lost none{surely}"  # type: ignore[arg-type]
    if row["rejected"]:
        said += f"; {plural(int(row['rejected']), 'trade')} could not have been opened there at that leverage"  # type: ignore[call-overload]
    return said + "."


def floored(leverage: float) -> float:
    """Return a leverage as one that can be chosen: a whole number, or a tenth below one of two."""
    return float(int(leverage)) if leverage >= 2 else int(leverage * 10) / 10
