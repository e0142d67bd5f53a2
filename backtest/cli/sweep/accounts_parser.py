"""What ``backtest sweep`` accepts about accounts in cross margin."""

from __future__ import annotations

import argparse
from pathlib import Path

ACCOUNT_COLUMNS = """\
accounts in cross margin (--accounts and --legs in place of --positions):
  accounts     account_id, wallet; optional: order_margin (held back by open orders)
  legs         leg_id, account_id, symbol, side, entry_time, entry_price, quantity; optional: leverage, exit_time
  collateral   account_id, symbol, quantity (negative: a debt), valued at the symbol's mark price
  haircuts     symbol, floor, haircut (of the value above the floor)
  transfers    account_id, time, wallet_change

writes DIR/accounts.parquet (one row an account), DIR/legs.parquet, with --procedure DIR/steps.parquet and
DIR/closed.parquet (what the venue's steps did), and DIR/summary.json. outcome, equity and shortfall in
accounts.parquet tell of the first trigger; with --procedure triggers, outcome_after, wallet_after and
shortfall_after tell what followed.
"""


def add_accounts(parser: argparse.ArgumentParser) -> None:
    """Add the options of accounts."""
    group = parser.add_argument_group("accounts in cross margin (in place of positions)")
    group.add_argument("--accounts", type=Path, metavar="FILE", help="wallets")
    group.add_argument("--legs", type=Path, metavar="FILE", help="what they hold")
    group.add_argument("--collateral", type=Path, metavar="FILE", help="other coins, and debts in them")
    group.add_argument("--haircuts", type=Path, metavar="FILE", help="what of collateral does not count")
    group.add_argument("--transfers", type=Path, metavar="FILE", help="deposits and withdrawals")
    group.add_argument(
        "--convention",
        choices=("own_worst", "joint_worst", "closes"),
        help="inside a bar: each symbol at its own worst, the worst of all lows, all highs or all closes "
        "(default), closes",
    )
    group.add_argument(
        "--profit",
        choices=("usable", "unusable", "own"),
        help="unrealised profit is margin for all positions, for none, for its own (default: the venue's rule)",
    )
    group.add_argument(
        "--hedged",
        choices=("liquidatable", "exempt"),
        help="accounts with long = short in every symbol (default: the venue's rule)",
    )
    group.add_argument(
        "--procedure", action="store_true", help="also follow the venue's steps after each trigger, and write them"
    )
