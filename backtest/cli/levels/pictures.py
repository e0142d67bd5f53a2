"""Charts of ``backtest levels`` with their titles, subtitles and footers."""

from __future__ import annotations

from typing import Any

import polars as pl

from backtest.amounts import amount, moment, percentage, plain
from backtest.chart.levels import figures, films
from backtest.chart.levels.clusters import cluster_figure
from backtest.chart.levels.map_figures import map_figure
from backtest.chart.levels.pages import FLOOR, level_page
from backtest.chart.levels.score import score_figure
from backtest.cli.common import assumptions, charts, picture
from backtest.cli.common.swept import Swept
from backtest.cli.levels import findings
from backtest.cli.levels.study import LevelStudy
from backtest.cli.levels.tables import magnet_omitted
from backtest.study.levels.combine import combined, relative_grids
from backtest.study.levels.grid import column_bars
from backtest.study.levels.levels import levels_of

#: Cells of a synthetic book below this part of the strongest colour are left empty.
THRESHOLD = 0.1

#: The same of a page, whose strongest colour is the largest cell's.
FLOOR_OF_SYNTHETIC = 0.02

#: Symbols whose heatmaps have room beside one another.
MOST_PANELS = 3


def heatmap(study: LevelStudy) -> Any:
    """Return the heatmap with its profile."""
    return figures.level_heatmap(
        study.levels, study.bars, title=findings.heatmap(study), subtitle=_open_and_triggered(study),
        clusters=study.clusters, events=study.recorded, price=study.options.price, totals=study.options.totals,
        price_unit=_quote(study), **_shades(study), **_dress(study, timed=True),
    )  # fmt: skip


def explored(study: LevelStudy) -> Any:
    """Return the page that explores the heatmap."""
    return level_page(
        study.groups, study.bars, title=findings.heatmap(study), subtitle=_open_and_triggered(study),
        clusters=study.clusters, currency=study.money,
        events=study.recorded, threshold=_floor(study), look=study.options.look, colours=study.options.colours,
        timezone=study.options.timezone, notes=notes(study),
    )  # fmt: skip


def level_map(study: LevelStudy) -> Any:
    """Return the liquidation map."""
    when = moment(charts.in_zone(study.options, study.map.moment))
    subtitle = f"Liquidation map of {study.symbol}, {when}, {study.reach}{findings.in_money(study)}"
    return map_figure(
        study.map, title=findings.level_map(study), subtitle=subtitle, price_unit=_quote(study), **_dress(study)
    )


def clusters(study: LevelStudy) -> Any:
    """Return the table of clusters."""
    when = moment(charts.in_zone(study.options, study.moment))
    subtitle = (
        f"Liquidation clusters, {when}: runs of prices {study.reach} that hold at least {plain(study.rule.times)} "
        "times their side's mean"
    )
    return cluster_figure(
        study.clusters,
        title=findings.clusters(study),
        subtitle=subtitle,
        price_unit=_quote(study),
        **_dress(study),
    )


def cluster_outcomes(study: LevelStudy) -> Any:
    """Return the table of past clusters and their outcome."""
    when = moment(charts.in_zone(study.options, study.moment))
    return cluster_figure(
        study.cluster_outcomes, title=findings.cluster_outcomes(study),
        subtitle=f"Liquidation clusters {study.reach}, and their outcome by {when}", price_unit=_quote(study),
        **_dress(study),
    )  # fmt: skip


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
    title = findings.multiples(dict(zip(grids, maps, strict=True)))
    dress, every = _dress(study, timed=True), swept.market.symbols
    if len(drawn) < len(every):
        dress["notes"] = [*dress["notes"], f"the {len(drawn)} symbols with the most notional of {len(every):,}"]
    across = None if study.options.size in ("portrait", "square") else len(panels)
    return figures.small_multiples(
        panels,
        title=title,
        subtitle=f"Liquidation levels, {study.span}",
        across=across,
        **_shades(study),
        **dress,
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
    source = "Magnet test" if scored is None else f"Scored against {scored['labels'][0].split(';')[0]}"
    subtitle = f"{source}, {study.symbol}, {study.span}; bands over days, 95 %"
    dress = _dress(study)
    dress.pop("currency")
    omitted = magnet_omitted(study.magnet, study.reliable_magnet)
    dress["notes"] = [*dress["notes"], *([omitted.rstrip(".")] if omitted else [])]
    title = findings.score(scored, study.reliable_magnet)
    return score_figure(scored, study.reliable_magnet, title=title, subtitle=subtitle, **dress)


def film(study: LevelStudy) -> films.Film:
    """Return the film of the heatmap."""
    dress = _dress(study, timed=True)
    dress.pop("size")
    return films.film(
        study.levels, study.bars, title=_title(study), subtitle=findings.heatmap(study),
        **_shades(study),
        price_unit=_quote(study), **dress,
    )  # fmt: skip


def notes(study: LevelStudy) -> list[str]:
    """Return the footer: prices, rules, positions, moves and decay of levels, gaps, caption."""
    *texts, last = picture.notes(study.swept, study.symbol, study.options.caption or " ")
    moved = study.levels.assumptions[len(study.swept.book.assumptions) :]
    return [*texts, *moved, *([study.part] if study.part else []), *([last] if last.strip() else [])]


def _dress(study: LevelStudy, *, timed: bool = False) -> dict[str, Any]:
    return {
        **charts.dress(study.options, timed=timed),
        "currency": study.money,
        "notes": notes(study),
    }


def _shades(study: LevelStudy) -> dict[str, Any]:
    """Return how cells are shaded."""
    options = study.options
    usual = THRESHOLD if study.swept.synthetic else 0.0
    threshold = usual if options.threshold is None else options.threshold
    return {"scale": options.scale, "maximum": options.maximum, "threshold": threshold}


def _floor(study: LevelStudy) -> float:
    """Return the part of the largest cell below which the page hides cells at first."""
    return (
        (FLOOR_OF_SYNTHETIC if study.swept.synthetic else FLOOR)
        if study.options.threshold is None
        else (study.options.threshold)
    )


def _title(study: LevelStudy) -> str:
    return f"Liquidation levels of {study.symbol}, {study.span}"


def _quote(study: LevelStudy) -> str:
    return assumptions.quote(study.symbol, study.swept.currency)


def _open_and_triggered(study: LevelStudy) -> str:
    """Return the open levels at the end and those triggered; without amounts where the book is synthetic."""
    totals = study.levels.totals()
    last = totals.row(-1, named=True)
    triggered = {side: float(totals[f"{side}_triggered"].sum()) for side in ("long", "short")}
    return (
        f"{_title(study)}. Open at the end: {_shared(study, last)}. Triggered in this window: "
        f"{_shared(study, triggered)}."
    )


def _shared(study: LevelStudy, sides: dict[str, float]) -> str:
    total = sides["long"] + sides["short"]
    if not total:
        return "nothing"
    longs = f"{percentage(sides['long'] / total, 0)} % longs"
    return longs if study.money is None else f"{amount(total, study.money)}, {longs}"
