"""What ``backtest levels`` accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backtest.cli.common import options, types

FORMATS = ("png", "svg", "gif", "mp4", "json", "parquet")

EPILOG = """\
writes to DIR, in the formats asked for (png, svg: pictures; json: for charting front ends; parquet: tables):
  levels     the heatmap: what waits at each price through time (gif, mp4: being eaten)
  map        what waits around the price at --at, by leverage
  clusters   where levels crowd at --at; aftermath: those of --since, and what became of them
  trust      how far to believe it: the score against liquidations from elsewhere, and the magnet test
  multiples  all symbols of the bars in one scale, and their sum by distance from the price
  lives, magnet, score   (parquet) clusters through time, the magnet test, the score of the map
  summary.json           arguments, versions, hashes, tiers, gaps, timings

examples:
  backtest levels                                           May 2021 on the bundled reconstruction
  backtest levels --at 2021-05-19 --window 7d --look dark --size slide --formats png svg json
  backtest levels --bars bars.parquet --population open-interest --at now --window 30d --formats gif
"""


def add_levels(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "levels",
        help="liquidation heatmap, map and clusters, as pictures, film and data",
        description="What waits to be liquidated at each price, through time and now. Without options: May 2021\n"
        "on the bundled reconstruction, with a million invented positions.",
        epilog=EPILOG,
    )
    options.add_market(parser)
    options.add_book(parser)
    options.add_estimated(
        parser, default="drawn from stated laws (default; with open_interest in the bars: open-interest)"
    )
    rules = parser.add_argument_group("rules")
    options.add_venue(rules, default="binance")
    rules.add_argument(
        "--drift",
        action="store_true",
        help="let funding move the levels of the heatmap (default: none is charged)",
    )
    rules.add_argument(
        "--half-life",
        type=types.span,
        metavar="SPAN",
        help="in which a level fades to a half: 12h, 7d (default: never)",
    )
    _add_view(parser)
    _add_looks(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--formats",
        nargs="+",
        choices=FORMATS,
        default=["png", "json", "parquet"],
        metavar="FORMAT",
        help=f"any of {', '.join(FORMATS)} (default: png json parquet)",
    )
    options.add_out(output, default=Path("out"))


def _add_view(parser: Any) -> None:
    view = parser.add_argument_group("what to show")
    view.add_argument("--chart", metavar="SYMBOL", help="symbol to draw (default: the first of the bars)")
    view.add_argument(
        "--at",
        type=types.time_or_now,
        default="now",
        metavar="TIME",
        help="moment of the map, where the heatmap ends: a time (UTC) in the bars, or now, their end (default)",
    )
    view.add_argument(
        "--window", type=types.span, metavar="SPAN", help="of the heatmap before it: 12h, 7d (default: all)"
    )
    view.add_argument(
        "--since", type=types.time, metavar="TIME", help="tell what became of the clusters of this moment by --at"
    )
    view.add_argument(
        "--bins", type=types.count, default=400, metavar="N", help="of price, at most (default: 400)"
    )
    view.add_argument(
        "--price-scale",
        choices=("linear", "log"),
        help="bins of equal width or of equal ratios (default: log where prices more than double)",
    )
    view.add_argument(
        "--columns", type=types.count, default=960, metavar="N", help="of time, at most (default: 960)"
    )
    view.add_argument(
        "--reach",
        type=types.reach,
        default=0.25,
        metavar="PART",
        help="of the map and of clusters, as a part of the price (default: 0.25)",
    )
    against = view.add_mutually_exclusive_group()
    against.add_argument(
        "--recorded",
        type=Path,
        metavar="FILE",
        help="score the heatmap against liquidations: time, price, notional",
    )
    against.add_argument(
        "--hidden-truth", action="store_true", help="score it against an invented book of another mix and seed"
    )


def _add_looks(parser: Any) -> None:
    looks = parser.add_argument_group("looks")
    looks.add_argument("--look", choices=("light", "dark"), default="light", help="(default: light)")
    looks.add_argument(
        "--size",
        choices=("screen", "slide", "print", "square"),
        default="screen",
        help="1600 x 1000 (default), 1920 x 1080, 7 inches at 300 dots, 1080 x 1080",
    )
    looks.add_argument(
        "--scale",
        choices=("auto", "root", "linear", "log"),
        default="auto",
        help="of the colours (default: linear where most cells hold much, else root)",
    )
    looks.add_argument(
        "--maximum",
        type=types.positive,
        metavar="AMOUNT",
        help="of the last shade; the same one makes two charts comparable (default: 99.5 %% of cells stay below)",
    )
    looks.add_argument("--caption", default="", metavar="TEXT", help="for the footer of every picture")
