"""``report.html`` of ``backtest check``: the answer, tables to sort, price paths of the trades that matter."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from html import escape
from typing import Any

import numpy as np
import polars as pl

from backtest import __version__
from backtest.amounts import column, duration, number, plain, plural, timestamp
from backtest.chart.page.page import page, section, sentences, table
from backtest.cli.check.tables import SIDE_BY_SIDE, account_rows, cell, reasons
from backtest.market import Market
from backtest.rules.contract import shown_prices
from backtest.trades.checking import Stages

#: Trades with a price path: liquidated ones, ambiguous ones, the nearest of the others.
MOST_LIQUIDATED, MOST_AMBIGUOUS, MOST_NEAR = 500, 300, 200

#: Points of a price path, and what they may be reduced to before rows are left out.
POINTS, FEWEST_POINTS = 160, 40

#: Bytes that a page may have.
LARGEST = 5_000_000

SHOWN = ("margin", "margin_that_holds", "highest_surviving_leverage", "realised_pnl", "logged_pnl")

#: Sections that the head of the page links to, where they are there.
LINKS = {
    "venues": "By venue",
    "cross": "Cross margin",
    "path": "Price path",
    "liquidated": "Liquidated",
    "ambiguous": "Ambiguous",
    "nearest": "Nearest",
    "assumed": "Assumptions",
}


class Shown:
    """The rows that screen and page show: of each venue at the highest leverage checked there."""

    def __init__(self, stages: Stages) -> None:
        self.stages = stages
        self._kept: dict[str, dict[str, pl.DataFrame]] = {}

    def watched(self, parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Pass the parts of a check on, keeping the rows to show of each venue's last leverage that is offered."""
        for part in parts:
            offered = part.filter(pl.col("certainly_liquidated").is_not_null())
            if offered.height:
                venue = next(own for own in self.stages.venues if own.name == part["venue"][0])
                chosen = _chosen(offered)
                self._kept[venue.name] = {
                    kind: shown_prices(rows, venue.contract) for kind, rows in chosen.items()
                }
            yield part

    def of(self, kind: str) -> pl.DataFrame:
        """Return the liquidated, ambiguous or nearest trades of all venues."""
        return pl.concat([kept[kind] for kept in self._kept.values()]) if self._kept else pl.DataFrame()

    @property
    def liquidated(self) -> pl.DataFrame:
        """The liquidated trades."""
        return self.of("liquidated")


def _chosen(part: pl.DataFrame) -> dict[str, pl.DataFrame]:
    certain, possible = pl.col("certainly_liquidated"), pl.col("possibly_liquidated")
    near = part.filter(~possible, pl.col("closest_distance_percent").is_not_null())
    return {
        "liquidated": part.filter(certain).sort("outcome_time", maintain_order=True),
        "ambiguous": part.filter(possible & ~certain).head(MOST_AMBIGUOUS),
        "nearest": near.sort("closest_distance_percent", maintain_order=True).head(MOST_NEAR),
    }


