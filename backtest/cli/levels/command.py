"""``backtest levels``: liquidation heatmap, map and clusters, as charts, film and data."""

from __future__ import annotations

import shutil
from argparse import Namespace
from functools import partial
from importlib import resources

import polars as pl

from backtest.amounts import timestamp
from backtest.cli.common import assumptions, charts, summary_file
from backtest.cli.common.appearance import PICTURES
from backtest.cli.common.changed_rules import read_venue
from backtest.cli.common.inputs import (
    choose_population,
    is_synthetic,
    read_book,
    read_market,
    read_tiers,
    require_symbol,
)
from backtest.cli.common.outputs import Outputs, outputs
from backtest.cli.common.progress import Clock
from backtest.cli.common.swept import Swept, one_currency
from backtest.cli.common.text import facts, paragraph
from backtest.cli.levels.study import LevelStudy
from backtest.cli.levels.tables import cluster_rows, magnet_omitted, magnet_rows, score_rows, screener_rows
from backtest.engine.sweep.level_drift import CAPPED
from backtest.engine.sweep.sweep import sweep_with_tiers
from backtest.errors import ArgumentError
from backtest.market import Market
from backtest.study.levels.export import heatmap_json, lightweight_charts, map_json
from backtest.study.levels.level_maps import mark_at

FILMS = ("gif", "mp4")


def run(options: Namespace) -> None:
    """Work out the levels, write the requested files, and print the clusters."""
    _prepare(options)
    clock = Clock()
    venue = read_venue(options)
    with clock.stage("prices"):
        market = read_market(options, venue)
    one_currency(venue, market.symbols)
    symbol = options.chart or market.symbols[0]
    require_symbol("chart", symbol, market)
    _require_moments(options, market, symbol)
    choose_population(options, market)
    conventions = CAPPED.with_(tiers=read_tiers(options, market))
    with clock.stage("positions"):
        book = read_book(options, market, venue, conventions)
    with clock.stage("sweep"):
        prices = market if options.drift else market.without_funding()
        outcomes, used = sweep_with_tiers(book, prices, venue, conventions=conventions, threads=options.threads)
    swept = Swept(market, venue, book, outcomes, used, is_synthetic(options))
    study = LevelStudy(options, swept, conventions, symbol)
    with clock.stage("levels"):
        blocks = [_assumed(study), *_tables(study)]
    with outputs(options.out) as files:
        _write(study, files, clock)
        files.write_summary(summary_file.summary(options, swept, conventions.tiers, clock))
    print("\n\n".join([*blocks, f"Written: {', '.join(map(str, files.written))}\nSeconds: {clock}"]))


def _prepare(options: Namespace) -> None:
    """Refuse before any work what cannot be written or read."""
    if "mp4" in options.formats and shutil.which("ffmpeg") is None:
        raise ArgumentError(
            "--formats mp4 needs the program ffmpeg, which is not found: install it, or take gif, "
            "which does not need it"
        )
    if options.recorded is not None and not options.recorded.is_file():
        raise ArgumentError(f"--recorded {options.recorded} is not a file")
    if options.score_map is not None and options.recorded is None and not options.hidden_truth:
        raise ArgumentError(
            "needs liquidations to score against: --recorded FILE or --hidden-truth", argument="score_map"
        )


def _require_moments(options: Namespace, market: Market, symbol: str) -> None:
    """Raise unless the bars reach to ``--at``, and ``--since`` comes before it."""
    last, _ = mark_at(market, symbol)
    moment, _ = mark_at(market, symbol, options.at)
    if options.at is not None and options.at > last:
        raise ArgumentError(
            f"--at {timestamp(options.at)} lies after the end of the bars of {symbol}, {timestamp(last)}"
        )
    if options.since is not None and options.since > moment:
        raise ArgumentError(
            f"--since {timestamp(options.since)} lies after the time of the map, {timestamp(moment)}"
        )


def _assumed(study: LevelStudy) -> str:
    swept = study.swept
    title = f"{study.symbol}, {study.span}, {swept.venue.title}"
    named = [
        ("prices", assumptions.prices(swept.market, swept.venue)),
        ("gaps", assumptions.gaps(swept.market)),
        *(("warning", text) for text in swept.warnings),
        *(("positions" if not number else "", text) for number, text in enumerate(study.levels.assumptions)),
        *((f"tiers {symbol}", text) for symbol, text in assumptions.tiers(swept.tiers)),
        *([("shown", study.part)] if study.part else []),
        (
            "grid",
            f"{study.levels.grid.bins:,} price bins of {study.levels.grid.width}, "
            f"{study.levels.grid.columns:,} time columns",
        ),
    ]
    return f"{title}\n\nAssumptions\n{facts(named)}"


