"""Findings of a grid of policies in sentences: the answer, and what would change it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from backtest.amounts import number, percentage
from backtest.chart.venues.policy import RESPONSE_WORDS
from backtest.cli.policy import who_pays
from backtest.cli.policy.results import FILL_WORDS, Tried, cap_words, procedure_called, ranged, same
from backtest.cli.policy.verdict import verdict

Row = dict[str, Any]

#: Columns of a case, within which two caps are compared.
CASE = ("history", "book", "fill", "response", "procedure")

#: Columns that caps are compared by, with their names.
JUDGED = {"liquidated_share": "the share of positions liquidated", "shortfall": "the shortfall"}


def answer(tried: Tried) -> Iterator[str]:
    """Yield the findings, the verdict on the tolerance first."""
    yield from verdict(tried)
    for history in tried.histories:
        own = tried.banded(tried.base().filter(history=history))
        loose, tight = (_rows(own, cap) for cap in (tried.loosest, tried.tightest))
        if tried.loosest != tried.tightest:
            yield _of_caps(tried, history, loose, tight)
    counts = tried.marked.group_by("response").agg(pl.col("dominated").sum(), pl.len())
    total, lost = int(counts["len"].sum()), int(counts["dominated"].sum())
    yield (
        f"Of {number(total)} rows (policies under each response, history, book and fill), {number(lost)} are "
        "dominated: under the same maintenance rates, terms and other rules, another one leaves as much freedom "
        "for less shortfall, or more freedom for no more shortfall."
    )
    yield from who_pays.sentences(tried)


def sensitivity(tried: Tried) -> Iterator[str]:
    """Yield how far the effect of the tightest cap depends on the assumed responses, fills and books."""
    if tried.loosest == tried.tightest:
        yield "The grid has one cap, so no effect of a cap can be compared."
        yield from who_pays.caveats(tried)
        return
    what = f"from {cap_words(tried.loosest)} to {cap_words(tried.tightest)}"
    for axis, words in (
        ("response", "Traders' response"), ("fill", "Fill price"),
        ("book", "Book"), ("history", "History"), ("procedure", "Procedure"),
    ):  # fmt: skip
        frame = tried.base(axis) if axis in ("fill", "procedure") else tried.base()
        for column, name in JUDGED.items():
            if column == "liquidated_share" and axis in ("fill", "procedure"):
                continue  # without feedback neither changes which positions are triggered
            changes = _changes(tried, frame, column, axis)
            if len(changes) > 1:
                yield f"{words}: {what}, {name} changes by {_from_to(changes, axis)}{_of_each(frame, axis)}."
    yield from _of_bands(tried)
    yield from who_pays.caveats(tried)


def _of_caps(tried: Tried, history: str, loose: dict[str, Row], tight: dict[str, Row]) -> str:
    parts = [
        f"{ranged(tight[response], 'liquidated_share')} % ({RESPONSE_WORDS[response]}; shortfall "
        f"{number(tight[response]['shortfall_per_million'], 1)} per million of intended notional)"
        for response in tight
    ]
    first = next(iter(loose.values()))
    terms = f" ({tried.terms})" if tried.terms else ""
    return (
        f"{history}: with {cap_words(tried.loosest)}, {ranged(first, 'liquidated_share')} % of positions were "
        f"liquidated and the shortfall was {number(first['shortfall_per_million'], 1)} per million, "
        f"{FILL_WORDS[tried.fill]}{terms}. With {cap_words(tried.tightest)} it is {'; '.join(parts)}."
        f"{_basis(tried)}"
    )


def _basis(tried: Tried) -> str:
    """Return the sentence on the basis of the figures, where there are several books."""
    if not tried.basis:
        return ""
    return f" Each figure is {tried.basis}, so figures in one row may be of different books."


def _of_bands(tried: Tried) -> Iterator[str]:
    if "liquidated_share_low" not in tried.policies.columns:
        yield "Bands: none requested, so the sampling uncertainty of the history is not shown."
        return
    rows = tried.base().filter(same("cap", tried.loosest))
    for row in rows.unique(["history", "book"], maintain_order=True).iter_rows(named=True):
        yield (
            f"Sampling, {row['history']}, {row['book']}: with {cap_words(tried.loosest)} the share of positions "
            f"liquidated is {ranged(row, 'liquidated_share')} % over resampled calendar blocks "
            f"({row['effective_blocks']:.1f} effective blocks)."
        )


def _changes(tried: Tried, frame: pl.DataFrame, column: str, axis: str) -> list[tuple[str, float]]:
    """Return the relative change from the loosest to the tightest cap by the values of an axis."""
    ends = []
    for cap, name in ((tried.loosest, "loose"), (tried.tightest, "tight")):
        own = frame.filter(same("cap", cap))
        ends.append(own.select(*CASE, pl.col(column).alias(name)))
    both = ends[0].join(ends[1], on=CASE, maintain_order="left")
    change = both.filter(pl.col("loose") > 0).with_columns(change=pl.col("tight") / pl.col("loose") - 1)
    found = change.group_by(axis, maintain_order=True).agg(pl.col("change").median())
    return [(name, value) for name, value in found.iter_rows() if value is not None]


def _of_each(frame: pl.DataFrame, axis: str) -> str:
    """Return the cases that the changes are medians over, where each value of an axis has several."""
    names = [name for name in CASE if name != axis and frame[name].n_unique() > 1]
    if not names:
        return ""
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    return f": medians of the changes within each {listed}" + (
        ", not of the tables' medians" if "book" in names else ""
    )


def _from_to(changes: list[tuple[str, float]], axis: str) -> str:
    low, high = min(changes, key=lambda pair: pair[1]), max(changes, key=lambda pair: pair[1])
    if _signed(low[1]) == _signed(high[1]):
        return f"{_signed(low[1])} in every case"
    return f"{_signed(low[1])} ({_named(axis, low[0])}) to {_signed(high[1])} ({_named(axis, high[0])})"


def _rows(frame: pl.DataFrame, cap: float | None) -> dict[str, Row]:
    """Return the rows of a cap by response."""
    own = frame.filter(same("cap", cap))
    return {row["response"]: row for row in own.iter_rows(named=True)}


def _named(axis: str, value: str) -> str:
    words = {"response": RESPONSE_WORDS, "fill": FILL_WORDS}.get(axis, {})
    return procedure_called(value) if axis == "procedure" else words.get(value, value)


def _signed(change: float) -> str:
    return f"{'+' if change > 0 else ''}{percentage(change, 0)} %"
