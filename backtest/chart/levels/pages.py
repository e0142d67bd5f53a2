"""A heatmap of liquidation levels as a page to explore: one file, which asks nothing of the network."""

from __future__ import annotations

import json
import math
import zlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import polars as pl
from matplotlib.colors import to_hex

from backtest.amounts import amount, number, percentage, significant
from backtest.chart.levels.heatmaps import norm_of, scale_of
from backtest.chart.page.page import Page, block, page, section, sentences, table
from backtest.chart.style.looks import COLOURS, LOOKS, Look
from backtest.chart.style.time_axis import zone_of
from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats, Integers
from backtest.schemas.arguments import checked
from backtest.study.levels.levels import Levels

#: Bytes of the cells' text beyond which every second column is left out.
LARGEST = 1_000_000
#: Codes of amounts: 0 is nothing, the others divide the amounts' logarithms evenly.
CODES = 65_535
#: Share of the largest cell below which nothing is drawn at first.
FLOOR = 1e-3
SHADES, RISEN, FALLEN = 64, "#1B9E5A", "#D6453D"
#: Scripts of the page, in their order.
SCRIPTS = ("sortable", "times", "heatmap", "heatmap_controls")
#: Most recorded liquidations on a page, the largest.
MOST_EVENTS = 600


@checked
def level_page(
    groups: Mapping[str, Levels],
    bars: pl.DataFrame,
    *,
    title: str,
    subtitle: str = "",
    clusters: pl.DataFrame | None = None,
    events: pl.DataFrame | None = None,
    currency: str | None = None,
    threshold: float = FLOOR,
    look: str = "light",
    colours: str = "ours",
    timezone: str = "UTC",
    notes: Sequence[str] = (),
) -> Page:
    """Return a page of a heatmap to explore: hover, zoom, sides, leverage groups, threshold, profile, clusters.

    Parameters
    ----------
    groups
        Levels on one grid by the name of their group, as ``levels_by_leverage`` returns them; or one map alone.
    bars
        A bar a column, as ``study.levels.column_bars`` returns them.
    title, subtitle, notes
        In plain text; notes are listed below the chart.
    clusters
        As ``study.levels.clusters_at`` returns them: a table whose rows lead to their place.
    events
        Recorded liquidations, ``time, price, notional``, drawn as bubbles; ``side`` (long or short) where it is
        known.
    currency
        What amounts are in; None: amounts are shown as shares of what is open, as of an estimated book.
    threshold
        Part of the largest cell below which cells are hidden at first.
    look : "light" or "dark"
    colours : "ours" or "vendor"
    timezone
        Zone that times are first shown in; the page also offers UTC and the reader's own.

    Returns
    -------
    HTML in one file, which a notebook shows at the end of a cell. Amounts are kept within 0.1 %; where the cells
    would take more than a megabyte every second column is left out, which the page says.

    Raises
    ------
    ArgumentError
        For no group, groups on several grids, bars that are not one a column, an unknown look, colours or
        time zone, a threshold outside 0 to 1.

    Examples
    --------
    >>> from backtest.chart.levels import level_page
    >>> from backtest.study.levels import column_bars, without_drift
    >>> from backtest.study.levels.combine import levels_by_leverage
    >>> groups = levels_by_leverage(without_drift(book, market, venue), grid)
    >>> html = level_page(groups, column_bars(market, grid), title="Liquidation levels")
    >>> html[:15], "http" in html
    ('<!DOCTYPE html>', False)
    """
    _require(groups, bars, look, colours)
    zone_of(timezone)
    if not 0 <= threshold < 1:
        raise ArgumentError(f"must lie between 0 and 1, is {threshold:g}", argument="threshold")
    every = 1
    while True:
        cells, least, most = _encoded(groups, every)
        if every >= bars.height // 8 or sum(len(code) for pair in cells for code in pair) <= LARGEST:
            break
        every *= 2
    chosen = clusters if clusters is not None else pl.DataFrame()
    data = {
        "edges": _significant(next(iter(groups.values())).grid.price_edges),
        **_columns(next(iter(groups.values())), bars, every),
        "groups": list(groups), "cells": cells, "least": least, "most": most, "money": currency, "look": look,
        "floor": threshold, **_shading(groups),
        "looks": {name: _colours(own) for name, own in COLOURS[colours].items()},
        "zone": timezone, "start": next(iter(groups.values())).grid.start, "events": _events(events),
        "outside": [_outside(own, every) for own in groups.values()],
        "clusters": [
            {"low": row["price_low"], "high": row["price_high"]} for row in chosen.iter_rows(named=True)
        ],
    }  # fmt: skip
    coarser = [f"every {every} columns are shown as one, to keep the page small"] if every > 1 else []
    blocks = [block("heatmap").replace("LABEL", escape(title, quote=True))]
    if chosen.height:
        blocks.append(section("clusters", "Clusters", _clusters(chosen, currency)))
    blocks.append(section("assumed", "What was assumed", sentences([*notes, *coarser])))
    logarithmic = " Prices on a log scale." if next(iter(groups.values())).grid.logarithmic else ""
    written = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    body = (
        f'<main><h1>{escape(title)}</h1><p class="lead">{escape(subtitle)}{logarithmic}</p>'
        f"{''.join(blocks)}</main>"
        f'<script type="application/json" id="levels">{written}</script>'
    )
    return Page(
        page(title, body, scripts=("sortable", "times", "heatmap", "heatmap_controls"), styles=("heatmap",))
    )


