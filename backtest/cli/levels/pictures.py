"""Charts of ``backtest levels`` with their titles, subtitles and footers."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from backtest.amounts import amount, moment, percentage, plain
from backtest.chart.levels import figures, films
from backtest.chart.levels.clusters import cluster_figure
from backtest.chart.levels.level_map import map_figure
from backtest.chart.levels.pages import level_page
from backtest.chart.levels.score import score_figure
from backtest.chart.style.looks import LOOKS, SIZES
from backtest.cli.common import assumptions, picture
from backtest.cli.common.swept import Swept
from backtest.cli.levels.study import LevelStudy
from backtest.cli.levels.tables import magnet_omitted
from backtest.study.levels.combine import combined, relative_grids
from backtest.study.levels.grid import column_bars
from backtest.study.levels.levels import levels_of

#: Price move in the subtitle of the map.
MOVE = 0.05

#: Symbols whose heatmaps have room beside one another.
MOST_PANELS = 3


def heatmap(study: LevelStudy) -> Any:
    """Return the heatmap with its profile."""
    return figures.level_heatmap(
        study.levels, study.bars, title=_title(study), subtitle=_open_and_triggered(study),
        clusters=study.clusters, scale=study.options.scale, maximum=study.options.maximum,
        price_unit=_quote(study), **_dress(study),
    )  # fmt: skip


def explored(study: LevelStudy) -> str:
    """Return the page that explores the heatmap."""
    return level_page(
        study.groups, study.bars, title=_title(study), subtitle=_open_and_triggered(study),
        clusters=study.clusters, currency=None if study.swept.synthetic else study.swept.currency,
        look=study.options.look, notes=notes(study),
    )  # fmt: skip


def level_map(study: LevelStudy) -> Any:
    """Return the liquidation map."""
    title = f"Liquidation map of {study.symbol}, {moment(study.map.moment)}"
    return map_figure(
        study.map, title=title, subtitle=_reachable(study), price_unit=_quote(study), **_dress(study)
    )


def clusters(study: LevelStudy) -> Any:
    """Return the table of clusters."""
    title = f"Liquidation clusters of {study.symbol}, {moment(study.moment)}"
    subtitle = f"Runs of prices {study.reach} that hold at least {plain(study.rule.times)} times their side's mean"
    return cluster_figure(
        study.clusters, title=title, subtitle=subtitle, price_unit=_quote(study), **_dress(study)
    )


def cluster_outcomes(study: LevelStudy) -> Any:
    """Return the table of past clusters and their outcome."""
    title = f"Liquidation clusters of {study.symbol}, {moment(study.since)}"
    subtitle = f"Clusters {study.reach}, and their outcome by {moment(study.moment)}"
    return cluster_figure(
        study.cluster_outcomes, title=title, subtitle=subtitle, price_unit=_quote(study), **_dress(study)
    )


def multiples(study: LevelStudy) -> Any:
    """Return the heatmaps of the largest symbols and their sum, by distance from the first price."""
    swept, options = study.swept, study.options
    drawn = _largest(swept)
    market = swept.market.select(symbols=drawn)
    grids = relative_grids(market, window=study.window, bins=options.bins, columns=options.columns)
    panels, maps, lines, prices = [], [], [], []
    for symbol, (grid, price) in grids.items():
        own = levels_of(
            swept.book, swept.market, swept.venue, grid, half_life=options.half_life, drift=options.drift,
            unit=swept.unit, conventions=study.conventions,
        )  # fmt: skip
        bars = column_bars(swept.market, grid)
        panels.append(figures.Panel(symbol, own, [bars]))
        maps.append(own)
        prices.append(price)
        lines.append(bars.with_columns(bars.select(["open", "high", "low", "close"]) * (100 / price)))
    whole = combined(maps, symbol="all", references=prices)
    panels.append(figures.Panel("together, % of the first price", whole, lines))
    title = f"Liquidation levels, {study.span}"
    dress, every = _dress(study), swept.market.symbols
    if len(drawn) < len(every):
        dress["notes"] = [*dress["notes"], f"the {len(drawn)} symbols with the most notional of {len(every):,}"]
    return figures.small_multiples(
        panels, title=title, across=len(panels), scale=options.scale, maximum=options.maximum, **dress
    )


def _largest(swept: Swept) -> list[str]:
    """Return the symbols with the largest entry notional that have room beside one another, in their order."""
    held = swept.outcomes.group_by("symbol", maintain_order=True).agg(pl.col("entry_notional").sum())
    first = held.sort("entry_notional", descending=True, maintain_order=True)["symbol"].to_list()
    known = [*first, *(symbol for symbol in swept.market.symbols if symbol not in set(first))][:MOST_PANELS]
    return [symbol for symbol in swept.market.symbols if symbol in known]


def score(study: LevelStudy) -> Any:
    """Return the score of the map, where there is one, and the magnet test."""
    scored = study.score if study.is_scored else None
    source = "" if scored is None else f"Scored against {scored['labels'][0].split(';')[0]}; bands over days, 95 %"
    dress = _dress(study)
    dress.pop("currency")
    omitted = magnet_omitted(study.magnet, study.reliable_magnet)
    dress["notes"] = [*dress["notes"], *([omitted.rstrip(".")] if omitted else [])]
    title = f"Score of the liquidation levels of {study.symbol}, {study.span}"
    return score_figure(scored, study.reliable_magnet, title=title, subtitle=source, **dress)


def film(study: LevelStudy) -> films.Film:
    """Return the film of the heatmap."""
    dress = _dress(study)
    dress.pop("size")
    return films.film(
        study.levels, study.bars, title=_title(study), scale=study.options.scale, maximum=study.options.maximum,
        price_unit=_quote(study), **dress,
    )  # fmt: skip


def notes(study: LevelStudy) -> list[str]:
    """Return the footer: prices, rules, positions, moves and decay of levels, gaps, caption."""
    *texts, last = picture.notes(study.swept, study.symbol, study.options.caption or " ")
    moved = study.levels.assumptions[len(study.swept.book.assumptions) :]
    return [*texts, *moved, *([last] if last.strip() else [])]


def _dress(study: LevelStudy) -> dict[str, Any]:
    options = study.options
    return {
        "look": LOOKS[options.look],
        "size": SIZES[options.size],
        "currency": study.swept.currency,
        "notes": notes(study),
    }


def _title(study: LevelStudy) -> str:
    return f"Liquidation levels of {study.symbol}, {study.span}"


def _quote(study: LevelStudy) -> str:
    return assumptions.quote(study.symbol, study.swept.currency)


def _open_and_triggered(study: LevelStudy) -> str:
    """Return the open levels at the end and those triggered; without amounts where the book is synthetic."""
    totals = study.levels.totals()
    last = totals.row(-1, named=True)
    triggered = {side: float(totals[f"{side}_triggered"].sum()) for side in ("long", "short")}
    return f"Open at the end: {_shared(study, last)}. Triggered in this window: {_shared(study, triggered)}."


def _shared(study: LevelStudy, sides: dict[str, float]) -> str:
    total = sides["long"] + sides["short"]
    if not total:
        return "nothing"
    longs = f"{percentage(sides['long'] / total, 0)} % longs"
    return longs if study.swept.synthetic else f"{amount(total, study.swept.currency)}, {longs}"


def _reachable(study: LevelStudy) -> str:
    """Return how much of each side's map a move of five per cent would trigger."""
    found = study.map
    prices = found.cumulative["price"].to_numpy()
    parts = []
    for side, sign, word in (("long", -1, "fall"), ("short", 1, "rise")):
        amounts = found.cumulative[side].to_numpy()
        order = slice(None) if sign > 0 else slice(None, None, -1)
        at = float(np.interp(sign * found.mark_price * (1 + sign * MOVE), (sign * prices)[order], amounts[order]))
        share = f"{percentage(at / amounts.max(), 0)} %" if at > 0 else "none"
        money = "" if study.swept.synthetic or not at else f" ({amount(at, study.swept.currency)})"
        parts.append(f"a {word} of {percentage(MOVE, 0)} % would trigger {share} of the {side}s shown{money}")
    return f"A{parts[0][1:]}; {parts[1]}."
