"""Options of ``backtest sweep`` for accounts in cross margin."""

from __future__ import annotations

import argparse

from backtest.cli.common import types

ACCOUNT_COLUMNS = """\
accounts in cross margin (--accounts and --legs in place of --positions):
  accounts     account_id, wallet; optional: order_margin (held back by open orders)
  legs         leg_id, account_id, symbol, side, entry_time, entry_price, quantity; optional: leverage, exit_time
  collateral   account_id, symbol, quantity (negative: a debt), valued at the symbol's mark price
  haircuts     symbol, floor, haircut (of the value above the floor)
  transfers    account_id, time, wallet_change

writes to DIR: accounts.parquet (one row per account), legs.parquet and summary.json; with --procedure also
steps.parquet and closed.parquet (the venue's steps and the parts they closed). In accounts.parquet, outcome,
equity and shortfall are those at the first trigger; with --procedure, triggers counts the triggers, and
outcome_after, wallet_after and shortfall_after are those after the venue's steps.
"""


def add_accounts(parser: argparse.ArgumentParser) -> None:
    """Add the options of accounts."""
    group = parser.add_argument_group("accounts in cross margin (in place of --positions)")
    group.add_argument("--accounts", type=types.file, metavar="FILE", help="accounts and their wallet balances")
    group.add_argument("--legs", type=types.file, metavar="FILE", help="positions of the accounts")
    group.add_argument(
        "--collateral", type=types.file, metavar="FILE", help="other coins held as collateral, and debts in them"
    )
    group.add_argument(
        "--haircuts",
        type=types.file,
        metavar="FILE",
        help="share of the collateral's value that does not count as margin",
    )
    group.add_argument("--transfers", type=types.file, metavar="FILE", help="deposits and withdrawals")
    group.add_argument(
        "--convention",
        choices=("own_worst", "joint_worst", "closes"),
        help="prices inside a bar: each symbol at its own worst; the worst of all lows, all highs or all closes "
        "(default); closes only",
    )
    group.add_argument(
        "--profit",
        choices=("shared", "excluded", "per_position"),
        help="unrealised profit counts as margin for all positions, none, or its own (default: the venue's rule)",
    )
    group.add_argument(
        "--hedged",
        choices=("liquidatable", "exempt"),
        help="whether accounts with long = short in every symbol can be liquidated (default: the venue's rule)",
    )
    group.add_argument(
        "--procedure",
        action="store_true",
        help="also run the venue's liquidation steps after each trigger and write them",
    )
