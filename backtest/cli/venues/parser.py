"""Options of ``backtest venues``. Nothing but argparse is imported here."""

from __future__ import annotations

from typing import Any


def add_venues(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "venues",
        help="list the bundled venues, or print every rule of one with its source",
        description="Without a name: list all bundled venues. With a name: print the venue's rules with "
        "source, date\n"
        "and confidence, its tier tables, and what is not known.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME_OR_FILE", help="a bundled venue, or a venue file")
    parser.add_argument("--symbol", metavar="SYMBOL", help="print every tier of this contract instead")
