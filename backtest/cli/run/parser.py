"""Options of ``backtest run``. Nothing but argparse is imported here."""

from __future__ import annotations

from typing import Any

from backtest.cli.common import appearance, options, types


def add_run(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "run",
        help="full study of one book: tables on screen, Parquet files and a chart",
        description="Liquidations by day and hour, the heaviest hours, the largest cascades, and a chart. "
        "Without options:\n"
        "May 2021 on the bundled reconstruction, under Binance's rules, with a million synthetic positions.\n"
        "Every option replaces one of these. Of your own bars with volume the book is estimated from it.",
        epilog="writes to DIR: outcomes.parquet (one row per position), flow.parquet (liquidated notional by "
        "interval\n"
        "and symbol), cascades.parquet, summary.json and the chart\n"
        "(cascade.png, or other --formats)",
    )
    options.add_market(parser)
    options.add_book(parser)
    options.add_estimated(parser)
    options.add_rules(parser, venue_default="binance")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--every",
        type=types.interval,
        metavar="INTERVAL",
        help="interval of flow.parquet and the chart: 15m, 1h, 1d, 1w (default: 1h; 1d or 1w for a long window)",
    )
    output.add_argument("--chart", metavar="SYMBOL", help="symbol to draw (default: the first of the bars)")
    appearance.add_appearance(parser)
    options.add_out(output, "run")
