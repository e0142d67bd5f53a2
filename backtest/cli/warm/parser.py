"""Options of ``backtest warm``. Nothing but argparse is imported here."""

from __future__ import annotations

from typing import Any

from backtest.cli.common import types


def add_warm(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "warm",
        help="compile everything once, so that later commands start at once",
        description="Compile every kernel that is not compiled yet: one to two minutes on one core, once per "
        "machine\n"
        "and version. Without it each command compiles what it needs when it first runs.",
    )
    parser.add_argument(
        "--processes",
        type=types.count,
        metavar="N",
        help="number of processes that compile (default: one per core)",
    )
