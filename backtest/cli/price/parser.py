"""Options of ``backtest price``. Nothing but argparse is imported here."""

from __future__ import annotations

from typing import Any

from backtest.cli.common import types
from backtest.cli.common.options import LIKE


def add_price(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "price",
        help="calculator: liquidation and bankruptcy prices of one position, or of an account in cross margin",
        description="Liquidation, bankruptcy and takeover price of one isolated position under a venue's rules,\n"
        "or the liquidation prices of an account in cross margin, below and above the mark; without funding.",
    )
    parser.options = {"prices": "--mark"}
    _add_position(parser.add_argument_group("position"))
    _add_account(parser.add_argument_group("account in cross margin (in place of one position)"))
    more = parser.add_argument_group("more")
    more.add_argument(
        "--table",
        nargs="*",
        type=types.positive,
        metavar="PRICE",
        help="also print unrealised result, balance, margin ratio and status at these prices (default: between "
        "entry and liquidation price)",
    )
    more.add_argument(
        "--positions",
        type=types.file,
        metavar="FILE",
        help="open positions of others: adds the place in the queue of auto-deleveraging (ADL) at the --mark",
    )
    more.add_argument(
        "--bars", type=types.file, metavar="FILE", help="prices; adds the distance in days of volatility"
    )
    more.add_argument(
        "--at", type=types.time, metavar="TIME", help="end of the volatility window (default: the last bar)"
    )
    more.add_argument(
        "--window",
        type=types.positive,
        default=30.0,
        metavar="DAYS",
        help="length of the volatility window (default: 30)",
    )


def _add_account(account: Any) -> None:
    account.add_argument(
        "--account",
        type=types.file,
        metavar="FILE",
        help="TOML file with wallet, legs (symbol, side, quantity, entry_price, optionally leverage), collateral "
        "(symbol, quantity) and prices",
    )
    account.add_argument(
        "--leg",
        nargs="+",
        action="append",
        metavar="WORD",
        help="SYMBOL SIDE QUANTITY PRICE [LEVERAGE]: a leg of the account (may be repeated)",
    )
    account.add_argument("--wallet", type=types.finite, metavar="AMOUNT", help="wallet of the account")
    account.add_argument(
        "--mark",
        type=types.setting,
        action="append",
        metavar="SYMBOL=PRICE",
        help="mark price (may be repeated; default: the file's, the last close of --bars, the entry price)",
    )


def _add_position(position: Any) -> None:
    position.add_argument(
        "--venue",
        required=True,
        metavar="NAME_OR_FILE",
        help="a bundled venue or a venue file, see `backtest venues`",
    )
    position.add_argument("--side", choices=("long", "short"))
    position.add_argument("--entry-price", type=types.positive, metavar="PRICE")
    position.add_argument(
        "--quantity",
        type=types.positive,
        metavar="N",
        help="in base currency; in quote currency for an inverse contract",
    )
    position.add_argument(
        "--leverage", type=types.leverage, metavar="X", help="selected leverage (default: entry notional / margin)"
    )
    position.add_argument(
        "--margin",
        type=types.positive,
        metavar="AMOUNT",
        help="margin of the position (default: entry notional / leverage, and the closing fee where margins "
        "include it)",
    )
    position.add_argument(
        "--symbol", metavar="SYMBOL", help="contract (default: BTCUSDT, else the first that the venue lists)"
    )
    position.add_argument("--like", metavar="SYMBOL", help=LIKE)
    position.add_argument(
        "--date",
        type=types.time,
        metavar="DATE",
        help="entry date, which selects the tier table (default: now)",
    )
    position.add_argument(
        "--tiers",
        metavar="RULE",
        help="table of an entry at a time for which none is known to be in force: strict refuses it (default with "
        "--date), earlier, later, strictest or nearest (default without --date) choose one, TABLE names one",
    )
