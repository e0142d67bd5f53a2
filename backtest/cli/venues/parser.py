"""What ``backtest venues`` accepts. Nothing but argparse is imported here."""

from __future__ import annotations

from typing import Any


def add_venues(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "venues",
        help="the venues whose rules are known, or every rule of one with its source",
        description="Without a name: all bundled venues. With one: its rules with source, date and confidence,\n"
        "its tables, and what is not known.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME_OR_FILE", help="a bundled venue, or a venue file")
    parser.add_argument("--symbol", metavar="SYMBOL", help="also print each tier of this contract's tables")
