"""``backtest sweep --accounts``: outcomes of accounts in cross margin and of their legs."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from typing import Any

import polars as pl

from backtest.amounts import price
from backtest.book import Accounts
from backtest.cli.common import assumptions, summary_file
from backtest.cli.common.changed_rules import read_venue
from backtest.cli.common.inputs import read_market, read_tiers
from backtest.cli.common.options import FILES
from backtest.cli.common.outputs import outputs
from backtest.cli.common.progress import Clock
from backtest.cli.common.text import facts, paragraph, table
from backtest.engine.accounts.liquidate import Liquidations, liquidate_accounts
from backtest.engine.accounts.sweep import sweep_accounts
from backtest.errors import ArgumentError
from backtest.market import Market
from backtest.market.files import read_frame
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.frames import ACCOUNTS, COLLATERAL, HAIRCUTS, LEGS, TRANSFERS

SCHEMAS = dict(zip(FILES, (ACCOUNTS, LEGS, COLLATERAL, HAIRCUTS, TRANSFERS), strict=True))

#: Options that only a sweep of positions takes, and their defaults.
OF_POSITIONS: dict[str, Any] = {
    "adjustments": None,
    "trigger_price": None,
    "fill_price": "liquidation_price",
    "intrabar": "pessimistic",
    "entry_bar": "untested",
    "exit_bar": "untested",
    "leverage_limit": "error",
}


def run(options: Namespace) -> None:
    """Sweep the given accounts and write their outcomes, those of their legs, and a summary."""
    for name, default in OF_POSITIONS.items():
        if getattr(options, name) != default:
            raise ArgumentError(
                f"--{name.replace('_', '-')} is for --positions: accounts are swept at the mark price"
            )
    clock = Clock()
    venue, tiers = read_venue(options), read_tiers(options)
    with clock.stage("prices"):
        market = read_market(options)
    with clock.stage("accounts"):
        accounts = read_accounts(options)
    rules = {"convention": options.convention or "joint_worst", "tiers": tiers, "threads": options.threads}
    with clock.stage("sweep"):
        swept = sweep_accounts(accounts, market, venue, profit=options.profit, hedged=options.hedged, **rules)
    followed = None
    if options.procedure:
        with clock.stage("procedure"):
            own = {name: value for name in ("profit", "hedged") if (value := getattr(options, name)) is not None}
            followed = liquidate_accounts(accounts, market, venue, cross=replace(venue.cross, **own), **rules)
    outcomes = swept.accounts if followed is None else after_procedure(swept.accounts, followed)
    with outputs(options.out) as files:
        files.write_parquet("accounts.parquet", outcomes)
        files.write_parquet("legs.parquet", swept.legs)
        if followed is not None:
            files.write_parquet("steps.parquet", followed.steps)
            files.write_parquet("closed.parquet", followed.closed)
        currency = venue.settlement_of(accounts.symbols[0])
        files.write_summary(summary(options, market, venue, currency, swept.accounts, followed, tiers, clock))
    print(counts(swept.accounts) if followed is None else before_and_after(swept.accounts, followed))
    word = "liquidated" if followed is None else "triggered"
    print(f"\n{paragraph(ambiguity(swept.accounts, options.convention or 'joint_worst', word))}\n")
    named = [
        *procedure(followed),
        ("prices", assumptions.prices(market, venue)),
        ("gaps", assumptions.gaps(market)),
        ("written", ", ".join(str(path) for path in files.written)),
        ("seconds", str(clock)),
    ]
    print(facts(named, indent=""))


def read_accounts(options: Namespace) -> Accounts:
    """Return the accounts of the files named."""
    if options.legs is None:
        raise ArgumentError("--accounts needs --legs: the positions of the accounts")
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
    """Return the contents of ``summary.json``."""
    found = {"accounts": outcomes.height, "ambiguous": int(outcomes["ambiguous"].sum())}
    if followed is not None:
        found["restored"] = int((followed.accounts["triggers"] > 0).sum() - _closed(followed))
    after = {} if followed is None else {"after_procedure": _totals(followed.accounts)}
    return {
        **summary_file.circumstances(options, market, venue, currency, clock),
        "tiers": {"rule": tiers},
        "accounts": found,
        **_totals(outcomes),
        **after,
    }


def after_procedure(outcomes: pl.DataFrame, followed: Liquidations) -> pl.DataFrame:
    """Return the outcomes at the first trigger, with those after the procedure as further columns."""
    last = followed.steps.group_by("account_id", maintain_order=True).agg(wallet_after=pl.col("wallet").last())
    after = followed.accounts.select(
        "account_id", "triggers", outcome_after="outcome", shortfall_after="shortfall"
    ).join(last, on="account_id", how="left", maintain_order="left")
    return outcomes.with_columns(after.select("triggers", "outcome_after", "wallet_after", "shortfall_after"))


def before_and_after(outcomes: pl.DataFrame, followed: Liquidations) -> str:
    """Return the tables of outcomes at the first trigger and after the procedure."""
    first = f"At the first trigger, if the whole account were closed there\n{counts(outcomes)}"
    return f"{first}\n\nAfter the procedure (columns _after)\n{counts(followed.accounts)}"


def _totals(outcomes: pl.DataFrame) -> dict[str, Any]:
    return {
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


def ambiguity(outcomes: pl.DataFrame, convention: str, word: str) -> str:
    """Return how far the counts depend on the unknown order of prices inside bars."""
    ambiguous = int(outcomes["ambiguous"].sum())
    never, always = (
        outcomes.height - outcomes[name].null_count() for name in ("latest_liquidation", "earliest_liquidation")
    )
    return (
        f"Under convention {convention}, {int(outcomes['liquidated'].sum()):,} accounts are {word}. Prices "
        f"inside a "
        f"bar are not known: at least {never:,} accounts are {word} (convention closes), at most "
        f"{always:,} (convention own_worst); {ambiguous:,} depend on it."
    )


def procedure(followed: Liquidations | None) -> list[tuple[str, str]]:
    """Return the result of the venue's steps."""
    if followed is None:
        return []
    triggered, closed = int((followed.accounts["triggers"] > 0).sum()), _closed(followed)
    short = followed.accounts.filter(pl.col("shortfall") > 0)
    sentence = (
        f"{triggered:,} accounts triggered; {closed:,} of them fully closed, {short.height:,} with a shortfall, "
        f"{price(float(short['shortfall'].sum()))} in all; the others restored"
    )
    return [("procedure", sentence)]


def _closed(followed: Liquidations) -> int:
    return int((followed.accounts["outcome"] == "liquidated").sum())
