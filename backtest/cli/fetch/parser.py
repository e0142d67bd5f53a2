"""Options of ``backtest fetch``. Nothing but argparse is imported here."""

from __future__ import annotations

import argparse
from typing import Any

from backtest.cli.common import types

EPILOG = """\
data, by venue:
  binance       mark, index, premium, last, spot (klines), funding, metrics (open interest and ratios)
  binance-coin  mark, index, premium, last (klines), funding, metrics, liquidations
  bybit         mark, last (klines with volume), funding, metrics (open interest); metatrader (klines), trades,
                spot-trades, index, premium from its files
  okx           mark, last (klines with volume), funding (three months), metrics (open interest, 1,440 hours)
  hyperliquid   last (the newest 5,000 bars, with volume), funding; no mark, no history of open interest

tiers of today, as the venue's public interface answers without a key: fetch tiers VENUE, one of bybit, okx, gate,
bitget, kucoin, hyperliquid, dydx. Those of bundled venues are imported at once.

examples:
  backtest fetch binance --symbol BTCUSDT --from 2021-05-10 --until 2021-05-26 --out may
  backtest run --bars may/bars.parquet --funding may/funding.parquet
  backtest fetch tiers okx --symbol BTC-USDT
  backtest fetch binance mark funding metrics --symbol BTCUSDT --from 2026-11-01 --recent

Files are kept in the platform's cache folder, or in the folder that the environment variable BACKTEST_DATA
names. Files that are there already are not downloaded again.
"""


def add_fetch(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "fetch",
        help="download prices, funding and open interest from a venue's public archive or interface",
        description="Download the files of a period that are not on disk yet: by month, then by day for the "
        "rest and\n"
        "for incomplete months. Checksums are verified, every repair is counted, gaps are reported.",
        epilog=EPILOG,
    )
    parser.options = {"hosts": "--host", "symbols": "--symbol"}
    data = parser.add_argument_group("data")
    data.add_argument(
        "venue",
        metavar="VENUE",
        help="binance (USD-M and spot), binance-coin (COIN-M), bybit, okx, hyperliquid; or tiers",
    )
    data.add_argument(
        "data", nargs="*", metavar="DATA", help="data sets (default: mark last funding, where the venue has them)"
    )
    data.add_argument(
        "--symbol",
        action="append",
        metavar="SYMBOL",
        help="symbol as the venue writes it (may be repeated)",
    )
    data.add_argument("--from", dest="start", type=types.time, metavar="TIME", help="start (UTC)")
    data.add_argument(
        "--until", dest="end", type=types.time, metavar="TIME", help="end, exclusive (UTC; default: now)"
    )
    data.add_argument("--interval", default="1m", metavar="INTERVAL", help="interval of klines (default: 1m)")
    data.add_argument(
        "--recent",
        action="store_true",
        help="download the latest days, which the archive lacks, from the venue's public API",
    )
    _add_download(parser.add_argument_group("download and output"))


def _add_download(how: Any) -> None:
    how.add_argument(
        "--refresh", action="store_true", help="check which files the venue has replaced, and download those again"
    )
    how.add_argument("--offline", action="store_true", help="download nothing, report what is on disk")
    how.add_argument("--folder", type=types.folder, metavar="DIR", help="folder to keep the data in")
    how.add_argument(
        "--parallel", type=types.count, default=6, metavar="N", help="simultaneous downloads (default: 6)"
    )
    how.add_argument(
        "--host",
        action="append",
        type=_mirror,
        default=[],
        metavar="NAME=ADDRESS",
        help="use a mirror or proxy for a host, as binance-archive=https://...",
    )
    how.add_argument(
        "--out",
        type=types.folder,
        metavar="DIR",
        help="also write bars.parquet and funding.parquet, as `backtest run` reads them, and quality.parquet "
        "to DIR",
    )


def _mirror(text: str) -> tuple[str, str]:
    name, _, address = text.partition("=")
    if not (name and address.startswith(("http://", "https://"))):
        raise argparse.ArgumentTypeError(f"must be like binance-archive=https://…, is {text!r}")
    return name, address
