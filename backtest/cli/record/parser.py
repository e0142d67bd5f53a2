"""Options of ``backtest record``. Nothing but argparse is imported here."""

from __future__ import annotations

from typing import Any

from backtest.cli.common import types

ADDRESS = "wss://stream.bybit.com/v5/public"


def add_record(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "record",
        help="keep a venue's complete feed of liquidations in a file",
        description="Append every liquidation that Bybit pushes (complete since February 2025) to a file, one "
        "message a\n"
        "line, until it is stopped. Lost connections are made again, and the file notes since when nothing came.\n"
        "`backtest levels --recorded` takes the file.",
        epilog="example:\n  backtest record --symbol BTCUSDT --symbol ETHUSDT --out liquidations.jsonl",
    )
    parser.add_argument(
        "--symbol", action="append", required=True, metavar="SYMBOL", help="contract (may be repeated)"
    )
    parser.add_argument(
        "--out", dest="file", type=types.file, required=True, metavar="FILE", help="file to append to"
    )
    parser.add_argument("--for", dest="span", type=types.span, metavar="SPAN", help="stop after 12h, 7d")
    parser.add_argument(
        "--address",
        default=ADDRESS,
        metavar="ADDRESS",
        help=f"address of the feed without its category (default: {ADDRESS})",
    )
