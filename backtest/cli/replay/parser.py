"""Options of ``backtest replay``. Nothing but argparse is imported here."""

from __future__ import annotations

import argparse
from typing import Any

from backtest.cli.common import appearance, options, types

WRITES = """\
`backtest venues NAME` prints the rules of a venue's procedure; docs/replay.md explains each of them.
Impact is a fraction of the price per unit of notional: 5e-10 is 5 basis points per million.

examples:
  backtest replay --venue mexc --symbol BTCUSDT --fund 1e6
  backtest replay --count 50000 --set adl_rank=pro_rata --fill-price liquidation_price --out pro_rata
  backtest replay --bars bars.parquet --positions book.parquet --trace 7
  backtest replay --policy-set maximum_leverage=20 --leverage-limit cap --strength 1e-10 --out cap
  backtest replay --policy bybit --tiers nearest --leverage-limit filter --strength 1e-10 --out bybit

writes to DIR: outcomes.parquet (one row per position), fund.parquet, adl.parquet, impact.parquet (one row per
bar), ledger.parquet, summary.json and the charts fund.png and losses.png (or other --formats; html: replay.html,
a page to explore); with --trace also trace.parquet; with --mark-impact mark_SYMBOL.png; with --policy the same
tables as policy_*.parquet, comparison_*.parquet, flow.parquet (the executions of the history, event by event)
and mark_SYMBOL.png
"""


#: Options that are arguments of ``replay`` by the same names, and those of a counterfactual too.
ARGUMENTS = ("fund", "exogenous", "trace", "threads")
IN_BOTH_WORLDS = ("fund", "trace", "threads")

#: Options that are fields of ``Impact``.
IMPACT = {
    "participation": "participation",
    "linear": "impact",
    "square_root": "square_root_impact",
    "mark": "mark_impact",
}


def add_replay(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "replay",
        help="liquidations in time order: orders, insurance fund, auto-deleveraging, price impact, who pays",
        description="Run a book through the prices in time order under a venue's liquidation procedure. "
        "Without options:\n"
        "May 2021 on the bundled reconstruction, under Binance's rules, with a million synthetic positions.",
        epilog=WRITES,
    )
    options.add_market(parser)
    options.add_book(parser)
    options.add_synthetic(parser)
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
    output.add_argument("--trace", metavar="ID", help="print every step of the position with this position_id")
    appearance.add_appearance(parser, more=("html",))
    options.add_out(output, "replay")


def _add_waterfall(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("insurance fund and procedure")
    group.add_argument(
        "--fund", type=types.amount, default=0.0, metavar="AMOUNT", help="insurance fund at the start (default: 0)"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        dest="procedure",
        metavar="RULE=VALUE",
        help="change a rule of the venue's procedure, such as adl_rank=pro_rata or rounds=10 (may be repeated)",
    )


def _add_impact(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("market impact of liquidation orders")
    group.add_argument(
        "--participation",
        type=types.share,
        metavar="SHARE",
        help="liquidation orders take at most this share of a bar's volume",
    )
    group.add_argument(
        "--impact", type=types.amount, metavar="X", help="fills get worse by X per unit of notional"
    )
    group.add_argument(
        "--square-root-impact",
        type=types.amount,
        metavar="X",
        help="fills get worse by X times the square root of orders over the bar's volume",
    )
    group.add_argument(
        "--mark-impact",
        type=types.amount,
        metavar="X",
        help="the mark price moves by X per unit of notional (feedback)",
    )
    group.add_argument(
        "--exogenous",
        action="store_true",
        help="declare that the prices contain no liquidation cascade of their own (for --mark-impact)",
    )


def _add_policy(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "another policy on the same history",
        "The price impact of the history's own liquidations is taken out, that of the policy's liquidations "
        "put in.",
    )
    group.add_argument(
        "--policy", metavar="NAME_OR_FILE", help="venue whose rules are tried (default: the same venue)"
    )
    group.add_argument(
        "--policy-set",
        action="append",
        default=[],
        metavar="RULE=VALUE",
        help="change one of its rules, such as maximum_leverage=20, rate_scale=1.5 or step=fraction (may be "
        "repeated)",
    )
    group.add_argument(
        "--strength",
        type=types.amount,
        metavar="G",
        help="log change of the mark price per unit of notional liquidated, such as 1e-10",
    )
