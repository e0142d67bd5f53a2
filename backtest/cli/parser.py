"""Parser of the whole command line. Nothing but argparse is imported here: ``--help`` must come at once."""

from __future__ import annotations

import argparse

from backtest.cli.check.parser import add_check
from backtest.cli.common.parser_errors import Parser, Version
from backtest.cli.fetch.parser import add_fetch
from backtest.cli.levels.parser import add_levels
from backtest.cli.policy.parser import add_policy
from backtest.cli.price.parser import add_price
from backtest.cli.record.parser import add_record
from backtest.cli.replay.parser import add_replay
from backtest.cli.run.parser import add_run
from backtest.cli.sweep.parser import add_sweep
from backtest.cli.tiers.parser import add_tiers
from backtest.cli.venues.parser import add_venues
from backtest.cli.warm.parser import add_warm

DESCRIPTION = """\
Backtest liquidations on crypto perpetuals: which positions get liquidated, when, and how
other margin rules would change that."""

EXAMPLES = """\
examples:
  backtest run                       May 2021 on the bundled reconstruction, a million synthetic positions
  backtest run --bars bars.parquet --venue bybit --tiers nearest --leverage-mix low
  backtest check result.zip --prices bars.parquet --venue binance,bybit --leverage 3,5,10
  backtest sweep --bars bars.parquet --positions positions.parquet --venue binance --out results
  backtest price --venue ascendex --side long --entry-price 50000 --quantity 1 --leverage 25 --margin 5000
  backtest venues binance            every rule of one venue with its source, and what is not known
  backtest fetch binance --symbol BTCUSDT --from 2021-05-10 --until 2021-05-26 --out may
  backtest replay --venue mexc --symbol BTCUSDT --tiers nearest --fund 1e6
  backtest levels --bars bars.parquet --population volume --at now --window 7d --formats png json

Bars, funding and positions are Parquet or CSV files; `backtest sweep --help` lists their columns.
"""


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(prog="backtest", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument(
        "--version", action=Version, nargs=0, default=argparse.SUPPRESS, help="print the version and exit"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for add in (
        add_check,
        add_run,
        add_sweep,
        add_price,
        add_venues,
        add_tiers,
        add_fetch,
        add_record,
        add_replay,
        add_levels,
        add_policy,
        add_warm,
    ):
        add(commands)
    parser.commands = commands.choices
    return parser
