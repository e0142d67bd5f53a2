"""``backtest run``: full study of one book, from prices and rules to tables, a chart and files."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from itertools import chain, repeat

import polars as pl

from backtest.amounts import days
from backtest.cli.common import assumptions, charts, picture, summary_file, tables
from backtest.cli.common.changed_rules import read_venue
from backtest.cli.common.input_warnings import with_price_warnings
from backtest.cli.common.inputs import (
    ESTIMATED,
    choose_population,
    is_synthetic,
    read_book,
    read_conventions,
    read_market,
    require_symbol,
)
from backtest.cli.common.outputs import outputs
from backtest.cli.common.progress import Clock
from backtest.cli.common.swept import Swept, one_currency
from backtest.cli.common.text import facts, paragraph
from backtest.cli.run import day_ranks
from backtest.engine.conventions import Conventions, PriceSeries
from backtest.engine.sweep.sweep import sweep, sweep_with_tiers


def run(options: Namespace) -> None:
    """Sweep a book, print assumptions and results, and write the files."""
    clock = Clock()
    venue = read_venue(options)
    with clock.stage("prices"):
        market = read_market(options, venue)
    one_currency(venue, market.symbols)
    if options.chart is not None:
        require_symbol("chart", options.chart, market)
    choose_population(options, market)
    conventions = read_conventions(options, market)
    with clock.stage("positions"):
        book = read_book(options, market, venue, conventions)
    given = not is_synthetic(options)
    with clock.stage("sweep"), with_price_warnings(book, market, given=given):
        outcomes, used = sweep_with_tiers(book, market, venue, conventions=conventions, threads=options.threads)
    own = options.bars is not None
    swept = Swept(market, venue, book, outcomes, used, synthetic=not given, own_prices=own)
    with clock.stage("tables"):
        blocks = [assumed(swept, conventions), *_tables(swept, ranked_by_move=options.population in ESTIMATED)]
    blocks += [_triggers(swept, conventions, options.threads, clock)]
    blocks += [paragraph(f"{tables.headline(swept)} {tables.caveats(swept)}")]
    written = _write(options, swept, conventions, clock)
    blocks += [f"Written: {', '.join(written)}\nSeconds: {clock}"]
    print("\n\n".join(blocks))  # only now: the files are written even where the reader of the output stops early


def assumed(swept: Swept, conventions: Conventions) -> str:
    """Return the assumptions of a result: prices, gaps, positions, venue, tiers, conventions."""
    first, last = swept.window
    title = f"{', '.join(swept.market.symbols)}, {days(first, last)}, {swept.venue.title}"
    named = [
        ("prices", assumptions.prices(swept.market, swept.venue)),
        ("gaps", assumptions.gaps(swept.market)),
        *(("warning", text) for text in swept.warnings),
        *zip(chain(["positions"], repeat("")), swept.book.assumptions, strict=False),
        *((f"tiers {symbol}", text) for symbol, text in assumptions.tiers(swept.tiers)),
        ("rules", assumptions.rules(conventions, swept.venue)),
    ]
    return f"{title}\n\nAssumptions\n{facts(named)}"


def _tables(swept: Swept, *, ranked_by_move: bool) -> list[str]:
    _, word = swept.period
    blocks = [f"By {word}\n{tables.by_period(swept)}"]
    blocks += [f"{day_ranks.TITLE}\n{day_ranks.day_ranks(swept)}"] if ranked_by_move else []
    if swept.totals["liquidated"]:
        hours = f"{tables.heaviest_run(swept)}\n{tables.heaviest_by_count(swept)}".strip()
        which = " of the book" if ranked_by_move else ""
        blocks += [f"Heaviest hours{which}\n{tables.heaviest_hours(swept)}", hours]
        blocks += [f"Largest cascades\n{tables.cascades(swept)}"]
    return [block for block in blocks if block]


def _triggers(swept: Swept, conventions: Conventions, threads: int | None, clock: Clock) -> str:
    """Return the same book under a mark-price and a last-price trigger, where the bars have a last price."""
    if not swept.market.has("last"):
        return "The bars have no last price, so the book under a last-price trigger is not shown."
    found: dict[str, Swept] = {}
    triggers: tuple[PriceSeries, ...] = ("mark", "last")
    for series in triggers:
        if series == conventions.trigger_series(swept.venue):
            found[series] = swept
            continue
        with clock.stage(f"sweep, {series} price"):
            other = sweep(
                swept.book, swept.market, swept.venue, conventions=conventions, trigger_price=series,
                threads=threads,
            )  # fmt: skip
        found[series] = Swept(swept.market, swept.venue, swept.book, other, swept.tiers, swept.synthetic)
    return f"The same book under a mark-price and a last-price trigger\n{tables.triggers(found)}"


def _write(options: Namespace, swept: Swept, conventions: Conventions, clock: Clock) -> list[str]:
    every = options.every or swept.visible
    with outputs(options.out) as files:
        with clock.stage("files"):
            files.write_parquet("outcomes.parquet", swept.outcomes)
            by_symbol = [
                swept.with_shares(swept.flow(every, symbol), every, symbol).select(
                    pl.lit(symbol).alias("symbol"), pl.all()
                )
                for symbol in swept.market.symbols
            ]
            files.write_parquet("flow.parquet", pl.concat(by_symbol))
            files.write_parquet("cascades.parquet", swept.cascades)
        with clock.stage("chart"):
            symbol = options.chart or swept.market.symbols[0]
            draw = partial(picture.cascade, swept, options, symbol=symbol, every=every)
            charts.save(files, "cascade", draw, options)
        with clock.stage("files"):
            files.settle()
        files.write_summary(summary_file.summary(options, swept, conventions.tiers, clock))
    return [str(path) for path in files.written]
