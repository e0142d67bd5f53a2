"""What ``backtest run`` accepts. Nothing but argparse is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backtest.cli.common import options, types


def add_run(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "run",
        help="a whole study: tables on screen, Parquet and a picture in a folder",
        description="Without options: May 2021 on the bundled reconstruction, under Binance's rules,\n"
        "with a million invented positions. Every option replaces one of these.",
        epilog="writes DIR/outcomes.parquet, DIR/flow.parquet (by interval and symbol), DIR/cascades.parquet,\n"
        "DIR/cascade.png and DIR/summary.json",
    )
    options.add_market(parser)
    options.add_book(parser)
    options.add_estimated(parser, default="drawn from stated laws (default)")
    options.add_rules(parser, venue_default="binance")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--every",
        type=types.interval,
        metavar="INTERVAL",
        help="of the flow and its chart: 15m, 1h, 1d, 1w (default: 1h; 1d or 1w of a long window)",
    )
    output.add_argument("--chart", metavar="SYMBOL", help="symbol to draw (default: the first of the bars)")
    output.add_argument("--caption", default="", metavar="TEXT", help="for the chart's footer")
    options.add_out(output, default=Path("out"))
