"""What the command line accepts. Nothing but argparse is imported here: ``--help`` must come at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from backtest.cli.common import options, types
from backtest.cli.common.parser_errors import Parser, Version
from backtest.cli.fetch.parser import add_fetch
from backtest.cli.levels.parser import add_levels
from backtest.cli.policy.parser import add_policy
from backtest.cli.replay.parser import add_replay
from backtest.cli.sweep.accounts_parser import ACCOUNT_COLUMNS, add_accounts
from backtest.cli.sweep.batches_parser import add_scale

DESCRIPTION = """\
Which leveraged positions would a price history have liquidated, when, at what price -
and what would other rules have changed?"""

EXAMPLES = """\
examples:
  backtest run                       May 2021 on the bundled reconstruction, a million invented positions
  backtest run --bars bars.parquet --venue bybit --tiers nearest --leverage-mix low
  backtest sweep --bars bars.parquet --positions positions.parquet --venue binance --out results
  backtest replay --venue mexc --symbol BTCUSDT --tiers nearest --fund 1e6
  backtest levels --bars bars.parquet --population open-interest --at now --window 7d --formats png json
  backtest fetch binance --symbol BTCUSDT --from 2021-05-10 --until 2021-05-26 --out may
  backtest venues binance            every rule with its source, and what is not known
  backtest price --venue ascendex --side long --entry-price 50000 --quantity 1 --leverage 25 --margin 5000

bars, funding and positions are Parquet or CSV files; their columns are listed by `backtest sweep --help`.
"""

COLUMNS = """\
files (Parquet or CSV; times are UTC):
  bars         symbol, time, open, high, low, close of the mark price, one row a bar, named by its opening;
               optional: last_open ... last_close, index_open ... index_close, volume, open_interest (base)
  funding      symbol, time, rate (a fraction of the notional; longs pay a positive rate)
  positions    position_id, symbol, side (long, short), entry_time, entry_price, quantity, and margin,
               leverage or both; optional: weight, exit_time, stop_price, take_profit_price
  adjustments  position_id, time, and margin_change, quantity_change (negative: closed) or both

writes DIR/outcomes.parquet (one row a position) and DIR/summary.json (arguments, hashes, tiers, gaps, counts);
in batches (below) the folder DIR/outcomes, DIR/flow.parquet and other sums, and DIR/summary.json.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = Parser(prog="backtest", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument(
        "--version", action=Version, nargs=0, default=argparse.SUPPRESS, help="print the version and leave"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    _add_run(commands)
    _add_sweep(commands)
    add_replay(commands)
    add_levels(commands)
    add_policy(commands)
    add_fetch(commands)
    _add_venues(commands)
    _add_price(commands)
    return parser


def _add_run(commands: Any) -> None:
    parser = commands.add_parser(
        "run",
        help="a whole study: tables on screen, Parquet and a picture in a folder",
        description="Without options: May 2021 on the bundled reconstruction, under Binance's rules,\n"
        "with a million invented positions. Every option replaces one of these.",
        epilog="writes DIR/outcomes.parquet, DIR/flow.parquet (by interval and symbol), DIR/cascades.parquet,\n"
        "DIR/cascade.png and DIR/summary.json",
    )
    options.add_market(parser, bars_default="the bundled reconstruction of May 2021")
    options.add_book(parser, instead="default: an invented book")
    options.add_invented(parser, default="drawn from stated laws (default)")
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


def _add_sweep(commands: Any) -> None:
    parser = commands.add_parser(
        "sweep",
        help="what became of each position of your own book, on your own prices",
        description="Run every position through the prices under a venue's rules; write what became of it.",
        epilog=COLUMNS + "\n" + ACCOUNT_COLUMNS,
    )
    options.add_market(parser, bars_default=None)
    options.add_book(parser, instead="or accounts, below")
    add_accounts(parser)
    options.add_rules(parser, venue_default=None)
    options.add_out(parser.add_argument_group("output"), default=None)
    add_scale(parser)


def _add_venues(commands: Any) -> None:
    parser = commands.add_parser(
        "venues",
        help="the venues whose rules are known, or every rule of one with its source",
        description="Without a name: all bundled venues. With one: its rules with source, date and confidence,\n"
        "its tables, and what is not known.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME_OR_FILE", help="a bundled venue, or a venue file")
    parser.add_argument("--symbol", metavar="SYMBOL", help="also print each tier of this contract's tables")


def _add_price(commands: Any) -> None:
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
