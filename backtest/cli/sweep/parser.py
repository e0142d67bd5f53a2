"""What ``backtest sweep`` accepts. Nothing but argparse is imported here."""

from __future__ import annotations

from typing import Any

from backtest.cli.common import options
from backtest.cli.sweep.accounts_parser import ACCOUNT_COLUMNS, add_accounts
from backtest.cli.sweep.batches_parser import add_batches

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


def add_sweep(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "sweep",
        help="what became of each position of your own book, on your own prices",
        description="Run every position through the prices under a venue's rules; write what became of it.",
        epilog=COLUMNS + "\n" + ACCOUNT_COLUMNS,
    )
    options.add_market(parser, required=True)
    options.add_book(parser, instead="or accounts, below")
    add_accounts(parser)
    options.add_rules(parser, venue_default=None)
    options.add_out(parser.add_argument_group("output"), default=None)
    add_batches(parser)
