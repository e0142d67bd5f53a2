"""Options of ``backtest levels``."""

from __future__ import annotations

from typing import Any

from backtest.cli.common import appearance, options, types

EPILOG = """\
writes to DIR, in the requested formats (png, svg, pdf: charts; html: the heatmap as a page to explore; gif, mp4:
film; json: for charting front ends; parquet, csv: tables):
  levels            heatmap: open liquidation levels by price and time
  map               liquidation map: open levels around the price at --at, by leverage
  clusters          clusters of levels at --at
  cluster_outcomes  clusters at --since, and their outcome by --at
  given_score       (parquet) score of the map of --score-map
  score             score of the heatmap against other liquidations, and the magnet test
  multiples         the (three largest) symbols in one scale, and their sum by distance from the price
  series            (json) candles, price lines and histograms for lightweight-charts
  screener          (parquet, csv) the largest clusters within 3 % of the price, where there are several symbols
  tracks, magnet    (parquet, csv) clusters through time; the magnet test
  summary.json      arguments, versions, hashes, tiers, gaps, timings

examples:
  backtest levels                                           May 2021 on the bundled reconstruction
  backtest levels --formats html                            a page with hover, zoom, sides and leverage
  backtest levels --at 2021-05-19 --window 7d --look dark --size portrait --formats png,svg,json
  backtest levels --bars bars.parquet --population volume --at now --window 30d --formats gif
"""


def add_levels(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "levels",
        help="liquidation heatmap, liquidation map and clusters, as charts, film and data",
        description="Open liquidation levels by price, through time and now. Without options: May 2021 on "
        "the bundled\n"
        "reconstruction, under Binance's rules, with a million synthetic positions.",
        epilog=EPILOG,
    )
    options.add_market(parser)
    options.add_book(parser)
    options.add_estimated(parser)
    rules = parser.add_argument_group("rules")
    options.add_venue(rules, default="binance")
    rules.add_argument(
        "--drift",
        action="store_true",
        help="let funding move the levels of the heatmap (default: no funding is charged)",
    )
    rules.add_argument(
        "--half-life",
        type=types.span,
        metavar="SPAN",
        help="time in which a level decays to a half: 12h, 7d (default: no decay)",
    )
    _add_view(parser)
    _add_looks(parser)
    output = parser.add_argument_group("output")
    options.add_out(output, "levels")


def _add_view(parser: Any) -> None:
    view = parser.add_argument_group("what to show")
    view.add_argument("--chart", metavar="SYMBOL", help="symbol to draw (default: the first of the bars)")
    view.add_argument(
        "--at",
        type=types.time_or_now,
        default="now",
        metavar="TIME",
        help="time of the map and end of the heatmap: a time (UTC) within the bars, or now, their end (default)",
    )
    view.add_argument(
        "--window",
        type=types.span,
        metavar="SPAN",
        help="length of the heatmap: 12h, 7d (default: all bars before --at)",
    )
    view.add_argument(
        "--since",
        type=types.time,
        metavar="TIME",
        help="also show the clusters at this time and their outcome by --at",
    )
    view.add_argument(
        "--bins", type=types.count, default=400, metavar="N", help="price bins, at most (default: 400)"
    )
    view.add_argument(
        "--price-scale",
        choices=("linear", "log"),
        help="price bins of equal width or equal ratio (default: log where prices more than double)",
    )
    view.add_argument(
        "--columns", type=types.count, default=960, metavar="N", help="time columns, at most (default: 960)"
    )
    view.add_argument(
        "--reach",
        type=types.reach,
        default=0.25,
        metavar="PART",
        help="range of the map and the clusters around the price, as a fraction of it (default: 0.25)",
    )
    view.add_argument("--side", choices=("long", "short"), help="show this side alone (default: both)")
    view.add_argument(
        "--leverage",
        type=types.leverage_span,
        metavar="LOW-HIGH",
        help="show positions of this leverage alone: 20-50, or 50- (default: all)",
    )
    _add_scores(view)


def _add_scores(view: Any) -> None:
    against = view.add_mutually_exclusive_group()
    against.add_argument(
        "--recorded",
        type=types.file,
        metavar="FILE",
        help="draw these recorded liquidations over the heatmap and score it against them: time, price, notional; "
        "symbol where they are of several, side where it is known",
    )
    against.add_argument(
        "--hidden-truth",
        action="store_true",
        help="score it against a synthetic book of another leverage mix and seed",
    )
    view.add_argument(
        "--score-map",
        type=types.file,
        metavar="FILE",
        help="also score this heatmap of others, JSON as charting front ends read it (like levels.json), against "
        "the same liquidations and baselines",
    )


def _add_looks(parser: Any) -> None:
    looks = appearance.add_appearance(
        parser, more=("html", "gif", "mp4", "json", "csv", "parquet"), default=("png", "json", "parquet")
    )
    looks.add_argument(
        "--scale",
        choices=("auto", "root", "linear", "log"),
        default="auto",
        help="colour scale (default: linear where most cells hold much, else root)",
    )
    looks.add_argument(
        "--threshold",
        type=types.part,
        metavar="SHARE",
        help="part of the strongest colour's amount below which cells are left empty (default: 0.1 of a synthetic "
        "book, else 0)",
    )
    looks.add_argument(
        "--price",
        choices=("line", "candles"),
        default="line",
        help="how the mark price is drawn over the heatmap (default: line)",
    )
    looks.add_argument(
        "--totals",
        action="store_true",
        help="below the heatmap, what is open at all prices through time, by side",
    )
    looks.add_argument(
        "--maximum",
        type=types.positive,
        metavar="AMOUNT",
        help="amount of the strongest colour, the same to compare two charts (default: 99.5 %% of cells stay "
        "below)",
    )
