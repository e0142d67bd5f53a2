"""Tables of a grid of policies, the same for terminal and report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import polars as pl

from backtest.amounts import NOTHING, number, percentage
from backtest.chart.venues.policy import RESPONSE_WORDS, cap_name, cap_order
from backtest.cli.policy import who_pays
from backtest.cli.policy.results import ANY_RESPONSE, FILL_WORDS, Table, Tried, ranged, same
from backtest.study.policy.frontier import laws


def tables(tried: Tried) -> Iterator[Table]:
    """Yield every table that the grid has values for."""
    for history in tried.histories:
        for fill in tried.grid.fills:
            yield _by_cap(tried, history, fill)
    for history in tried.histories:
        yield from who_pays.tables(tried, history)
        if len(tried.grid.rate_scales) * len(tried.grid.changes) > 1:
            yield _by_rules(tried, history)
    yield _by_law(tried)


def _by_cap(tried: Tried, history: str, fill: str) -> Table:
    own = tried.base("fill").filter(history=history, fill=fill)
    dominated = own.group_by("cap", "response").agg(dominated=pl.col("dominated").all())
    shown = tried.banded(own).join(dominated, on=["cap", "response"], nulls_equal=True, maintain_order="left")
    order = {cap: place for place, cap in enumerate(cap_order(own))}
    rows = sorted(
        shown.to_dicts(), key=lambda row: (order[row["cap"]], list(RESPONSE_WORDS).index(row["response"]))
    )
    header = [
        "highest\nleverage", "traders' response", "freedom\n%", "liquidated, %\nof positions",
        "liquidated, %\nof notional", "shortfall\nper million", "losses of the\nliquidated\nper million",
        "turnover\ngiven up\n%", "dominated by\nanother cap" + ("\nin every book" if tried.books > 1 else ""),
    ]  # fmt: skip
    cells = [
        [
            cap_name(row["cap"]),
            RESPONSE_WORDS[row["response"]],
            percentage(row["freedom"], 1),
            ranged(row, "liquidated_share"),
            ranged(row, "notional_share"),
            number(row["shortfall_per_million"], 1),
            number(row["losses_per_million"]),
            percentage(row["turnover_given_up"], 1),
            "yes" if row["dominated"] else NOTHING,
        ]
        for row in rows
    ]
    terms = f", {tried.terms}" if tried.terms else ""
    caption = f"Caps on leverage, {history}, {FILL_WORDS[fill]}{terms}{tried.ranges}"
    return Table(caption, header, list(_alike_once(cells)), left=2)


def _alike_once(cells: Sequence[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Yield the rows of caps and responses; one row for a cap whose responses are all alike."""
    for cap, group in groupby(cells, key=lambda row: row[0]):
        rows = list(group)
        alike = len(rows) > 1 and all(row[2:] == rows[0][2:] for row in rows)
        yield from [[cap, ANY_RESPONSE, *rows[0][2:]]] if alike else rows


def _by_rules(tried: Tried, history: str) -> Table:
    own = tried.base("rate_scale", "change").filter(
        same("cap", tried.loosest), history=history, response=tried.grid.responses[0]
    )
    header = [
        "other rules", "maintenance\nrates times", "liquidated, %\nof positions", "liquidated, %\nof notional",
        "shortfall\nper million", "losses of the\nliquidated\nper million",
    ]  # fmt: skip
    rows = [
        [
            row["change"],
            number(row["rate_scale"], 2),
            ranged(row, "liquidated_share"),
            ranged(row, "notional_share"),
            number(row["shortfall_per_million"], 1),
            number(row["losses_per_million"]),
        ]
        for row in tried.banded(own).iter_rows(named=True)
    ]
    caption = f"Maintenance, {history}, highest leverage {cap_name(tried.loosest)}, {FILL_WORDS[tried.fill]}"
    return Table(caption + tried.ranges, header, rows)


def _by_law(tried: Tried) -> Table:
    rows = [
        [
            row["sentence"],
            "must hold" if row["holds"] else "rule of thumb",
            number(row["compared"]),
            number(row["broken"]),
            NOTHING if row["largest"] is None else f"{percentage(row['largest'], 1)}",
        ]
        for row in laws(tried.policies).filter(pl.col("compared") > 0).iter_rows(named=True)
    ]
    header = ["expectation", "", "pairs\ncompared", "violated", "largest\nviolation, %"]
    return Table("Checks of the results, by pairs of neighbouring values", header, rows, left=2)
