"""What ``backtest warm`` accepts. Nothing but argparse is imported here."""

from __future__ import annotations

from typing import Any

from backtest.cli.common import types


def add_warm(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "warm",
        help="compile everything beforehand, once on a machine, so that no later command waits for it",
        description="Compile every kernel that is not kept yet: one to two minutes of a core, once on a machine\n"
        "and version. Without it each command compiles what it needs when it first runs.",
    )
    parser.add_argument("--processes", type=types.count, metavar="N", help="to compile in (default: one a core)")