def _shading(groups: Mapping[str, Levels]) -> dict[str, Any]:
    """Return the scale of the colours at first, and the amount of the strongest, as a heatmap chooses them."""
    norm = norm_of(np.sum([own.amounts() for own in groups.values()], axis=0), "auto", None)
    return {"scale": "linear" if scale_of(norm) == "linear" else "log", "top": float(norm.vmax or 1.0)}


def _events(events: pl.DataFrame | None) -> list[list[Any]]:
    """Return the largest events first: time, price, amount, side where it is known."""
    if events is None:
        return []
    for name in ("time", "price", "notional"):
        if name not in events.columns:
            raise DataError(f"events need time, price and notional: {name} is missing")
    side = pl.col("side").cast(pl.String) if "side" in events.columns else pl.lit(None, pl.String)
    largest = events.filter(pl.col("notional") > 0).sort("notional", descending=True, maintain_order=True)
    rows = largest.head(MOST_EVENTS).select(pl.col("time").dt.epoch("ms"), "price", "notional", side.alias("side"))
    return [[time, *_significant([price, notional]), side] for time, price, notional, side in rows.iter_rows()]


def _outside(levels: Levels, every: int) -> list[list[float | None]]:
    """Return what is open beyond the bins at the end of each column, by side."""
    kept = _kept(levels.grid.columns, every)
    return [_significant(levels.outside[side][kept] / (1 / levels.unit)) for side in ("long", "short")]


def _require(groups: Mapping[str, Levels], bars: pl.DataFrame, look: str, colours: str) -> None:
    if not groups:
        raise ArgumentError("must hold levels of at least one group, is empty", argument="groups")
    if look not in LOOKS:
        raise ArgumentError(f"must be one of {', '.join(LOOKS)}, is {look!r}", argument="look")
    if colours not in COLOURS:
        raise ArgumentError(f"must be one of {', '.join(COLOURS)}, is {colours!r}", argument="colours")
    first, *others = groups.values()
    if any(not np.array_equal(own.grid.price_edges, first.grid.price_edges) for own in others):
        raise ArgumentError("must lie on one grid", argument="groups")
    if any(not np.array_equal(own.grid.ends, first.grid.ends) for own in others):
        raise ArgumentError("must lie on one grid", argument="groups")
    if bars.height != first.grid.columns:
        raise ArgumentError(
            f"must be one a column of the grid, {first.grid.columns:,}: there are {bars.height:,}", argument="bars"
        )


