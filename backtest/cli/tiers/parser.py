"""Options of ``backtest tiers``. Nothing but argparse is imported here."""

from __future__ import annotations

import argparse
from typing import Any

from backtest.cli.common import types

EPILOG = """\
examples:
  backtest tiers list
  backtest tiers show SOLUSDT --at 2025-10-10
  backtest tiers diff SOLUSDT --from 2025-01-01
  backtest tiers import leverage_tiers_USDT.json --venue binance
  backtest tiers import risk_limit.json --venue bybit --date 2026-11-30
  backtest fetch tiers okx --symbol BTC-USDT

Formats: JSON of ccxt's fetch_leverage_tiers and fetch_market_leverage_tiers, freqtrade's leverage tiers, and the
answers of Binance (leverageBracket), Bybit (risk-limit), OKX (position-tiers), Gate (risk_limit_tiers), Bitget
(query-position-lever), KuCoin (risk-limit), Hyperliquid (meta) and dYdX (perpetualMarkets).

Imported tables are kept in the platform's folder for the data of a user, or below the folder that the environment
variable BACKTEST_DATA names. They join the tables of the venue of that name, and are hashed as inputs.
"""


def add_tiers(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "tiers",
        help="list, show, compare and import dated tier tables",
        description="Dated tables of margin tiers: those that venues carry, and your own imports.",
        epilog=EPILOG,
    )
    parser.options = {
        "contract_sizes": "--contract-size",
        "at": "--at",
        "tiers": "--tiers",
        **{name: f"--{name}" for name in ("venue", "date", "symbol", "name", "model")},
    }
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    listing = actions.add_parser("list", help="venues, their tables and imports")
    listing.add_argument("--venue", metavar="NAME_OR_FILE", help="print every imported table of this venue")
    show = actions.add_parser("show", help="every tier of a symbol's tables, or of the one in force on a day")
    _add_symbol(show)
    show.add_argument("--at", type=types.time, metavar="DATE", help="print the table in force at this time alone")
    show.add_argument(
        "--tiers",
        default="strict",
        metavar="RULE",
        help="table at a time for which none is known to be in force: strict (default), earlier, later, "
        "strictest, nearest, or a table's name",
    )
    diff = actions.add_parser("diff", help="what changed from each table of a symbol to the next")
    _add_symbol(diff)
    diff.add_argument("--from", dest="start", type=types.time, metavar="DATE", help="changes from here (UTC)")
    diff.add_argument("--until", dest="end", type=types.time, metavar="DATE", help="to here, exclusive (UTC)")
    _add_import(actions)


def _add_symbol(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("symbol", metavar="SYMBOL")
    parser.add_argument("--venue", default="binance", metavar="NAME_OR_FILE", help="venue (default: binance)")


def _add_import(actions: Any) -> None:
    parser = actions.add_parser("import", help="add the tiers of a file, as seen on a day")
    parser.add_argument("file", type=types.file, metavar="FILE")
    parser.add_argument("--venue", required=True, metavar="NAME_OR_FILE", help="venue that the tiers are of")
    parser.add_argument(
        "--date",
        type=types.time,
        metavar="DATE",
        help="day they were read from the venue (default: as the file says)",
    )
    parser.add_argument("--symbol", metavar="SYMBOL", help="symbol of tiers that name none")
    parser.add_argument("--name", metavar="NAME", help="name of the tables, which replace one of the same name")
    parser.add_argument(
        "--model",
        choices=("marginal", "flat"),
        help="each rate applies to the part of the notional in its tier, or that of the highest to all of it",
    )
    parser.add_argument(
        "--contract-size",
        action="append",
        type=types.setting,
        default=[],
        metavar="SYMBOL=SIZE",
        help="base currency in a contract, where tiers count contracts (may be repeated)",
    )