def report(shown: Shown) -> str:
    """Return the page, with fewer points a path, then fewer rows, where it would be larger than 5 MB."""
    points, share = POINTS, 1.0
    while True:
        found = _page(shown, points, share)
        if len(found.encode()) <= LARGEST:
            return found
        points, share = (points // 2, share) if points > FEWEST_POINTS else (points, share / 2)


def _page(shown: Shown, points: int, share: float) -> str:
    """Return the page with so many points a path and a share of the rows that it may show."""
    stages = shown.stages
    paths: dict[str, Any] = {}
    blocks = [
        section("venues", "Trades liquidated, by venue and leverage", _by_venue(stages.counts)),
        section(
            "path",
            "Price path of a trade",
            '<p class="lead">Choose a row below.</p><div class="chart" id="chart"></div>',
        ),
    ]
    if stages.account is not None:
        header = [name.replace("\n", " ") for name in SIDE_BY_SIDE]
        lead = "One account holds all trades. A ? where bars leave open whether it is liquidated."
        block = f'<p class="lead">{lead}</p>' + table("", header, account_rows(stages.counts), left=1)
        blocks.insert(1, section("cross", "Isolated and cross margin", block))
    words = {
        "liquidated": ("Liquidated", "Certainly, whatever their bars hide.", MOST_LIQUIDATED),
        "ambiguous": (
            "Ambiguous",
            "Liquidated or not, by what happened inside the bars of entry and exit.",
            MOST_AMBIGUOUS,
        ),
        "nearest": ("Nearest to liquidation", "Of the trades that would have survived.", MOST_NEAR),
    }
    for kind, (title, lead, most) in words.items():
        rows = shown.of(kind)
        if rows.height:
            first = rows.group_by("venue", maintain_order=True).head(round(share * most))
            more = "" if first.height == rows.height else f" The first {first.height:,} of {rows.height:,}."
            blocks.append(section(kind, title, f'<p class="lead">{lead}{more}</p>{_trades(first, kind)}'))
            paths |= _paths(first, kind, stages, points)
    blocks.append(section("assumed", "What was assumed", sentences(_assumed(stages))))
    links = "".join(
        f'<a href="#{name}">{title}</a>'
        for name, title in LINKS.items()
        if any(block.startswith(f'<section id="{name}"') for block in blocks)
    )
    data = json.dumps(paths, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    answer = "".join(f'<p class="answer">{escape(said)}</p>' for said in stages.sentences)
    body = (
        "<main><h1>Would these trades have been liquidated?</h1>"
        f"{answer}<nav>{links}</nav>{''.join(blocks)}</main>"
        f"<footer>liquidation-backtest {__version__}: a backtest on the prices above, not a forecast.</footer>"
        f'<script type="application/json" id="paths">{data}</script>'
    )
    return page("Would these trades have been liquidated?", body, scripts=("sortable", "paths"))


def _by_venue(counts: pl.DataFrame) -> str:
    leverages = counts["leverage"].unique(maintain_order=True).to_list()
    header = ["venue", *("own leverage" if one is None else f"{plain(one)}x" for one in leverages), "none below"]
    rows, keys = [], []
    for (venue,), own in counts.group_by("venue", maintain_order=True):
        highest = own["highest_for_all"][0]
        rows.append([str(venue), *(cell(row) for row in own.iter_rows(named=True)), f"{number(highest, 2)}x"])
        keys.append([str(venue), *own["certainly_liquidated"].to_list(), highest])
    caption = "Liquidated for certain, or a range up to those that may have been"
    return table(caption, header, rows, sort_by=keys)


def _trades(rows: pl.DataFrame, kind: str) -> str:
    """Return trades as a table to sort, whose rows choose the chart."""
    bars = {
        "liquidated": {"outcome_time": "liquidated between", "outcome_until": "and (UTC)"},
        "ambiguous": {"possible_time": "liquidated (UTC)"},
        "nearest": {"closest_time": "nearest (UTC)"},
    }[kind]
    near = kind == "nearest"
    header = [
        "trade", "symbol", "side", "venue", "leverage", "opened (UTC)", *bars.values(), "entry",
        "liquidation price", "margin", "margin that holds", "highest leverage", "profit", "profit in list",
    ]  # fmt: skip
    header += ["distance, %", "margin ratio"] if near else []
    times = [
        [None if value is None else timestamp(value) for value in rows[name]] for name in ("entry_time", *bars)
    ]
    prices = [
        column(rows[name].to_list())
        for name in ("entry_price", "liquidation_price", "margin", "margin_that_holds")
    ]
    cells = [
        [str(value) for value in rows["trade_id"]],
        rows["symbol"].to_list(),
        rows["side"].cast(pl.String).to_list(),
        rows["venue"].to_list(),
        [f"{plain(value)}x" for value in rows["leverage"]],
        *[[text or "-" for text in texts] for texts in times],
        *prices,
        [number(value, 1) for value in rows["highest_surviving_leverage"]],
        *[column(rows[name].to_list()) for name in ("realised_pnl", "logged_pnl")],
    ]
    keys = [
        rows["trade_id"].to_list(), cells[1], cells[2], cells[3], rows["leverage"].to_list(), *times,
        *[rows[name].to_list() for name in ("entry_price", "liquidation_price", *SHOWN)],
    ]  # fmt: skip
    if near:
        own = [rows["closest_distance_percent"].to_list(), rows["peak_margin_ratio"].to_list()]
        cells += [[number(value, 2) for value in values] for values in own]
        keys += own
    names = [_name(row, kind) for row in rows.select("venue", "trade_id").iter_rows()]
    found = table("", header, zip(*cells, strict=True), left=4, sort_by=zip(*keys, strict=True), names=names)
    return found.replace('class="wide"', 'class="wide tall"', 1)


def _name(row: tuple[Any, ...], kind: str) -> str:
    return f"{kind}/{row[0]}/{row[1]}"


def _paths(rows: pl.DataFrame, kind: str, stages: Stages, points: int) -> dict[str, Any]:
    """Return the price path of each trade, from a quarter of its length before it to as long after."""
    found = {}
    for row in rows.iter_rows(named=True):
        path = _path(row, stages.markets[row["venue"]], points)
        if path is not None:
            found[_name((row["venue"], row["trade_id"]), kind)] = path
    return found


def _path(row: dict[str, Any], market: Market, points: int) -> dict[str, Any] | None:
    number_ = market.symbols.index(row["symbol"])
    first, last = market.firsts[number_ : number_ + 2]
    times, step = market.times[first:last], int(market.intervals[number_])
    opened = round(row["entry_time"].timestamp() * 1000)
    closed = _ms(row["exit_time"])
    end = int(times[-1]) if closed is None else closed
    around = max((end - opened) // 4, 3 * step)
    a, b = np.searchsorted(times, [opened - around, end + around])
    if b <= a:
        return None
    width = max(1, math.ceil((b - a) / points))
    starts = np.arange(a, b, width)
    low = np.minimum.reduceat(market.prices("mark", "low")[first + a : first + b], starts - a)
    high = np.maximum.reduceat(market.prices("mark", "high")[first + a : first + b], starts - a)
    gone = row["outcome_time"] if row["certainly_liquidated"] else row["possible_time"]
    return {
        "title": f"Trade {row['trade_id']}: {row['symbol']} {row['side']}, {plain(row['leverage'])}x on "
        f"{row['venue']}",
        "note": _note(row),
        "start": int(times[a]),
        "step": step * width,
        "low": [_short(value) for value in low],
        "high": [_short(value) for value in high],
        "entry": row["entry_price"],
        "liquidation": row["liquidation_price"],
        "exit": row["exit_price"],
        "opened": opened,
        "closed": closed,
        "gone": _ms(gone),
    }


def _note(row: dict[str, Any]) -> str:
    holds, highest = row["margin_that_holds"], row["highest_surviving_leverage"]
    said = f"margin {plain(row['margin'], 6)}" if row["margin"] is not None else "margin unknown"
    if holds is not None:
        said += f", {plain(holds, 6)} would have held"
    if highest is not None:
        said += f"; survives up to {plain(highest, 4)}x"
    return said


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _ms(time: datetime | None) -> int | None:
    return None if time is None else round(time.timestamp() * 1000)


def _assumed(stages: Stages) -> list[str]:
    said = [
        f"{plural(len(stages.log), 'trade')}, read as {stages.log.source}.",
        *(f"{note}." for note in stages.notes),
    ]
    for market in {id(market): market for market in stages.markets.values()}.values():
        names = ", ".join(name for name, own in stages.markets.items() if own is market)
        span = market.bars.select(pl.col("time").min().alias("a"), pl.col("time").max().alias("b")).row(0)
        length = duration(timedelta(milliseconds=int(market.intervals.min())))
        said.append(
            f"Prices for {names}: {market.description or 'as given'}; bars of {length}, {timestamp(span[0])} to "
            f"{timestamp(span[1])} UTC."
        )
    if stages.left_out.height:
        said.append(f"Left out: {reasons(stages.left_out)}.")
    kept = "size of a trade" if stages.keep == "size" else "margin of a trade, and changes its size"
    said.append(f"Isolated margin; another leverage keeps the {kept}.")
    return said
