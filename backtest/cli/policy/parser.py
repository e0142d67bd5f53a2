"""What ``backtest policy`` accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backtest.cli.common import types

GRID = """\
a grid file (TOML):
  question = "What would a cap of 20x have changed?"   for the report
  venue = "binance"                  a bundled venue or a venue file
  tiers = "nearest"                  strict (default), nearest, or { SYMBOL = "TABLE" }
  settlement = "fund path"           every position closed whole and at once (default), or
                                     "replay": step by step in time order, with deleveraging

  [grid]                             every combination is tried; what is left out has one value, the current rules
  caps = ["none", 50, 20, 10]        highest leverage
  rate_scales = [1, 1.5]             factors on every maintenance rate
  liquidation_fees = [0, 0.005]      of the notional closed, as far as equity reaches; of replays also
                                     "current rules": each procedure's own (their default)
  funds = [0, 1e6]                   insurance fund at the beginning, settlement currency
  procedures = ["returned"]          where the rest of the margin goes: returned, to_fund; of replays also
                                     "current rules" (the venue's own, their default), a venue, or a table below
  fills = ["liquidation_price", "worst_price"]
                                     what a liquidation gets: both, unless told otherwise
  responses = ["same_size", "same_margin", "not_opened"]

  [changes."entry basis"]            other rules changed, by name; "current rules" stays beside them
  basis = "entry"

  [procedures."in quarters"]         of replays: a procedure changed, settings as in a venue's [procedure],
  like = "mexc"                      remainder, takeover_price, takeover_discount; like: whose (default: the
  step = "fraction"                  grid's venue)
  step_fraction = 0.25

  [impact]                           of replays: how the market takes orders; left out: at the price, no limit
  participation = 0.1                share of a bar's volume at most
  linear = 5e-10                     fraction of the price a unit of notional; or square_root

  [[histories]]
  name = "May 2021"
  sample = true                      or bars = "FILE", funding = "FILE", symbols, from, until, gap_limit_hours

  [[books]]
  name = "retail, seed 1"
  leverage_mix = "mixed"             mixed, low, high; with count and seed; or positions = "FILE"
                                     or population = "open-interest" (or "volume"), turnover

  [bands]                            over calendar blocks of entry time; leave out for none
  block_days = 14
  draws = 499
  seed = 1

paths are relative to the grid file. Finished cells are kept in DIR/cells: a command that was stopped goes on
where it was.

writes DIR/policies.parquet (one row a combination), DIR/policies.png, DIR/frontier.png, with several procedures
DIR/procedures.png, DIR/report.html and DIR/summary.json
"""


def add_policy(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "policy",
        help="what other rules would have done, and cost: a grid of caps, rates, fees and funds",
        description="Try every combination of a grid of rules on stated books in stated histories: a table,\n"
        "files, charts and a report that needs nothing but a browser.",
        epilog=GRID,
    )
    parser.options, parser.setting = {"tiers": "tiers"}, '{} = "{}"'  # as the grid file has it
    parser.add_argument("grid", type=Path, metavar="GRID.toml", help="histories, books and rules, see below")
    parser.add_argument("--out", type=Path, metavar="DIR", default=Path("out"), help="to write to (default: out)")
    parser.add_argument("--threads", type=types.count, metavar="N", help="how many to use (default: one a core)")
