"""Options of ``backtest policy`` and the format of its grid file."""

from __future__ import annotations

from typing import Any

from backtest.cli.common import appearance, options, types

GRID = """\
a grid file (TOML):
  question = "What would a cap of 20x have changed?"   title of the report
  venue = "binance"                  a bundled venue or a venue file
  like = "BTCUSDT"                   whose rules symbols have that the venue does not list (default: refused)
  tiers = "nearest"                  strict (default), earlier, later, strictest, nearest, { SYMBOL = "TABLE" }
  settlement = "fund path"           every position fully closed at once (default), or
                                     "replay": step by step in time order, with auto-deleveraging

  [grid]                             every combination is tried; an axis left out has one value: the current rules
  caps = ["none", 50, 20, 10]        highest leverage
  rate_scales = [1, 1.5]             factors on every maintenance rate
  liquidation_fees = [0, 0.005]      share of the closed notional, as far as equity covers it; for replays also
                                     "current rules": each procedure's own (their default)
  funds = [0, 1e6]                   insurance fund at the start, in settlement currency
  procedures = ["returned"]          remaining margin: returned, to_fund; for replays also
                                     "current rules" (the venue's own, their default), a venue, or a table below
  fills = ["liquidation_price", "delayed", "worst_price"]
                                     fill price of liquidations (default: all; of replays the first and last)
  responses = ["same_size", "same_margin", "not_opened"]

  [changes."entry basis"]            other changed rules, by name; "current rules" is always tried too
  basis = "entry"

  [procedures."in quarters"]         for replays: a changed procedure; settings of a venue's [procedure], and
  like = "mexc"                      remainder, takeover_price, takeover_discount; like: the venue it starts
  step = "fraction"                  from (default: the grid's venue)
  step_fraction = 0.25

  [impact]                           for replays: market impact (default: no impact, no limit)
  participation = 0.1                at most this share of a bar's volume
  linear = 5e-10                     fraction of the price per unit of notional; or square_root

  [delay]                            of the fill "delayed" (defaults: 10 s, no limit, no impact, 4 draws)
  seconds = 10                       from the trigger to the fill, at least
  participation = 0.1                or once this share of the volume since then is the size
  linear = 5e-10                     fraction of the price per unit of notional; or square_root
  draws = 4                          amounts are means over so many paths inside the bars

  [tolerance]                        the findings begin with the highest cap that keeps it (default: none)
  shortfall_per_million = 50         of intended notional; or adl_per_million, liquidated_share = 0.2

  [[histories]]
  name = "May 2021"
  sample = true                      or bars = "FILE", funding = "FILE", symbols, from, until, gap_limit_hours,
                                     price_venue

  [[books]]
  name = "retail, seed 1"
  leverage_mix = "mixed"             mixed, low, high; with count and seed; or positions = "FILE"
                                     or population = "volume" (or "open-interest"), turnover, mix_file

  [bands]                            bands over calendar blocks of entry time (default: none)
  block_days = 14
  draws = 499
  seed = 1

Paths are relative to the grid file. Finished cells are kept in DIR/cells: a command that was stopped
continues when it is given again.

writes to DIR: policies.parquet (one row per combination), report.html, summary.json and the charts
policies.png and frontier.png (or other --formats); with several procedures also procedures.png
"""


def add_policy(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "policy",
        help="compare margin rules: leverage caps, maintenance rates, fees, funds and procedures",
        description="Evaluate every combination of a grid of rules on your books and histories: tables, files,\n"
        "charts and a report in one HTML file.",
        epilog=GRID,
    )
    parser.options, parser.setting = {"tiers": "tiers"}, '{} = "{}"'  # as the grid file has it
    parser.add_argument(
        "grid", type=types.file, metavar="GRID.toml", help="file with histories, books and rules, see below"
    )
    appearance.add_appearance(parser)
    options.add_out(parser, "policy")
