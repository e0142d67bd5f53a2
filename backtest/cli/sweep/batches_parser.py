"""Options of a sweep in batches."""

from __future__ import annotations

import argparse

from backtest.cli.common import types


def add_batches(parser: argparse.ArgumentParser) -> None:
    """Add the options that make a sweep one in batches; any of them does."""
    group = parser.add_argument_group(
        "books larger than memory, and more than one machine",
        "Any of these sweeps in batches: positions are Parquet (file, folder, pattern, or s3://...), and\n"
        "a run that was stopped goes on where it stood when the same command is given again. See docs/scale.md.",
    )
    group.add_argument(
        "--batch-rows", type=types.count, metavar="N", help="positions read at a time (default: 2,000,000)"
    )
    group.add_argument(
        "--workers", type=types.count, metavar="N", help="processes of this machine, one thread each"
    )
    group.add_argument(
        "--cluster", metavar="ADDRESS", help="a dask scheduler (tcp://HOST:PORT), or local with --workers"
    )
    group.add_argument(
        "--no-outcomes", action="store_true", help="write the sums alone: flow, lives, pulses, tiers"
    )
    group.add_argument(
        "--levels",
        action="append",
        metavar="SYMBOL",
        help="also write what waits at each price through time, levels_SYMBOL.parquet (may be repeated)",
    )
    group.add_argument(
        "--storage",
        action="append",
        type=types.setting,
        metavar="NAME=VALUE",
        help="option of polars' readers of object storage, like aws_region=eu-west-1 (may be repeated)",
    )
