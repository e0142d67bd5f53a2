"""``backtest sweep``: what became of each position, as one file."""

from __future__ import annotations

from argparse import Namespace

from backtest.cli import record, report, scaled, sentences
from backtest.cli.inputs import read_book, read_market, read_tiers, sweep_rules
from backtest.cli.outputs import outputs, require_folder
from backtest.cli.progress import Clock
from backtest.cli.study import Swept
from backtest.cli.text import facts, paragraph
from backtest.engine.sweep import sweep, tiers_used
from backtest.rules.venue import Venue


def run(options: Namespace) -> None:
    """Sweep the positions given and write their outcomes and a summary."""
    if scaled.is_asked_for(options):
        scaled.run(options)
        return
    require_folder(options.out)
    clock = Clock()
    venue, tiers = Venue.load(options.venue), read_tiers(options.tiers)
    with clock.stage("prices"):
        market = read_market(options)
    with clock.stage("positions"):
        book = read_book(options, market, venue, tiers)
    with clock.stage("sweep"):
        outcomes = sweep(book, market, venue, tiers=tiers, **sweep_rules(options))
    used = tiers_used(book, market, venue, tiers=tiers)
    swept = Swept(market, venue, book, outcomes, used, invented=False)
    with outputs(options.out) as files:
        with clock.stage("files"):
            outcomes.write_parquet(files.path("outcomes.parquet"))
        files.write_json("summary.json", record.summary(options, swept, tiers, clock))
    print(report.counts(swept))
    print(f"\n{paragraph(f'{report.headline(swept)} {report.caveats(swept)}')}\n")
    named = [
        *((f"tiers {symbol}", told) for symbol, told in sentences.tiers(used)),
        ("gaps", sentences.gaps(market)),
        ("written", ", ".join(str(path) for path in files.written)),
        ("seconds", str(clock)),
    ]
    print(facts(named, indent=""))
