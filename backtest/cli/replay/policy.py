"""``backtest replay --policy``: another policy on a history that contains its own cascade."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from typing import Any

import polars as pl

from backtest.amounts import amount, column, days, number, percentage
from backtest.book import Book
from backtest.cli.common import charts
from backtest.cli.common.changed_rules import changed, procedure_rules
from backtest.cli.common.swept import Swept
from backtest.cli.common.text import table
from backtest.cli.replay import pictures
from backtest.cli.replay.parser import IN_BOTH_WORLDS
from backtest.engine.conventions import Conventions
from backtest.errors import ArgumentError
from backtest.market import Market
from backtest.rules.procedure import Impact
from backtest.rules.venue import Venue
from backtest.study.policy.counterfactuals import Counterfactual, counterfactual

#: Measures that are counts.
COUNTS = ("liquidated positions", "deleveragings")


def is_requested(options: Namespace) -> bool:
    """Whether another policy is requested; refuses options that need or contradict one."""
    requested = options.policy is not None or bool(options.policy_set)
    if not requested and options.strength is not None:
        raise ArgumentError("--strength is for another policy: name it with --policy or --policy-set")
    if requested and options.strength is None:
        raise ArgumentError(
            "--policy and --policy-set need --strength, the log change of the mark per unit of notional: try "
            "several, "
            "such as 1e-10 and 1e-9"
        )
    if options.mark_impact and not requested and not options.exogenous:
        raise ArgumentError(
            "--mark-impact moves prices that already contain their own cascade: add --exogenous where they "
            "contain "
            "none (a simulated path), or compare another policy (--policy, --policy-set) with --strength"
        )
    if requested and (options.mark_impact or options.exogenous):
        raise ArgumentError(
            "--policy takes the history's own cascade out of the prices: leave out --mark-impact and --exogenous"
        )
    return requested


def policy_of(options: Namespace, venue: Venue) -> Venue:
    """Return the rules to try: another venue's, or the same with changes."""
    known = {"maximum_leverage": float, "rate_scale": float, **procedure_rules()}
    named = venue if options.policy is None else Venue.load(options.policy)
    return changed(named, options.policy_set, "--policy-set", known)


def compare(
    options: Namespace, book: Book, market: Market, venues: tuple[Venue, Venue], impact: Impact,
    conventions: Conventions, progress: Any,
) -> Counterfactual:  # fmt: skip
    """Return the replay of the history and the counterfactual one under the policy."""
    return counterfactual(
        book, market, *venues, impact=impact, conventions=conventions, progress=progress,
        **{name: getattr(options, name) for name in IN_BOTH_WORLDS},
    )  # fmt: skip


def report(found: Counterfactual, swept: Swept, options: Namespace, policy: Venue) -> str:
    """Return the comparison of history and policy as text and tables."""
    lines = [_line(row, swept.currency) for row in found.totals.iter_rows(named=True)]
    where = [
        [row["liquidated"], number(row["positions"]), amount(row["entry_notional"], swept.currency)]
        for row in found.positions.iter_rows(named=True)
    ]
    marks = [_mark(row) for row in found.marks.iter_rows(named=True)]
    notes = [f"Note: {note}." for note in found.notes]
    return "\n\n".join(
        [
            f"Counterfactual: {_named(policy, options)} (an estimate, not a measurement)",
            table(["", "history", "policy"], lines),
            table(["liquidated", "positions", "entry notional"], where),
            table(
                [
                    "mark price",
                    "lowest,\nhistory",
                    "lowest,\npolicy",
                    "highest,\nhistory",
                    "highest,\npolicy",
                    "change at\nthe end, %",
                ],
                marks,
            ),
            *notes,
        ]
    )


def _named(policy: Venue, options: Namespace) -> str:
    """Return the venue of the policy, the changed rules and the assumed strength of impact."""
    changes = f" with {', '.join(options.policy_set)}" if options.policy_set else ""
    return f"{policy.title}{changes}, strength {options.strength:g}"


def _line(row: dict[str, Any], currency: str) -> list[str]:
    write = number if row["measure"] in COUNTS else lambda value: amount(value, currency)
    return [row["measure"], write(row["facts"]), write(row["policy"])]


def _mark(row: dict[str, Any]) -> list[str]:
    names = ("lowest_facts", "lowest_policy", "highest_facts", "highest_policy")
    return [row["symbol"], *column([row[name] for name in names]), percentage(row["last_offset"])]


def write(found: Counterfactual, swept: Swept, files: Any, options: Namespace, policy: Venue) -> None:
    """Write the tables of the policy and the comparison, and draw both mark prices."""
    for name in ("outcomes", "fund", "adl", "impact", "ledger"):
        files.write_parquet(f"policy_{name}.parquet", getattr(found.policy, name))
    for name in ("positions", "totals", "marks"):
        files.write_parquet(f"comparison_{name}.parquet", getattr(found, name))
    files.write_parquet("flow.parquet", found.facts.flow)
    for symbol in swept.market.symbols:
        charts.save(files, f"mark_{symbol}", partial(_mark_figure, found, swept, options, policy, symbol), options)


def _mark_figure(found: Counterfactual, swept: Swept, options: Namespace, policy: Venue, symbol: str) -> Any:
    own = pl.col("symbol") == symbol
    impact = found.policy.impact.filter(own)
    return pictures.mark_figure(
        swept, options, symbol, impact, found.notes,
        title=f"Under the policy the mark of {symbol} differs by {pictures.furthest(impact)} at most",
        subtitle=f"{_named(policy, options)} (an estimate, not a measurement), {days(*swept.window)}",
        names=("history", "under the policy"), facts=found.facts.impact.filter(own),
    )  # fmt: skip


def summary(found: Counterfactual, policy: Venue, strength: float) -> dict[str, Any]:
    """Return the comparison for ``summary.json``."""
    totals = found.totals.rows()
    return {
        "policy": policy.title,
        "strength": strength,
        "totals": {measure: {"facts": facts, "policy": then} for measure, facts, then in totals},
        "liquidated": {row["liquidated"]: row["positions"] for row in found.positions.iter_rows(named=True)},
        "marks": found.marks.to_dicts(),
        "notes": list(found.notes),
    }
