"""``backtest check``: a trade list under the rules of venues, at one leverage or several."""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path
from typing import Any

import polars as pl

from backtest.amounts import plural
from backtest.cli.check import tables
from backtest.cli.check.account import read_account
from backtest.cli.check.positions import check_positions
from backtest.cli.check.prices import finer_bars, is_archive, read_prices
from backtest.cli.check.report import Shown, report
from backtest.cli.common import summary_file
from backtest.cli.common.inputs import read_tiers
from backtest.cli.common.outputs import Outputs, outputs
from backtest.cli.common.progress import Clock
from backtest.cli.common.text import facts, paragraph
from backtest.engine.conventions import Conventions
from backtest.rules.rule_files import rule_files
from backtest.rules.venue import Venue
from backtest.trades import Trades, read
from backtest.trades.checking import Stages
from backtest.trades.formats.format import OpenPositionsError
from backtest.trades.tool_results import latest_of


def run(options: Namespace) -> None:
    """Check the trades, or the open positions."""
    try:
        check_trades(options)
    except OpenPositionsError:
        check_positions(options)


def check_trades(options: Namespace) -> None:
    """Check the trades, print the answer and write the files."""
    clock = Clock()
    with clock.stage("trades"):
        trades = _read(options)
    venues = [Venue.load(name) for name in options.venue]
    account = read_account(options)
    with clock.stage("prices"):
        market = read_prices(options, trades, [venue.name for venue in venues])
    conventions = Conventions(tiers=read_tiers(options))
    stages = Stages(
        trades,
        market,
        venues,
        options.leverage,
        options.keep,
        options.fees,
        conventions,
        options.threads,
        account=account,
    )
    if options.refine is not None:
        with clock.stage("first check"):
            for _ in stages.parts():
                pass
        with clock.stage("finer prices"):
            stages.refine(finer_bars(options, stages.windows))
    shown = Shown(stages)
    with outputs(options.out) as files:
        with clock.stage("check"):
            _write(files, shown.watched(stages.parts()))
            stages.windows.write_csv(files.path("windows.csv"), datetime_format="%Y-%m-%dT%H:%M:%SZ")
        with clock.stage("report"):
            files.path("report.html").write_text(report(shown), "utf-8")
        files.write_summary(_summary(options, stages, clock))
    answer = "\n".join(paragraph(sentence) for sentence in stages.sentences)
    cross = "" if account is None else tables.side_by_side(stages.counts)
    blocks = [answer, tables.by_venue(stages.counts), cross, tables.liquidated(shown.liquidated)]
    print("\n\n".join(block for block in blocks if block) + "\n")
    lost = plural(stages.left_out.height, "trade")
    named = [
        ("trades", f"{plural(len(trades), 'trade')}, {trades.source}"),
        *(("note", note) for note in stages.notes),
        *([("left out", f"{lost}: {tables.reasons(stages.left_out)}")] if stages.left_out.height else []),
        ("written", ", ".join(str(path) for path in files.written)),
        ("seconds", str(clock)),
    ]
    print(facts(named, indent=""))


def _read(options: Namespace) -> Trades:
    return read(
        options.trades,
        source=options.source,
        symbol=options.symbol,
        columns=None if options.columns is None else dict(options.columns),
        timezone=options.timezone,
        dates=options.dates,
        fills_at=options.fills_at,
        strategy=options.strategy,
    )


def _write(files: Outputs, parts: Iterator[pl.DataFrame]) -> None:
    """Write the rows, part by part, so that memory does not grow with venues and leverages."""
    file = files.path("trades.parquet")
    folder = file.with_name("parts")  # removed with the other unfinished files where any cannot be written
    folder.mkdir()
    paths = []
    for number, part in enumerate(parts):
        paths.append(folder / f"{number}.parquet")
        part.write_parquet(paths[-1], compression="lz4")
    rows = pl.scan_parquet(paths)
    rows.sink_parquet(file, compression="lz4")
    rows.sink_csv(files.path("trades.csv"), datetime_format="%Y-%m-%dT%H:%M:%SZ")
    shutil.rmtree(folder)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _summary(options: Namespace, stages: Stages, clock: Clock) -> dict[str, Any]:
    given = [
        latest_of(options.trades, "trades folder") if options.trades.is_dir() else options.trades,
        *(path for _, path in options.prices or () if not is_archive(path)),
        *([options.funding] if options.funding else []),
        *([options.wallet] if options.wallet and Path(options.wallet).is_file() else []),
        *([options.refine] if options.refine and not is_archive(options.refine) else []),
    ]
    hashes = {}
    for path in given:
        for one in sorted(Path(path).glob("*.feather")) if Path(path).is_dir() else [Path(path)]:
            hashes[str(one)] = _digest(one)
    for name in options.venue:
        hashes |= {file: _digest(path) for file, path in rule_files(name).items()}
    return {
        **summary_file.request(options),
        "inputs": hashes,
        "source": stages.log.source,
        "sentences": stages.sentences,
        "keep": options.keep,
        "counts": stages.counts.to_dicts(),
        "left_out": stages.left_out.group_by("price_venue", "reason", maintain_order=True)
        .len("trades")
        .to_dicts(),
        "notes": list(stages.notes),
        "prices": {name: repr(market) for name, market in stages.markets.items()},
        "seconds": {name: round(seconds, 3) for name, seconds in clock.seconds.items()},
    }
