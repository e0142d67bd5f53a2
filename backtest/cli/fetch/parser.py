"""What ``backtest fetch`` accepts. Nothing but argparse is imported here, as in ``parser``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from backtest.cli.common import types

EPILOG = """\
data, by venue:
  binance       mark, index, premium, last, spot (klines), funding, metrics (open interest and ratios)
  binance-coin  mark, index, premium, last (klines), funding, metrics, liquidations
  bybit         last (klines), trades, spot-trades, index, premium

examples:
  backtest fetch binance --symbol BTCUSDT --from 2021-05-10 --until 2021-05-26 --out may
  backtest run --bars may/bars.parquet --funding may/funding.parquet
  backtest fetch binance mark funding metrics --symbol BTCUSDT --from 2026-11-01 --recent

Files go to the platform's cache folder, or the one that BACKTEST_DATA names. A second call fetches nothing.
"""


def add_fetch(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "fetch",
        help="real prices, funding and open interest from a venue's public archive, checked and kept",
        description="Fetch the files of a span that are not on the disk yet: by month, then by day for the rest\n"
        "and for what months lack. Checksums are verified, every repair is counted, gaps are reported.",
        epilog=EPILOG,
    )
    parser.options = {"hosts": "--host"}
    what = parser.add_argument_group("what")
    what.add_argument("venue", metavar="VENUE", help="binance (USD-M and spot), binance-coin (COIN-M), bybit")
    what.add_argument(
        "data", nargs="*", metavar="DATA", help="data sets (default: mark last funding, those there are)"
    )
    what.add_argument(
        "--symbol",
        action="append",
        required=True,
        metavar="SYMBOL",
        help="as the venue writes it (may be repeated)",
    )
    what.add_argument(
        "--from", dest="start", type=types.time, required=True, metavar="TIME", help="from here on (UTC)"
    )
    what.add_argument("--until", dest="end", type=types.time, metavar="TIME", help="before this (default: now)")
    what.add_argument("--interval", default="1m", metavar="INTERVAL", help="of klines (default: 1m)")
    what.add_argument(
        "--recent", action="store_true", help="fill the last days, which no archive has, from the public interface"
    )
    how = parser.add_argument_group("how")
    how.add_argument("--refresh", action="store_true", help="ask which files the venue has replaced, fetch those")
    how.add_argument("--offline", action="store_true", help="ask nobody: report what is on the disk")
    how.add_argument("--folder", type=Path, metavar="DIR", help="keep data here")
    how.add_argument(
        "--parallel", type=types.count, default=6, metavar="N", help="downloads at a time (default: 6)"
    )
    how.add_argument(
        "--host", action="append", type=_mirror, default=[], metavar="NAME=ADDRESS", help="a mirror, or a proxy"
    )
    how.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="also write bars.parquet and funding.parquet, for `run`, and quality.parquet to DIR",
    )


def _mirror(text: str) -> tuple[str, str]:
    name, _, address = text.partition("=")
    if not (name and address.startswith(("http://", "https://"))):
        raise argparse.ArgumentTypeError(f"must be like binance-archive=https://…, is {text!r}")
    return name, address
