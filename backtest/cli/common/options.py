"""Options that several commands share. Nothing but argparse is imported here: ``--help`` must come at once."""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path
from typing import Any

from backtest.cli.common import types

#: Files of accounts in cross margin, each an option of its name.
FILES = ("accounts", "legs", "collateral", "haircuts", "transfers")

#: Options of an estimated book alone, by the names of their values.
ESTIMATED = ("mean_holding", "reopening_damping", "bounded", "long_leverage", "short_leverage", "mix_file")

SAMPLE = "the bundled reconstruction of May 2021"


def add_market(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add the options of prices; the bundled sample is the default unless they are required."""
    market = parser.add_argument_group("prices")
    default = "" if required else f" (default: {SAMPLE})"
    market.add_argument(
        "--bars", type=types.source, metavar="FILE", required=required, help=f"mark prices{default}"
    )
    market.add_argument("--funding", type=types.source, metavar="FILE", help="funding rates")
    market.add_argument(
        "--price-venue",
        metavar="NAME",
        help="venue whose prices the bars are: results say so where the rules are another's",
    )
    market.add_argument(
        "--gap-limit",
        type=types.gap_limit,
        default=timedelta(hours=6),
        metavar="HOURS",
        help="positions open across a longer gap end unknown: hours (default: 6), or none",
    )
    market.add_argument(
        "--symbol", action="append", metavar="SYMBOL", help="use only this symbol (may be repeated; default: all)"
    )
    market.add_argument(
        "--from", dest="start", type=types.time, metavar="TIME", help="use bars from this time on (UTC)"
    )
    market.add_argument(
        "--until", dest="end", type=types.time, metavar="TIME", help="use bars before this time (UTC)"
    )


def add_book(parser: argparse.ArgumentParser, *, instead: str = "default: a synthetic book") -> None:
    """Add the options of positions; ``instead`` says what is used where none are given."""
    book = parser.add_argument_group("positions")
    book.add_argument("--positions", type=types.source, metavar="FILE", help=f"your positions ({instead})")
    book.add_argument(
        "--adjustments", type=types.source, metavar="FILE", help="margin added or withdrawn, parts added or closed"
    )


def add_estimated(parser: argparse.ArgumentParser) -> None:
    """Add the options of a synthetic or estimated book."""
    estimated = parser.add_argument_group("synthetic or estimated book (where no positions are given)")
    estimated.add_argument(
        "--population",
        choices=("synthetic", "open-interest", "volume"),
        help="volume: estimated from the volume of the bars (default where they have volume); open-interest: from "
        "their open_interest and volume, both of one venue; synthetic: drawn from stated distributions (default "
        "elsewhere, and with the options of a synthetic book)",
    )
    estimated.add_argument(
        "--turnover",
        type=types.share,
        metavar="SHARE",
        help="share of the volume that opens (volume) or closes (open-interest) positions (default: 0.05)",
    )
    estimated.add_argument(
        "--mean-holding",
        type=types.positive,
        metavar="HOURS",
        help="mean time until holders close, of a population of volume (default: 30)",
    )
    estimated.add_argument(
        "--reopening-damping",
        type=types.amount,
        metavar="HOURS",
        help="time in which the damping of openings after liquidations fades, of a population of volume; 0: none "
        "(default: 6)",
    )
    estimated.add_argument(
        "--bounded",
        action="store_true",
        default=None,
        help="hold a population of volume to at most the bars' open_interest, which must be the same venue's",
    )
    _add_mixes(estimated)
    add_draw(estimated)


def _add_mixes(estimated: Any) -> None:
    """Add the leverage mix of each side of an estimated book."""
    for side in ("long", "short"):
        estimated.add_argument(
            f"--{side}-leverage",
            type=types.side_mix,
            metavar="TYPICAL:SPREAD",
            help=f"lognormal leverage of {side}s in an estimated book: the typical leverage, and the standard "
            "deviation of its logarithm, like 10x:0.8 (default: one stated mix of both sides)",
        )
    estimated.add_argument(
        "--mix-file",
        type=types.file,
        metavar="FILE",
        help="TOML file of leverage mixes by side and era, as fits write",
    )


#: Help of ``--like``.
LIKE = "symbol whose rules are a substitute for those of symbols that the venue does not list (default: none)"


def add_synthetic(parser: argparse.ArgumentParser) -> None:
    """Add the options of a synthetic book."""
    add_draw(parser.add_argument_group("synthetic book (where no positions are given)"))
    parser.set_defaults(population=None, turnover=None, **dict.fromkeys(ESTIMATED))


def add_draw(group: Any) -> None:
    """Add size, leverage and seed of a synthetic book."""
    group.add_argument("--count", type=types.count, metavar="N", help="number of positions (default: 1,000,000)")
    group.add_argument(
        "--leverage-mix",
        choices=("mixed", "low", "high"),
        help="mixed: 2x to 125x, as on a retail venue (default); low: 2x to 5x; high: 20x to 125x",
    )
    group.add_argument("--seed", type=types.seed, metavar="N", help="random seed (default: 20210519)")


def add_rules(parser: argparse.ArgumentParser, *, venue_default: str | None) -> None:
    """Add the venue and the conventions of a run; the venue is required where it has no default."""
    rules = parser.add_argument_group("rules")
    add_venue(rules, default=venue_default)
    rules.add_argument(
        "--trigger-price",
        choices=("mark", "last", "index"),
        help="price that triggers liquidation (default: the venue's)",
    )
    rules.add_argument(
        "--fill-price",
        choices=("liquidation_price", "last_close", "last_extreme"),
        default="liquidation_price",
        help="fill price of a liquidation (default: liquidation_price)",
    )
    rules.add_argument(
        "--intrabar",
        choices=("pessimistic", "optimistic", "path"),
        default="pessimistic",
        help="order of events on opposite sides of a bar's open, which bars leave unknown (default: pessimistic)",
    )
    rules.add_argument(
        "--entry-bar",
        choices=("untested", "tested"),
        default="untested",
        help="whether the low and high of the bar that an entry lies inside count as prices after the entry; its "
        "close always does (default: untested, they do not)",
    )
    rules.add_argument(
        "--exit-bar",
        choices=("untested", "tested"),
        default="untested",
        help="whether the low and high of the bar that an exit lies inside count as prices before the exit; its "
        "opening always does (default: untested, they do not)",
    )
    rules.add_argument(
        "--leverage-limit",
        choices=("error", "cap", "filter"),
        default="error",
        help="leverage above the tier's limit: refuse the book (default), lower the leverage, or drop the "
        "position",
    )


def add_venue(rules: Any, *, default: str | None) -> None:
    """Add the venue, required where it has no default, and the choice of its tier tables."""
    rules.add_argument(
        "--venue",
        metavar="NAME_OR_FILE",
        required=default is None,
        default=default,
        help="a bundled venue or a venue file, see `backtest venues`"
        + (f" (default: {default})" if default else ""),
    )
    rules.add_argument(
        "--tiers",
        action="append",
        metavar="RULE",
        help="entries at a time for which no tier table is known to be in force: strict refuses them (default), "
        "earlier and later take the table before or after it, strictest the stricter of both, nearest the one "
        "nearest in time, TABLE the table of that name, SYMBOL=TABLE for one symbol (may be repeated)",
    )
    rules.add_argument("--like", metavar="SYMBOL", help=LIKE)


def add_out(group: Any, command: str) -> None:
    """Add the output folder, by default one of the command's own, and the number of threads."""
    group.add_argument(
        "--out",
        type=types.folder,
        metavar="DIR",
        default=Path("out", command),
        help=f"output folder (default: out/{command}); files of an earlier run there are replaced",
    )
    group.add_argument(
        "--threads", type=types.count, metavar="N", help="number of threads (default: one per core)"
    )
