"""``backtest policy``: a grid of rules over histories and books, as tables, files, charts and a report."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from typing import Any

import polars as pl

import backtest
from backtest.amounts import DOLLARS, days, plural
from backtest.book import Book
from backtest.cli.common import assumptions, charts, summary_file
from backtest.cli.common.outputs import Outputs, outputs
from backtest.cli.common.progress import Clock, Progress
from backtest.cli.common.swept import CENT, SATOSHI, one_currency
from backtest.cli.common.text import facts, paragraph, table
from backtest.cli.policy import findings, pictures
from backtest.cli.policy.grid_file import GridFile, read_grid
from backtest.cli.policy.grid_settlement import procedure_texts
from backtest.cli.policy.html_report import Picture, Report
from backtest.cli.policy.results import Table, Tried
from backtest.cli.policy.tables import tables
from backtest.engine.replay.arguments import require_single
from backtest.engine.sweep.sweep import tiers_used
from backtest.errors import ArgumentError
from backtest.rules.rule_files import rule_files, venue_files
from backtest.scale import manifest
from backtest.scale.inputs import code_digest
from backtest.scale.manifest import Manifest
from backtest.study.policy.evaluations import evaluate, intended
from backtest.study.policy.grid import History, Intended, Rules
from backtest.study.policy.replay_settlement import Replayed

Assumed = dict[str, list[tuple[str, str]]]


def run(options: Namespace) -> None:
    """Evaluate a grid, print the results, and write the files; cells finished before are kept."""
    clock = Clock()
    file = read_grid(options.grid)
    with manifest.opened(options.out / "cells", _job(file)) as cells:
        before = len(cells)
        assumed = _work(file, cells, options.threads, clock)
        policies = pl.concat([pl.read_parquet(cells.file(shard), glob=False) for shard in _shards(file)])
    tried = Tried(file.grid, policies, file.tolerance)
    with clock.stage("tables"):
        shown = list(tables(tried))
        answer, changes = list(findings.answer(tried)), list(findings.sensitivity(tried))
    with outputs(options.out) as files:
        _write(files, file, tried, (shown, answer, changes), assumed, options, clock)
    blocks = [f"{file.question}\n\n{_named(assumed)}", *(_printed(each) for each in shown)]
    blocks += [paragraph(sentence) for sentence in answer]
    blocks += ["What would change the conclusion\n" + facts(("-", sentence) for sentence in changes)]
    kept = f" ({plural(before, 'cell')} finished before)" if before else ""
    count = plural(file.grid.policies, "policy").replace("policys", "policies")
    written = ", ".join(str(path) for path in files.written)
    blocks += [f"{count}, {plural(len(_shards(file)), 'cell')}{kept}\nWritten: {written}\nSeconds: {clock}"]
    print("\n\n".join(blocks))


def _work(file: GridFile, cells: Manifest, threads: int | None, clock: Clock) -> Assumed:
    """Finish every cell, one history in memory at a time, and return the assumptions."""
    progress = Progress(len(_shards(file)), "cell")
    assumed: Assumed = {"settlement": _of_settlement(file)}
    for history_name in file.histories:
        with clock.stage("prices"):
            history = file.history(history_name)
        unit = CENT if (one_currency(file.venue, history.market.symbols) or "USD") in DOLLARS else SATOSHI
        assumed[history_name] = _of_history(file, history)
        for book_name in file.books:
            with clock.stage("positions"):
                book = file.book(book_name, history, threads)
                _require_settled(file, book_name, book)
                admitted = intended(book_name, book, history, file.venue, file.grid)
            assumed[f"{history_name}: {book_name}"] = _of_book(file, history, admitted)
            with clock.stage("cells"):
                for rules in file.grid.rules():
                    shard = _shard(history_name, book_name, rules)
                    worked = shard not in cells
                    if worked:
                        frame = evaluate(
                            history, admitted, file.venue, rules=rules, grid=file.grid, bands=file.bands,
                            settlement=file.settlement, unit=unit, threads=threads,
                        )  # fmt: skip
                        cells.finish(shard, frame.write_parquet)
                    progress.step(worked=worked)
    return assumed


def _require_settled(file: GridFile, name: str, book: Book) -> None:
    """Refuse a book that the settlement cannot use, by its name."""
    if isinstance(file.settlement, Replayed):
        try:
            require_single(book)
        except ArgumentError as error:
            raise ArgumentError(f'book {name!r} cannot be settled by "replay": {error}') from None


def _shards(file: GridFile) -> list[str]:
    """Return the names of all cells, in the order of the grid."""
    return [
        _shard(history, book, rules)
        for history in file.histories
        for book in file.books
        for rules in file.grid.rules()
    ]


def _shard(history: str, book: str, rules: Rules) -> str:
    return json.dumps([history, book, rules.change, rules.rate_scale, rules.cap, rules.fill])


def _job(file: GridFile) -> dict[str, Any]:
    """Return the key of the cells: settings except the question, inputs, and this code."""
    settings = {name: value for name, value in file.settings.items() if name != "question"}
    inputs = {name: checksum for name, checksum in file.hashes().items() if name != str(file.path)}
    venue = str(file.settings["venue"])
    bundled = rule_files(venue) if venue in venue_files() else {}
    rules = {name: sha256(path.read_bytes()).hexdigest() for name, path in bundled.items()}
    plain = {"settings": settings, "inputs": inputs, "venue": rules, "code": code_digest()}
    if isinstance(file.settlement, Replayed):  # what bundled venues' procedures were when cells were finished
        plain["procedures"] = {name: repr(changes) for name, changes in file.settlement.named.items()}
    return dict(json.loads(json.dumps(plain, default=str)))


def _of_history(file: GridFile, history: History) -> list[tuple[str, str]]:
    first, last = history.market.bars.select(first=pl.col("time").min(), last=pl.col("time").max()).row(0)
    return [
        ("window", days(first, last)),
        ("prices", assumptions.prices(history.market, file.venue)),
        ("gaps", assumptions.gaps(history.market)),
        ("rules", file.venue.title),
    ]


def _of_settlement(file: GridFile) -> list[tuple[str, str]]:
    """Return the settlement, and each procedure in a sentence."""
    return [("label", file.settlement.label), *procedure_texts(file.settlement, file.grid.procedures)]


def _of_book(file: GridFile, history: History, book: Intended) -> list[tuple[str, str]]:
    used = tiers_used(book.book, history.market, file.venue, conventions=history.conventions)
    lines = [("" if number else "positions", sentence) for number, sentence in enumerate(book.book.assumptions)]
    left_out = len(book.book) - len(book.admitted)
    if left_out:
        lines.append(
            ("left out", f"{plural(left_out, 'position')} too large for the tiers of some rules of the grid")
        )
    return [*lines, *((f"tiers {symbol}", sentence) for symbol, sentence in assumptions.tiers(used))]


def _write(
    files: Outputs, file: GridFile, tried: Tried, found: tuple[list[Table], list[str], list[str]],
    assumed: Assumed, options: Namespace, clock: Clock,
) -> None:  # fmt: skip
    files.write_parquet("policies.parquet", tried.policies)
    notes = _notes(file, tried)
    shown_charts = []
    with clock.stage("charts"):
        for name, draw, caption in _charts(file):
            settings = {"notes": charts.notes(options, notes), **charts.dress(options, timed=False, fixed=False)}
            kept = charts.save(files, name, partial(draw, tried, settings), options, keep=True)
            shown_charts.append(Picture(kept, caption))
    shown, answer, changes = found
    settlement = tried.settlement
    footer = f"backtest {backtest.__version__}. {' · '.join(notes)}"
    report = Report(
        file.question, answer, assumed, shown, shown_charts, changes, settlement, footer, tried.replayed
    )
    files.path("report.html").write_text(report.html(), "utf-8")
    files.write_summary(
        {
            "command": "policy",
            "arguments": {
                "grid": str(options.grid),
                "out": str(options.out),
                "threads": options.threads,
                **{name: getattr(options, name) for name in ("formats", "look", "colours", "size", "timezone")},
            },
            "question": file.question,
            "settings": file.settings,
            "versions": summary_file.versions(),
            "inputs": file.hashes(),
            "settlement": settlement,
            "policies": file.grid.policies,
            "rows": tried.policies.height,
            "answer": answer,
            "sensitivity": changes,
            "assumptions": assumed,
            "seconds": {name: round(seconds, 3) for name, seconds in clock.seconds.items()},
        },
    )


def _charts(file: GridFile) -> Iterator[tuple[str, Callable[[Tried, dict[str, Any]], Any], str]]:
    """Yield the name of each chart, the function that draws it, and its caption."""
    yield "policies", pictures.multiples, "Effect of each cap, by traders' response."
    yield "frontier", pictures.frontier, "Freedom that each policy leaves to traders, against its shortfall."
    if len(file.grid.procedures) > 1:
        words = "Losses of the liquidated under each procedure, and losses left to others."
        yield "procedures", pictures.procedures, words


def _notes(file: GridFile, tried: Tried) -> list[str]:
    synthetic = "synthetic books: read shares and amounts per million" if file.synthetic else ""
    notes = [
        f"rules: {file.venue.title}",
        tried.settlement,
        synthetic,
        "books: " + "; ".join(file.books),
    ]
    return [note for note in notes if note]


def _named(assumed: Assumed) -> str:
    return "\n\n".join(f"Assumptions: {name}\n{facts(named)}" for name, named in assumed.items())


def _printed(shown: Table) -> str:
    return f"{shown.caption}\n{table(shown.header, shown.rows, left=shown.left)}"
