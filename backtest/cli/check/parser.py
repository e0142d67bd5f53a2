"""Options of ``backtest check``. Nothing but argparse is imported here."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from backtest.cli.common import options, types

FORMATS = """\
TRADES is read as it was exported: a freqtrade backtest result, vectorbt's or backtesting.py's trades,
a nautilus report, fills of Binance, Bybit, Hyperliquid or ccxt, positions of OKX or Binance, or a table
of trades or fills. What it lacks is asked for by the name of an option; docs/my_trades.md lists all formats.

writes to DIR: trades.parquet and trades.csv (one row a trade, venue and leverage), report.html,
windows.csv (where finer bars would decide), summary.json
"""


def add_check(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check",
        help="would your trades have been liquidated, on which venue, at which leverage",
        description="Check a trade list: which trades would have been liquidated, how near the others came, and "
        "what\nwould have held.",
        epilog=FORMATS,
    )
    parser.options = {
        "venues": "--venue",
        "leverages": "--leverage",
        "market": "--prices",
        "venue": "--prices",
        "finer": "--refine",
    }
    parser.add_argument("trades", type=types.file, metavar="TRADES", help="the trade list, a file")
    _add_prices(parser)
    _add_question(parser)
    _add_account(parser)
    _add_unsaid(parser)
    options.add_out(parser.add_argument_group("output"), "check")


def _add_prices(parser: ArgumentParser) -> None:
    prices = parser.add_argument_group("prices")
    prices.add_argument(
        "--prices",
        action="append",
        type=_prices,
        metavar="FILE",
        help="mark prices for every venue, or VENUE=FILE for one (may be repeated): Parquet, CSV, a folder of "
        "freqtrade's candles, or the name of an archive (binance, binance-coin, bybit, okx, hyperliquid), of "
        f"which what backtest fetch has kept is read (default: {options.SAMPLE})",
    )
    prices.add_argument("--fetch", action="store_true", help="download what an archive's prices lack on the disk")
    prices.add_argument(
        "--interval", default="1m", metavar="INTERVAL", help="interval of an archive's bars (default: 1m)"
    )
    prices.add_argument("--funding", type=types.source, metavar="FILE", help="funding rates")
    _add_refine(prices)


def _add_refine(prices: Any) -> None:
    prices.add_argument(
        "--refine",
        type=types.file,
        metavar="FILE",
        help="finer bars of the same prices, a file or an archive's name: they decide what the inside of the bars "
        "hides; of an archive only the days that are needed are read",
    )


def _add_question(parser: ArgumentParser) -> None:
    question = parser.add_argument_group("question")
    question.add_argument(
        "--venue",
        type=_names,
        default=["binance"],
        metavar="NAMES",
        help="venues, like binance,bybit (default: binance)",
    )
    question.add_argument(
        "--leverage", type=_leverages, metavar="LIST", help="leverages, like 3,5,10 (default: each trade's own)"
    )
    question.add_argument(
        "--keep",
        choices=("size", "stake"),
        default="size",
        help="what another leverage leaves as it was: the size, with less margin (default), or the stake, with "
        "more size",
    )
    question.add_argument(
        "--fees", type=types.share, metavar="RATE", help="fee of each fill, like 0.0005 (default: the list's own)"
    )
    question.add_argument(
        "--tiers",
        action="append",
        metavar="RULE",
        help="trades at a time for which no tier table is known: strict refuses them (default), nearest takes the "
        "table nearest in time, TABLE or SYMBOL=TABLE the one of that name",
    )


def _add_account(parser: ArgumentParser) -> None:
    account = parser.add_argument_group("cross margin")
    account.add_argument(
        "--margin-mode",
        choices=("isolated", "cross"),
        default="isolated",
        help="isolated (default), or cross: all trades as one account, beside isolated margin",
    )
    account.add_argument(
        "--wallet",
        metavar="AMOUNT",
        help="of the account, in settlement currency; or a file of its history, time and wallet_change, of which "
        "the first is what it begins with",
    )
    account.add_argument(
        "--sequential",
        action="store_true",
        help="leave out trades whose initial margin is not there when they begin, and go on after a liquidation",
    )


def _add_unsaid(parser: ArgumentParser) -> None:
    given = parser.add_argument_group("what the list does not say")
    given.add_argument("--source", metavar="NAME", help="its format (default: found by the columns)")
    given.add_argument("--symbol", metavar="SYMBOL", help="symbol of all trades")
    given.add_argument(
        "--columns",
        action="append",
        type=types.setting,
        metavar="THEIRS=OURS",
        help="a column's name (may be repeated)",
    )
    given.add_argument("--timezone", metavar="ZONE", help="zone of times without an offset, like Europe/Berlin")
    given.add_argument(
        "--dates", choices=("day_first", "month_first"), help="order of day and month in dates like 03/04/2024"
    )
    given.add_argument(
        "--fills-at",
        choices=("open", "close", "exact"),
        help="where in its stamped bar a fill lies (default: found)",
    )
    given.add_argument("--strategy", metavar="NAME", help="of a freqtrade result with several")


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _leverages(text: str) -> list[float]:
    return [types.leverage(part) for part in text.split(",") if part]


def _prices(text: str) -> tuple[str | None, Path]:
    venue, equals, path = text.partition("=")
    if equals and not path:
        raise ArgumentTypeError(f"must be FILE or VENUE=FILE, is {text!r}")
    return (venue, Path(path)) if equals else (None, Path(text))
