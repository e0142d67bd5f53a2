"""A replay as a page to explore: marks, fund, liquidations and ADL on one time axis, in one file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from datetime import timedelta
from html import escape
from typing import Any

import polars as pl

from backtest.amounts import amount, percent, timestamp
from backtest.chart.page.page import Page, block, page, section, sentences, table
from backtest.chart.style.looks import COLOURS, Look
from backtest.chart.style.time_axis import zone_of
from backtest.engine.replay.replay import Replay
from backtest.errors import ArgumentError
from backtest.market.market import Market
from backtest.schemas.arguments import checked

#: Columns of a symbol, at most: more bars are joined, so many in each.
MOST_COLUMNS = 1_500

#: Moments in the table, the heaviest.
MOMENTS = 12

#: Sums of a column, by their name on the page.
SUMS = {
    "long_executed": "long_executed", "short_executed": "short_executed", "long_adl": "long_deleveraged",
    "short_adl": "short_deleveraged",
}  # fmt: skip


@checked
def replay_page(
    found: Replay,
    market: Market,
    *,
    title: str,
    subtitle: str = "",
    currency: str | None = None,
    look: str = "light",
    colours: str = "ours",
    timezone: str = "UTC",
    notes: Sequence[str] = (),
) -> Page:
    """Return a page of a replay to explore: mark and moved mark, fund, liquidations executed, and ADL.

    Parameters
    ----------
    found
        As :func:`backtest.replay` returns it.
    market
        The bars that were replayed.
    title, subtitle, notes
        In plain text; notes are listed below the chart.
    currency
        What amounts are in; None: they are shown as shares of the notional opened, as of a synthetic book.
    look : "light" or "dark"
    colours : "ours" or "vendor"
    timezone
        Zone that times are first shown in; the page also offers UTC and the reader's own.

    Returns
    -------
    HTML in one file that asks nothing of the network, which a notebook shows at the end of a cell. Of long
    histories several bars are joined into each column.

    Raises
    ------
    ArgumentError
        For an unknown look, colours or time zone.

    Examples
    --------
    >>> from backtest.chart.venues import replay_page
    >>> html = replay_page(replayed, market, title="A replay of May 2021")
    >>> html[:15], "http" in html
    ('<!DOCTYPE html>', False)
    """
    zone_of(timezone)
    for name, value, known in (("colours", colours, COLOURS), ("look", look, COLOURS["ours"])):
        if value not in known:
            raise ArgumentError(f"must be one of {', '.join(known)}, is {value!r}", argument=name)
    frames = {symbol: _columns(found, market, symbol) for symbol in market.symbols}
    whole = float(found.outcomes["entry_notional"].sum()) or 1.0
    data = {
        "symbols": {symbol: _series(frame) for symbol, frame in frames.items()},
        "panels": _panels(found), "money": currency, "whole": whole, "look": look, "zone": timezone,
        "looks": {name: _colours(own) for name, own in COLOURS[colours].items()},
    }  # fmt: skip
    written = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    blocks = [
        block("series").replace("LABEL", escape(title, quote=True)),
        section("moments", "Heaviest moments", _moments(frames, currency, whole)),
        section("assumed", "What was assumed", sentences([*notes, *_joined(frames, market)])),
    ]
    body = (
        f'<main><h1>{escape(title)}</h1><p class="lead">{escape(subtitle)}</p>{"".join(blocks)}</main>'
        f'<script type="application/json" id="series">{written}</script>'
    )
    return page(title, body, scripts=("sortable", "times", "series"), styles=("heatmap", "series"))


def _columns(found: Replay, market: Market, symbol: str) -> pl.DataFrame:
    """Return a row a column: its start and end, marks, the fund at its end, and the sums of its bars."""
    interval = timedelta(milliseconds=int(market.intervals[market.symbols.index(symbol)]))
    own = pl.col("symbol") == symbol
    bars = market.bars.filter(own).select("time", "close")
    impact = found.impact.filter(own).select("time", "offset", *SUMS.values())
    joined = bars.join(impact, on="time", how="left").sort("time").with_columns(end=pl.col("time") + interval)
    each = -(-joined.height // MOST_COLUMNS)
    columns = joined.group_by(pl.int_range(pl.len()) // each, maintain_order=True).agg(
        pl.first("time"), pl.last("end"), pl.last("close"),
        (pl.col("close") * pl.col("offset").exp()).last().alias("moved"),
        *(pl.col(column).sum().alias(name) for name, column in SUMS.items()),
    )  # fmt: skip
    fund = found.fund.sort("time").select(time=pl.col("time") + interval, fund=pl.col("fund"))
    return columns.sort("end").join_asof(fund, left_on="end", right_on="time", strategy="backward")


def _series(columns: pl.DataFrame) -> dict[str, Any]:
    names = ("close", "moved", "fund", *SUMS)
    ends = columns["end"].dt.epoch("ms").to_list()
    start = int(columns["time"].dt.epoch("ms")[0])
    return {"start": start, "ends": ends, **{name: _significant(columns[name]) for name in names}}


def _panels(found: Replay) -> list[dict[str, Any]]:
    """Return what is drawn: the moved mark and ADL only where there are any."""

    def one(name: str, key: str, colour: str, unit: str, *, down: bool = False) -> dict[str, Any]:
        return {"name": name, "key": key, "colour": colour, "unit": unit, "down": down}

    moved = bool((found.impact["offset"] != 0).any())
    marks = [one("with liquidations", "moved", "short", "price")] if moved else []
    panels = [
        {"title": "Mark price", "kind": "line", "height": 3,
         "series": [one("mark", "close", "ink", "price"), *marks]},
        {"title": "Insurance fund", "kind": "line", "height": 1.4, "zero": True,
         "series": [one("fund", "fund", "ink", "money")]},
        {"title": "Liquidations executed", "kind": "bars", "height": 1.6,
         "series": [one("longs", "long_executed", "long", "money"),
                    one("shorts", "short_executed", "short", "money", down=True)]},
    ]  # fmt: skip
    if not found.adl.is_empty():
        panels.append(
            {"title": "Liquidated positions closed by ADL", "kind": "bars", "height": 1.2,
             "series": [one("longs by ADL", "long_adl", "long", "money"),
                        one("shorts by ADL", "short_adl", "short", "money", down=True)]}
        )  # fmt: skip
    return panels


def _moments(frames: dict[str, pl.DataFrame], currency: str | None, whole: float) -> str:
    """Return the columns with the most liquidations as a table."""
    parts = [frame.with_columns(symbol=pl.lit(symbol)) for symbol, frame in frames.items()]
    sums = [f"{side}_{kind}" for side in ("long", "short") for kind in ("executed", "adl")]
    ranked = pl.concat(parts).with_columns(all=pl.sum_horizontal(sums)).filter(pl.col("all") > 0)
    heaviest = ranked.sort("all", descending=True, maintain_order=True).head(MOMENTS)

    def write(value: float) -> str:
        return percent(value / whole) if currency is None else amount(value, currency)

    names = ("long_executed", "short_executed", "long_adl", "short_adl")
    rows = [
        [row["symbol"], timestamp(row["time"]), *(write(row[name]) for name in names)]
        for row in heaviest.iter_rows(named=True)
    ]
    keys = [
        [row["symbol"], row["time"].timestamp(), *(row[name] for name in names)]
        for row in heaviest.iter_rows(named=True)
    ]
    header = ["symbol", "from (UTC)", "longs executed", "shorts executed", "longs by ADL", "shorts by ADL"]
    basis = "Shares of the notional that was opened. " if currency is None else ""
    return table(f"{basis}A heading sorts.", header, rows, left=2, sort_by=keys)


def _joined(frames: dict[str, pl.DataFrame], market: Market) -> list[str]:
    """Return for which symbols several bars are one column."""
    counts = {symbol: market.bars.filter(pl.col("symbol") == symbol).height for symbol in frames}
    each = {symbol: -(-counts[symbol] // MOST_COLUMNS) for symbol in frames}
    return [f"{symbol}: {bars} bars are joined into each column" for symbol, bars in each.items() if bars > 1]


def _significant(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None or not math.isfinite(value) else float(f"{value:.7g}") for value in values]


def _colours(look: Look) -> dict[str, str]:
    return {name: getattr(look, name) for name in ("paper", "ink", "muted", "faint")} | dict(look.sides)
