"""Options of ``backtest sweep`` in batches."""

from __future__ import annotations

import argparse

from backtest.cli.common import types


def add_batches(parser: argparse.ArgumentParser) -> None:
    """Add the options of a sweep in batches; any of them turns it on."""
    group = parser.add_argument_group(
        "books larger than memory, several processes or machines",
        "Any of these options sweeps in batches: positions are Parquet (file, folder, pattern, or s3://...).\n"
        "A run that was stopped continues when the same command is given again. See docs/scale.md.",
    )
    group.add_argument(
        "--batch-rows", type=types.count, metavar="N", help="positions per batch (default: 2,000,000)"
    )
    group.add_argument(
        "--workers", type=types.count, metavar="N", help="processes on this machine, one thread each"
    )
    group.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="address of a dask scheduler (tcp://HOST:PORT), or local with --workers",
    )
    group.add_argument(
        "--no-outcomes", action="store_true", help="write only the sums: flow, lives, pulses, tiers"
    )
    group.add_argument(
        "--levels",
        action="append",
        metavar="SYMBOL",
        help="also write open liquidation levels by price and time, levels_SYMBOL.parquet (may be repeated)",
    )
    group.add_argument(
        "--storage",
        action="append",
        type=types.setting,
        metavar="NAME=VALUE",
        help="storage option that polars takes for s3://..., such as aws_region=eu-west-1 (may be repeated)",
    )