def _tables(study: LevelStudy) -> list[str]:
    swept, options = study.swept, study.options
    money = swept.currency
    rows = cluster_rows(study.clusters, money, swept.synthetic)
    blocks = [f"Clusters {study.reach}, {timestamp(study.moment)} UTC\n{rows}"]
    if len(swept.market.symbols) > 1:
        rows = screener_rows(study.screener)
        blocks.append(f"Screener: the largest clusters within 3 % of the price, all symbols\n{rows}")
    if options.since is not None:
        rows = cluster_rows(study.cluster_outcomes, money, swept.synthetic)
        blocks.append(f"Clusters of {timestamp(study.since)} UTC {study.reach}, and their outcome\n{rows}")
    if study.reliable_magnet is not None:
        rows = magnet_rows(study.reliable_magnet)
        blocks.append(f"Magnet test: share reached by the price within a day, clusters against placebos\n{rows}")
    if omitted := magnet_omitted(study.magnet, study.reliable_magnet):
        blocks.append(paragraph(omitted))
    if study.is_scored:
        source = study.score["labels"][0].split(";")[0]
        blocks.append(f"Score of the heatmap against {source}\n{score_rows(study.score)}")
    if options.score_map is not None:
        title = f"Score of {options.score_map} against the same"
        blocks.append(f"{title}\n{score_rows(study.given_score)}")
    return blocks


def _write(study: LevelStudy, files: Outputs, clock: Clock) -> None:
    formats = dict.fromkeys(study.options.formats)
    if {*PICTURES, *FILMS} & set(formats):
        with clock.stage("charts"):
            _draw(study, files)
            _film(study, files, [name for name in formats if name in FILMS])
    with clock.stage("files"):
        if "json" in formats:
            in_base = study.swept.venue.contract(study.symbol).kind == "inverse"
            files.write_json("levels.json", heatmap_json(study.levels, study.swept.market, in_base=in_base))
            files.write_json("map.json", map_json(study.map, in_base=in_base))
            files.write_json("series.json", lightweight_charts(study.levels, study.past, study.clusters))
            for name in ("levels", "map"):
                schema = resources.files("backtest.study.levels") / f"{name}.schema.json"
                files.path(f"{name}.schema.json").write_text(schema.read_text("utf-8"), "utf-8")
        if "html" in formats:
            _explore(study, files)
        if "parquet" in formats:
            for name, frame in _frames(study).items():
                files.write_parquet(f"{name}.parquet", frame)
        if "csv" in formats:
            for name, frame in _frames(study).items():
                hours = pl.selectors.duration().dt.total_milliseconds() / 3_600_000
                flat = frame.select(~pl.selectors.nested()).with_columns(hours)
                flat.write_csv(files.path(f"{name}.csv"), datetime_format="%Y-%m-%dT%H:%M:%S%.3fZ")


def _explore(study: LevelStudy, files: Outputs) -> None:
    from backtest.cli.levels import pictures

    page = charts.paged(pictures.explored(study), study.options)
    files.path("levels.html").write_text(page, "utf-8")


def _draw(study: LevelStudy, files: Outputs) -> None:
    from backtest.cli.levels import pictures

    drawn = {
        "levels": pictures.heatmap,
        "map": pictures.level_map,
        "clusters": pictures.clusters,
    }
    if study.options.since is not None:
        drawn["cluster_outcomes"] = pictures.cluster_outcomes
    if study.is_scored or study.reliable_magnet is not None:
        drawn["score"] = pictures.score
    if len(study.swept.market.symbols) > 1 and not study.part:
        drawn["multiples"] = pictures.multiples
    for name, draw in drawn.items():
        charts.save(files, name, partial(draw, study), study.options)


def _film(study: LevelStudy, files: Outputs, formats: list[str]) -> None:
    if formats:
        from backtest.cli.levels import pictures

        film = pictures.film(study)
        for kind in formats:
            path = files.path(f"levels.{kind}")
            film.write_mp4(path) if kind == "mp4" else path.write_bytes(film.gif())


def _frames(study: LevelStudy) -> dict[str, pl.DataFrame]:
    frames = {
        "levels": study.levels.to_frame(),
        "map": study.map.bars,
        "clusters": study.clusters,
        "tracks": study.tracks.clusters,
    }
    if len(study.swept.market.symbols) > 1:
        frames["screener"] = study.screener
    if study.options.since is not None:
        frames["cluster_outcomes"] = study.cluster_outcomes
    if study.magnet is not None:
        frames["magnet"] = study.magnet
    if study.is_scored:
        frames["score"] = study.score
    if study.options.score_map is not None:
        frames["given_score"] = study.given_score
    return frames
