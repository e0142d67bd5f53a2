"""Options of ``backtest sweep``. Nothing but argparse is imported here."""

from __future__ import annotations

from typing import Any

from backtest.cli.common import options
from backtest.cli.sweep.accounts_parser import ACCOUNT_COLUMNS, add_accounts
from backtest.cli.sweep.batches_parser import add_batches

COLUMNS = """\
files (Parquet or CSV; times are UTC):
  bars         symbol, time, open, high, low, close of the mark price, one row per bar, time: its open;
               optional: last_open ... last_close, index_open ... index_close, volume, open_interest (base)
  funding      symbol, time, rate (a fraction of the notional; longs pay a positive rate)
  positions    position_id, symbol, side (long, short), entry_time, entry_price, quantity, and margin,
               leverage or both; optional: weight, exit_time, exit_price, stop_price, take_profit_price
  adjustments  position_id, time, and margin_change, quantity_change (negative: closed, positive: added) or both,
               optional price (empty: the mark's opening)

writes to DIR: outcomes.parquet (one row per position) and summary.json (arguments, hashes, tiers, gaps,
counts); in batches (above) the folder outcomes, flow.parquet and other sums, and summary.json.
"""


def add_sweep(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "sweep",
        help="outcome of each of your positions or accounts on your prices",
        description="Run every position through the prices under a venue's rules and write its outcome.",
        epilog=COLUMNS + "\n" + ACCOUNT_COLUMNS,
    )
    options.add_market(parser, required=True)
    options.add_book(parser, instead="or --accounts and --legs, below")
    add_accounts(parser)
    options.add_rules(parser, venue_default=None)
    options.add_out(parser.add_argument_group("output"), "sweep")
    add_batches(parser)
