"""Options that several commands share. Nothing but argparse is imported here: ``--help`` must come at once."""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path
from typing import Any

from backtest.cli.common import types

#: Files of accounts in cross margin, each an option of its name.
FILES = ("accounts", "legs", "collateral", "haircuts", "transfers")

SAMPLE = "the bundled reconstruction of May 2021"


def add_market(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add where prices come from: the bundled sample unless they are required."""
    market = parser.add_argument_group("prices")
    default = "" if required else f" (default: {SAMPLE})"
    market.add_argument(
        "--bars", type=types.source, metavar="FILE", required=required, help=f"mark prices{default}"
    )
    market.add_argument("--funding", type=types.source, metavar="FILE", help="funding rates")
    market.add_argument(
        "--gap-limit",
        type=types.gap_limit,
        default=timedelta(hours=6),
        metavar="HOURS",
        help="longest gap a position survives in a known state: hours (default: 6), or none",
    )
    market.add_argument(
        "--symbol", action="append", metavar="SYMBOL", help="use only this symbol (may be repeated; default: all)"
    )
    market.add_argument(
        "--from", dest="start", type=types.time, metavar="TIME", help="use bars from here on (UTC)"
    )
    market.add_argument("--until", dest="end", type=types.time, metavar="TIME", help="use bars before this (UTC)")


def add_book(parser: argparse.ArgumentParser, *, instead: str = "default: an invented book") -> None:
    """Add where positions come from; ``instead`` says what stands in where none are given."""
    book = parser.add_argument_group("positions")
    book.add_argument("--positions", type=types.source, metavar="FILE", help=f"your own ({instead})")
    book.add_argument(
        "--adjustments", type=types.source, metavar="FILE", help="margin added or taken, parts closed"
    )


def add_estimated(parser: argparse.ArgumentParser, *, default: str) -> None:
    """Add the options of an invented or estimated book; ``default`` says which is drawn."""
    estimated = parser.add_argument_group("an invented or estimated book (where no positions are given)")
    estimated.add_argument(
        "--population",
        choices=("synthetic", "open-interest", "volume"),
        help=f"{default}, or what must have stood behind the bars' open_interest and volume, or volume alone",
    )
    estimated.add_argument(
        "--turnover",
        type=types.share,
        metavar="SHARE",
        help="of the volume that closes (open-interest) or opens (volume) positions (default: 0.05)",
    )
    add_draw(estimated)


def add_invented(parser: argparse.ArgumentParser) -> None:
    """Add the options of an invented book."""
    add_draw(parser.add_argument_group("an invented book (where no positions are given)"))
    parser.set_defaults(population=None, turnover=None)


def add_draw(invented: Any) -> None:
    """Add what an invented book is drawn by."""
    invented.add_argument("--count", type=types.count, metavar="N", help="positions (default: 1,000,000)")
    invented.add_argument(
        "--leverage-mix",
        choices=("mixed", "low", "high"),
        help="2 to 125 times as on a retail venue (default), 2 to 5, or 20 to 125",
    )
    invented.add_argument("--seed", type=types.seed, metavar="N", help="of the draw (default: 20210519)")


def add_rules(parser: argparse.ArgumentParser, *, venue_default: str | None) -> None:
    """Add the venue and how it is read; it must be given where there is no default."""
    rules = parser.add_argument_group("rules")
    add_venue(rules, default=venue_default)
    rules.add_argument(
        "--trigger-price",
        choices=("mark", "last", "index"),
        help="price that triggers liquidation (default: the venue's)",
    )
    rules.add_argument(
        "--fill-price",
        choices=("liquidation_price", "last_close", "last_extreme"),
        default="liquidation_price",
        help="price a liquidation gets (default: liquidation_price)",
    )
    rules.add_argument(
        "--intrabar",
        choices=("pessimistic", "optimistic", "path"),
        default="pessimistic",
        help="order of events on opposite sides of a bar's open (default: pessimistic)",
    )
    rules.add_argument(
        "--entry-bar",
        choices=("untested", "tested"),
        default="untested",
        help="whether the bar an entry falls inside is tested (default: untested)",
    )
    rules.add_argument(
        "--leverage-limit",
        choices=("error", "cap", "filter"),
        default="error",
        help="leverage beyond the tier's limit: refuse the book (default), lower it, or leave the position out",
    )


def add_venue(rules: Any, *, default: str | None) -> None:
    """Add the venue, required where there is no default, and which of its tables count."""
    rules.add_argument(
        "--venue",
        metavar="NAME_OR_FILE",
        required=default is None,
        default=default,
        help="a bundled venue or a venue file, see `backtest venues`"
        + (f" (default: {default})" if default else ""),
    )
    rules.add_argument(
        "--tiers",
        action="append",
        metavar="RULE",
        help="where no table was in force at an entry: strict refuses (default), nearest takes the nearest in "
        "time, TABLE takes the table of that name, SYMBOL=TABLE for one symbol (may be repeated)",
    )


def add_out(group: Any, *, default: Path | None) -> None:
    """Add where to write, and with how many threads."""
    group.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        required=default is None,
        default=default,
        help="folder to write to" + (f" (default: {default})" if default else ""),
    )
    group.add_argument("--threads", type=types.count, metavar="N", help="how many to use (default: one a core)")
