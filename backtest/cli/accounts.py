"""``backtest sweep --accounts``: what became of accounts in cross margin and of their legs, as files."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from typing import Any

import polars as pl

from backtest.book import Accounts
from backtest.cli import record, sentences
from backtest.cli.accounts_parser import FILES
from backtest.cli.inputs import read_market, read_tiers
from backtest.cli.outputs import outputs
from backtest.cli.progress import Clock
from backtest.cli.text import facts, paragraph, table
from backtest.engine.accounts import sweep_accounts
from backtest.engine.liquidation import Liquidations, liquidate_accounts
from backtest.errors import ArgumentError
from backtest.market import Market
from backtest.market.files import read_frame
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas import ACCOUNTS, COLLATERAL, HAIRCUTS, LEGS, TRANSFERS

SCHEMAS = dict(zip(FILES, (ACCOUNTS, LEGS, COLLATERAL, HAIRCUTS, TRANSFERS), strict=True))

#: Options of a sweep of positions that accounts have no use for, and their defaults.
OF_POSITIONS: dict[str, Any] = {
    "adjustments": None,
    "trigger_price": None,
    "fill_price": "liquidation_price",
    "intrabar": "pessimistic",
    "entry_bar": "untested",
    "leverage_limit": "error",
}


def run(options: Namespace) -> None:
    """Sweep the accounts given and write what became of them, of their legs, and a summary."""
    for name, default in OF_POSITIONS.items():
        if getattr(options, name) != default:
            raise ArgumentError(
                f"--{name.replace('_', '-')} is for --positions: accounts are swept at the mark price"
            )
    clock = Clock()
    venue, tiers = Venue.load(options.venue), read_tiers(options.tiers)
    with clock.stage("prices"):
        market = read_market(options)
    with clock.stage("accounts"):
        accounts = read_accounts(options)
    rules = {"convention": options.convention or "C", "tiers": tiers, "threads": options.threads}
    with clock.stage("sweep"):
        swept = sweep_accounts(accounts, market, venue, profit=options.profit, hedged=options.hedged, **rules)
    followed = None
    if options.procedure:
        with clock.stage("procedure"):
            own = {name: value for name in ("profit", "hedged") if (value := getattr(options, name)) is not None}
            followed = liquidate_accounts(accounts, market, venue, cross=replace(venue.cross, **own), **rules)
    with outputs(options.out) as files:
        swept.accounts.write_parquet(files.path("accounts.parquet"))
        swept.legs.write_parquet(files.path("legs.parquet"))
        if followed is not None:
            followed.steps.write_parquet(files.path("steps.parquet"))
            followed.closed.write_parquet(files.path("closed.parquet"))
        currency = venue.settlement_of(accounts.symbols[0])
        files.write_json(
            "summary.json", summary(options, market, venue, currency, swept.accounts, followed, tiers, clock)
        )
    print(counts(swept.accounts))
    print(f"\n{paragraph(told(swept.accounts, options.convention or 'C'))}\n")
    named = [
        *procedure(followed),
        ("gaps", sentences.gaps(market)),
        ("written", ", ".join(str(path) for path in files.written)),
        ("seconds", str(clock)),
    ]
    print(facts(named, indent=""))


def read_accounts(options: Namespace) -> Accounts:
    """Return the accounts of the files named."""
    if options.legs is None:
        raise ArgumentError("--accounts needs --legs: what the accounts hold")
    given = {name: path for name in FILES if (path := getattr(options, name)) is not None}
    return Accounts(**{name: read_frame(path, SCHEMAS[name]) for name, path in given.items()})


def summary(
    options: Namespace,
    market: Market,
    venue: Venue,
    currency: str,
    outcomes: pl.DataFrame,
    followed: Liquidations | None,
    tiers: Tiers,
    clock: Clock,
) -> dict[str, Any]:
    """Return what goes into ``summary.json``."""
    found = {"accounts": outcomes.height, "ambiguous": int(outcomes["ambiguous"].sum())}
    if followed is not None:
        found["restored"] = int((followed.accounts["triggers"] > 0).sum() - _gone(followed))
    return {
        **record.circumstances(options, market, venue, currency, clock),
        "tiers": {"rule": tiers},
        "accounts": found,
        "outcomes": dict(outcomes["outcome"].value_counts(sort=True).cast({"outcome": pl.String}).iter_rows()),
        "shortfall": float(outcomes["shortfall"].sum()),
    }


def counts(outcomes: pl.DataFrame) -> str:
    """Return a table of outcomes."""
    rows = outcomes["outcome"].value_counts(sort=True).iter_rows()
    total = outcomes.height
    return table(
        ["outcome", "accounts", "%"], [[name, f"{count:,}", f"{100 * count / total:.2f}"] for name, count in rows]
    )


def told(outcomes: pl.DataFrame, convention: str) -> str:
    """Return what the counts leave open."""
    ambiguous = int(outcomes["ambiguous"].sum())
    never, always = (
        outcomes.height - outcomes[name].null_count() for name in ("latest_liquidation", "earliest_liquidation")
    )
    return (
        f"Under convention {convention} {int(outcomes['liquidated'].sum()):,} accounts are liquidated. What "
        f"happens inside a bar is not known: at least {never:,} are (all symbols at their closes), at most "
        f"{always:,} (each at its own worst); {ambiguous:,} depend on it."
    )


def procedure(followed: Liquidations | None) -> list[tuple[str, str]]:
    """Return what the venue's steps came to."""
    if followed is None:
        return []
    triggered, gone = int((followed.accounts["triggers"] > 0).sum()), _gone(followed)
    sentence = f"{triggered:,} accounts triggered, nothing left of {gone:,}, the others given back"
    return [("procedure", sentence)]


def _gone(followed: Liquidations) -> int:
    return int((followed.accounts["outcome"] == "liquidated").sum())