def _encoded(groups: Mapping[str, Levels], every: int) -> tuple[list[list[str]], float, float]:
    """Return the cells of each group and side as text, and the amounts that the codes run from and to."""
    amounts = [[_last(own.amounts(side), every) for side in ("long", "short")] for own in groups.values()]
    positive = [cells[cells > 0] for pair in amounts for cells in pair]
    least = min((float(cells.min()) for cells in positive if cells.size), default=1.0)
    most = max((float(cells.max()) for cells in positive if cells.size), default=1.0)
    most = most if most > least else least * 2
    return [[_text(_codes(cells, least, most)) for cells in pair] for pair in amounts], least, most


def _last(cells: Floats, every: int) -> Floats:
    """Return the last of so many columns at a time: a cell holds what is open at the end of its column."""
    return cells[:, _kept(cells.shape[1], every)]


def _kept(columns: int, every: int) -> Integers:
    ends = np.arange(every - 1, columns, every)
    return ends if ends.size and ends[-1] == columns - 1 else np.append(ends, columns - 1)


def _codes(cells: Floats, least: float, most: float) -> Any:
    with np.errstate(divide="ignore"):
        steps = np.log(cells / least) * ((CODES - 1) / math.log(most / least))
    return np.where(cells > 0, 1 + np.rint(np.maximum(steps, 0.0)), 0).astype("<u2")


def _text(codes: Any) -> str:
    return b64encode(zlib.compress(codes.tobytes(), 9)).decode()


def _columns(levels: Levels, bars: pl.DataFrame, every: int) -> dict[str, Any]:
    """Return end and prices of each column; null where nothing is known yet."""
    kept = _kept(bars.height, every)
    number_of = np.searchsorted(kept, np.arange(bars.height))
    grouped = bars.with_columns(column=pl.Series(number_of)).group_by("column", maintain_order=True)
    merged = grouped.agg(pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last())
    prices = {name: _significant(merged[name]) for name in ("open", "high", "low", "close")}
    return {"ends": levels.grid.ends[kept].tolist(), **prices}


def _significant(values: Any) -> list[float | None]:
    """Return numbers to nine digits, null for what is unknown."""
    return [None if value is None or not math.isfinite(value) else float(f"{value:.9g}") for value in values]


def _colours(look: Look) -> dict[str, Any]:
    heat = [to_hex(look.heat(place / (SHADES - 1))) for place in range(SHADES)]
    plain = {name: getattr(look, name) for name in ("paper", "ink", "muted", "edge", "ground", "mark")}
    return {**plain, **look.sides, "up": RISEN, "down": FALLEN, "heat": heat}


def _clusters(clusters: pl.DataFrame, currency: str | None) -> str:
    header = ["side", "prices", "distance %", "days of volatility", "of the side %"]
    leveraged = "mean_leverage" in clusters.columns
    header += [*(["mean leverage"] if leveraged else []), *([] if currency is None else ["open"])]
    rows, keys = [], []
    for row in clusters.iter_rows(named=True):
        prices = f"{significant(row['price_low'])} to {significant(row['price_high'])}"
        own = [f"{row['side']}s", prices, f"{100 * row['distance']:+.1f}", number(row["days"], 1)]
        own.append(percentage(row["share"], 1))
        values = [row["side"], row["centre"], row["distance"], row["days"], row["share"]]
        if leveraged:
            own.append(number(row["mean_leverage"], 1))
            values.append(row["mean_leverage"])
        if currency is not None:
            own.append(amount(row["notional"], currency))
            values.append(row["notional"])
        rows.append(own)
        keys.append(values)
    caption = "Choose a row to see its place; a heading sorts."
    return table(caption, header, rows, left=2, sort_by=keys, names=map(str, range(len(rows))))
