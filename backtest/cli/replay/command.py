"""``backtest replay``: liquidations in time order, and who pays for them."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import polars as pl

from backtest.amounts import amount, days, number, percentage
from backtest.book import Book
from backtest.cli.common import assumptions, procedure_text, summary_file
from backtest.cli.common.changed_rules import changed, procedure_rules, read_venue
from backtest.cli.common.input_warnings import with_price_warnings
from backtest.cli.common.inputs import is_synthetic, read_book, read_conventions, read_market
from backtest.cli.common.outputs import outputs
from backtest.cli.common.progress import ERASE_LINE, Clock
from backtest.cli.common.swept import Swept
from backtest.cli.common.text import facts, paragraph, table
from backtest.cli.replay import pictures, trace
from backtest.cli.replay import policy as replay_policy
from backtest.cli.replay.parser import ARGUMENTS, IMPACT
from backtest.cli.replay.summary import done
from backtest.engine.conventions import Conventions
from backtest.engine.replay.replay import Replay, replay
from backtest.engine.sweep.sweep import tiers_used
from backtest.rules.contract import on_tick
from backtest.rules.procedure import Impact
from backtest.rules.venue import Venue
from backtest.study.fund.loss_waterfall import who_bore
from backtest.study.liquidations import flow

_SYNTHETIC = "The book is synthetic, and so are its losses and its fund: read shares, not amounts."


def run(options: Namespace) -> None:
    """Replay a book, print assumptions, outcomes and who pays, and write the files."""
    clock = Clock()
    venue = changed(read_venue(options), options.procedure, "--set", procedure_rules())
    has_policy = replay_policy.is_requested(options)
    with clock.stage("prices"):
        market = read_market(options, venue)
    conventions = read_conventions(options, market)
    with clock.stage("positions"):
        book = read_book(options, market, venue, conventions)
    against = None
    given = not is_synthetic(options)
    with clock.stage("replay"), with_price_warnings(book, market, given=given):
        if has_policy:
            policy = replay_policy.policy_of(options, venue)
            impact = replace(_impact(options), mark=options.strength)
            against = replay_policy.compare(options, book, market, (venue, policy), impact, conventions, _progress)
            found = against.facts
        else:
            found = replay(
                book, market, venue, impact=_impact(options), conventions=conventions, progress=_progress,
                **{name: getattr(options, name) for name in ARGUMENTS},
            )  # fmt: skip
    used = tiers_used(book, market, venue, conventions=conventions)
    swept = Swept(market, venue, book, found.outcomes, used, synthetic=not given)
    blocks = [
        _assumed(options, swept),
        _counts(found),
        paragraph(done(found, swept.currency)),
        _bearers(found, swept),
    ]
    if options.trace is not None:
        blocks.append(trace.narrated(found.trace, swept.currency, _digits(options, book, venue)))
    if against is not None:
        blocks += [replay_policy.report(against, swept, options, policy)]
    else:
        blocks += [f"Note: {note}." for note in found.notes]
    with outputs(options.out) as files:
        with clock.stage("files"):
            _write(found, files, options.trace is not None)
            pictures.draw(found, swept, files, options)
            if against is not None:
                replay_policy.write(against, swept, files, options, policy)
            files.settle()
        summary = _summary(options, swept, found, conventions, clock)
        if against is not None:
            summary["counterfactual"] = replay_policy.summary(against, policy, options.strength)
        files.write_summary(summary)
    blocks += [f"Written: {', '.join(str(path) for path in files.written)}\nSeconds: {clock}"]
    print("\n\n".join(blocks))


def _impact(options: Namespace) -> Impact:
    given = {name: getattr(options, option) for name, option in IMPACT.items()}
    return Impact(**{name: value for name, value in given.items() if value is not None})


def _progress(share: float) -> None:
    if sys.stderr.isatty():
        print(f"{ERASE_LINE}replay ... {share:.0%}", end="", file=sys.stderr, flush=True)


def _assumed(options: Namespace, swept: Swept) -> str:
    named = [
        ("prices", assumptions.prices(swept.market, swept.venue)),
        ("gaps", assumptions.gaps(swept.market)),
        *(("warning", text) for text in swept.warnings),
        *(("positions", text) for text in swept.book.assumptions[:1]),
        *((f"tiers {symbol}", text) for symbol, text in assumptions.tiers(swept.tiers)),
        ("procedure", _procedure(swept.venue)),
        ("fills", f"at the {options.fill_price.replace('_', ' ')}"),
        ("insurance fund", amount(options.fund, swept.currency)),
    ]
    title = f"{', '.join(swept.market.symbols)}, {days(*swept.window)}, {swept.venue.title}"
    return f"{title}\n\nAssumptions\n{facts(named)}"


def _procedure(venue: Venue) -> str:
    rules = ("procedure", "remainder", "takeover_price", "takeover_discount")
    return procedure_text.sentence({name: getattr(venue, name) for name in rules})


def _counts(found: Replay) -> str:
    rows = flow.tally(found.outcomes).filter(pl.col("count") > 0).sort("count", descending=True)
    lines = [
        [row["outcome"], number(row["count"]), percentage(row["share"])] for row in rows.iter_rows(named=True)
    ]
    return table(["outcome", "positions", "%"], lines)


def _bearers(found: Replay, swept: Swept) -> str:
    payers = who_bore(found)
    total = max(float(payers["amount"].clip(lower_bound=0).sum()), 1e-12)
    lines = [
        [row["bearer"], _lost(row["amount"], amount(abs(row["amount"]), swept.currency)),
         _lost(row["amount"], percentage(abs(row["amount"]) / total))]
        for row in payers.iter_rows(named=True)
    ]  # fmt: skip
    shown = table(["who pays", "loss", "% of\nall losses"], lines)
    note = f"\n{_SYNTHETIC}" if swept.synthetic else ""
    least, last = float(found.fund["fund"].min() or 0.0), float(found.fund["fund"][-1])  # type: ignore[arg-type]
    return (
        f"{shown}\n\nInsurance fund: {amount(last, swept.currency)} at the end, "
        f"{amount(least, swept.currency)} at its lowest; "
        f"{number(found.adl.height)} auto-deleveragings; the ledger sums to "
        f"{int(found.ledger['total'].sum())}.{note}"
    )


def _lost(loss: float, written: str) -> str:
    """Return a loss as written, a gain marked as such."""
    return f"gained {written}" if loss < 0 else written


def _digits(options: Namespace, book: Book, venue: Venue) -> Callable[[float], float]:
    """Return how the venue rounds the liquidation price of the traced position, which it shows."""
    row = book.positions.filter(pl.col("position_id").cast(pl.String) == str(options.trace)).row(0, named=True)
    contract, side = venue.contract(row["symbol"]), 1 if row["side"] == "long" else -1
    return lambda price: float(on_tick(contract, price, side)[0])


def _write(found: Replay, files: Any, traced: bool) -> None:
    names = ["outcomes", "fund", "adl", "impact", "ledger", *(["trace"] if traced else [])]
    for name in names:
        files.write_parquet(f"{name}.parquet", getattr(found, name))


def _summary(
    options: Namespace, swept: Swept, found: Replay, conventions: Conventions, clock: Clock
) -> dict[str, Any]:
    own = swept.venue.procedure
    summary = summary_file.summary(options, swept, conventions.tiers, clock)
    procedure = {item.name: getattr(own, item.name) for item in fields(own)}
    return summary | {
        "procedure": {name: str(value) if value == float("inf") else value for name, value in procedure.items()},
        "fund": {"start": options.fund, "end": float(found.fund["fund"][-1])},
        "losses": {row["bearer"]: row["amount"] for row in who_bore(found).iter_rows(named=True)},
        "ledger": {row["account"]: row["total"] for row in found.ledger.iter_rows(named=True)},
        "deleveragings": found.adl.height,
        "runaway_bars": int(found.impact["runaway"].sum()),
        "notes": list(found.notes),
    }
