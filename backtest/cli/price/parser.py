"""What ``backtest price`` accepts. Nothing but argparse is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backtest.cli.common import types


def add_price(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "price",
        help="calculator: liquidation, bankruptcy and takeover price of one position",
        description="Work out one isolated position under a venue's rules, without funding.",
    )
    position = parser.add_argument_group("the position")
    position.add_argument("--venue", required=True, metavar="NAME_OR_FILE", help="see `backtest venues`")
    position.add_argument("--side", required=True, choices=("long", "short"))
    position.add_argument("--entry-price", required=True, type=types.positive, metavar="PRICE")
    position.add_argument(
        "--quantity", required=True, type=types.positive, metavar="N", help="base; quote of an inverse contract"
    )
    position.add_argument(
        "--leverage", type=types.leverage, metavar="X", help="as selected; else entry notional / margin"
    )
    position.add_argument(
        "--margin", type=types.positive, metavar="AMOUNT", help="collateral; else entry notional / leverage"
    )
    position.add_argument("--symbol", metavar="SYMBOL", help="default: BTCUSDT, else the first the venue lists")
    position.add_argument(
        "--date",
        type=types.time,
        metavar="DATE",
        help="of the entry, which decides the table of tiers (default: now)",
    )
    more = parser.add_argument_group("more")
    more.add_argument(
        "--table",
        nargs="*",
        type=types.positive,
        metavar="PRICE",
        help="print price, result, balance, ratio and status on the way to liquidation, or at these prices",
    )
    more.add_argument("--bars", type=Path, metavar="FILE", help="prices, for the distance in days of volatility")
    more.add_argument(
        "--at", type=types.time, metavar="TIME", help="end of the volatility's window (default: last bar)"
    )
    more.add_argument(
        "--window", type=types.positive, default=30.0, metavar="DAYS", help="of the volatility (default: 30)"
    )
