"""What ``backtest replay`` accepts. Nothing but argparse is imported here."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from backtest.cli.common import options, types

WRITES = """\
`backtest venues NAME` prints the rules of a venue's procedure, docs/replay.md tells what each of them does.
Impact numbers are fractions a unit of notional: 5e-10 is 5 basis points a million.

examples:
  backtest replay --venue mexc --symbol BTCUSDT --fund 1e6
  backtest replay --count 50000 --set adl_rank=pro_rata --fill-price liquidation_price --out pro_rata
  backtest replay --bars bars.parquet --positions book.parquet --trace 7
  backtest replay --policy-set maximum_leverage=20 --leverage-limit cap --strength 1e-10 --out cap
  backtest replay --policy bybit --tiers nearest --leverage-limit filter --strength 1e-10 --out bybit

writes DIR/outcomes.parquet (one row a position), fund.parquet, adl.parquet, impact.parquet (one row a bar),
ledger.parquet, fund.png, losses.png and DIR/summary.json; with --trace trace.parquet,
with --mark-impact a mark_SYMBOL.png a symbol; with --policy the same frames as policy_*.parquet,
comparison_*.parquet, flow.parquet (what was executed in fact, event by event) and a mark_SYMBOL.png a symbol
"""


def add_replay(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "replay",
        help="the whole waterfall in time order: orders, fund, deleveraging, and a ledger that closes",
        description="Step a book through the prices under a venue's liquidation procedure. Without options: May\n"
        "2021 on the bundled reconstruction, under Binance's rules, with invented positions.",
        epilog=WRITES,
    )
    options.add_market(parser)
    options.add_book(parser)
    options.add_invented(parser)
    options.add_rules(parser, venue_default="binance")
    _add_waterfall(parser)
    _add_impact(parser)
    _add_policy(parser)
    parser.options = {
        "impact.participation": "--participation",
        "impact.linear": "--impact",
        "impact.square_root": "--square-root-impact",
        "impact.mark": "--mark-impact",
    }
    output = parser.add_argument_group("output")
    output.add_argument("--trace", metavar="ID", help="tell every step of the position with this position_id")
    options.add_out(output, default=Path("out"))


def _add_waterfall(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("fund and procedure")
    group.add_argument(
        "--fund", type=types.amount, default=0.0, metavar="AMOUNT", help="the fund at the start (default: 0)"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        dest="procedure",
        metavar="RULE=VALUE",
        help="change a rule of the venue's procedure, as adl_rank=pro_rata or rounds=10 (may be repeated)",
    )


def _add_impact(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how the market takes the orders")
    group.add_argument(
        "--participation",
        type=types.share,
        metavar="SHARE",
        help="liquidations are at most this share of a bar's volume",
    )
    group.add_argument("--impact", type=types.amount, metavar="X", help="fills get worse by X a unit of notional")
    group.add_argument(
        "--square-root-impact",
        type=types.amount,
        metavar="X",
        help="fills get worse by X where orders equal a bar's volume, with its square root",
    )
    group.add_argument(
        "--mark-impact",
        type=types.amount,
        metavar="X",
        help="the mark itself moves by X a unit of notional (feedback)",
    )
    group.add_argument(
        "--exogenous", action="store_true", help="say that the prices hold no cascade of their own (for feedback)"
    )


def _add_policy(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "another policy on the same prices", "the history's own liquidations are taken out, the policy's put in"
    )
    group.add_argument("--policy", metavar="NAME_OR_FILE", help="the venue that is tried (default: the same)")
    group.add_argument(
        "--policy-set",
        action="append",
        default=[],
        metavar="RULE=VALUE",
        help="change a rule of it, as maximum_leverage=20, rate_scale=1.5 or step=fraction (may be repeated)",
    )
    group.add_argument(
        "--strength",
        type=types.amount,
        metavar="G",
        help="logarithm of the mark a unit of notional moves, as 1e-10",
    )
