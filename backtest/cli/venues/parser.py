"""Options of ``backtest venues``. Nothing but argparse is imported here."""

from __future__ import annotations

from typing import Any

from backtest.cli.common import types


def add_venues(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "venues",
        help="list the bundled venues, or print every rule of one with its source",
        description="Without a name: list all bundled venues. With a name: print the venue's rules with "
        "source, date\n"
        "and confidence, its tier tables, and what is not known. new FILE: write a venue file to begin from.",
    )
    parser.options = {"file": "FILE"}
    parser.add_argument(
        "name", nargs="?", metavar="NAME_OR_FILE", help="a bundled venue, or a venue file; new: write one"
    )
    parser.add_argument("file", nargs="?", type=types.file, metavar="FILE", help="file to write, after new")
    parser.add_argument(
        "--like", metavar="NAME_OR_FILE", help="venue whose rules the new file has (default: binance)"
    )
    parser.add_argument("--symbol", metavar="SYMBOL", help="print every tier of this contract instead")
