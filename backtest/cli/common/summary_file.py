"""``summary.json``: arguments, versions, inputs and results of a run, enough to repeat it."""

from __future__ import annotations

import math
import platform
from argparse import Namespace
from importlib import metadata
from typing import Any

import polars as pl

import backtest
from backtest.cli.common.inputs import LEVERAGE_MIX, SEED, input_hashes
from backtest.cli.common.outputs import Later
from backtest.cli.common.progress import Clock
from backtest.cli.common.swept import Swept
from backtest.market import Market
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.study.liquidations import flow

PACKAGES = ("numpy", "polars", "numba", "matplotlib")

#: Gaps that are listed; all are counted.
MOST_GAPS = 100


def summary(
    options: Namespace, swept: Swept, tiers: Tiers, clock: Clock, hashes: Later[dict[str, str]] | None = None
) -> dict[str, Any]:
    """Return the contents of ``summary.json``: arguments, versions, inputs, book, tiers, gaps, counts, timings.

    ``hashes`` of the inputs where they have begun; else they are made here.
    """
    counts = flow.tally(swept.outcomes)
    return {
        **circumstances(options, swept.market, swept.venue, swept.currency, clock, hashes),
        "book": _book(options, swept),
        "tiers": {"rule": tiers, "used": swept.tiers.to_dicts()},
        "outcomes": {row["outcome"]: plain_number(row["count"]) for row in counts.iter_rows(named=True)},
        "totals": {name: plain_number(value) for name, value in swept.totals.items()},
    }


def circumstances(
    options: Namespace,
    market: Market,
    venue: Venue,
    currency: str,
    clock: Clock,
    hashes: Later[dict[str, str]] | None = None,
) -> dict[str, Any]:
    """Return arguments, versions, inputs, prices, gaps, venue and timings, which every summary has."""
    first, last = market.bars.select(first=pl.col("time").min(), last=pl.col("time").max()).row(0)
    return {
        **request(options),
        "inputs": input_hashes(options) if hashes is None else hashes.result(),
        "prices": {
            "description": market.description,
            "price_venue": market.price_venue or None,
            "symbols": list(market.symbols),
            "bars": market.bars.height,
            "first": first,
            "last": last,
        },
        "gaps": gaps(market.gaps()),
        "venue": {"name": venue.name, "title": venue.title, "settlement": currency},
        "seconds": clock.rounded,
    }


def gaps(found: pl.DataFrame) -> dict[str, Any]:
    """Return the number of gaps, the number beyond the limit, and the first gaps."""
    return {
        "count": found.height,
        "long": int(found["long"].sum()),
        "first": found.head(MOST_GAPS).to_dicts(),
    }


def request(options: Namespace) -> dict[str, Any]:
    """Return command, arguments and versions."""
    return {
        "command": options.command,
        "arguments": {name: _plain(value) for name, value in vars(options).items() if name != "command"},
        "versions": versions(),
    }


def _book(options: Namespace, swept: Swept) -> dict[str, Any]:
    book = {
        "synthetic": swept.synthetic,
        "positions": len(swept.book),
        "assumptions": list(swept.book.assumptions),
        "warnings": swept.warnings,
    }
    if swept.synthetic:
        book["seed"] = SEED if options.seed is None else options.seed
        book["leverage_mix"] = options.leverage_mix or LEVERAGE_MIX
    return book


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python, and of the packages that numbers depend on."""
    found = {name: metadata.version(name) for name in PACKAGES}
    return {"backtest": backtest.__version__, "python": platform.python_version(), **found}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str, list)) else str(value)


def plain_number(value: float) -> float | None:
    """Return a number as JSON has it: whole where it is, null where it cannot be computed."""
    if not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else value
