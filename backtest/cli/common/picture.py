"""Chart of ``backtest run``: symbol, resolution, title, subtitle and footer."""

from __future__ import annotations

from argparse import Namespace
from datetime import timedelta
from typing import Any

import polars as pl

from backtest.amounts import amount, days, percentage
from backtest.cli.common import assumptions, charts
from backtest.cli.common.swept import Swept
from backtest.market import quality
from backtest.study.liquidations import flow

#: More bars than this would share pixels: the mark price is drawn in the finest resolution with fewer.
MOST_BARS = 4_000
RESOLUTIONS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "12h": 720, "1d": 1440, "1w": 10080}


def cascade(swept: Swept, options: Namespace, *, symbol: str, every: str) -> Any:
    """Return the cascade chart of one symbol, with a strip of price quality below it."""
    from backtest.chart.liquidations.cascade_figures import cascade as drawn

    return drawn(
        swept.flow(every, symbol),
        _drawable(swept, symbol),
        title=_finding(swept, symbol),
        subtitle=f"Liquidations of {symbol}, {days(*swept.window)}, {swept.venue.title}",
        measure="share" if swept.synthetic else "notional",
        currency=swept.currency,
        price_unit=assumptions.quote(symbol, swept.currency),
        gaps=swept.market.gaps().filter(pl.col("symbol") == symbol),
        quality=quality.report(swept.market).filter(pl.col("symbol") == symbol) if swept.own_prices else None,
        notes=notes(swept, symbol, options.caption),
        **charts.dress(options),
    )


def notes(swept: Swept, symbol: str, caption: str) -> list[str]:
    """Return the footer: prices, venue and tiers, positions, gaps, caption."""
    used = dict(assumptions.tiers(swept.tiers))
    assumed = "; ".join(swept.book.assumptions[:2])
    given = assumed if swept.book.survival is not None else f"{len(swept.book):,} {assumed or 'positions'}"
    lines = [
        f"prices: {assumptions.prices(swept.market, swept.venue)}",
        f"rules: {swept.venue.title}, {used.get(symbol, 'no positions')}",
        synthetic_note(swept) if swept.synthetic else given,
        assumptions.gaps(swept.market, symbol),
        caption,
    ]
    return [note for note in lines if note]


def sources(swept: Swept) -> list[str]:
    """Return the sources of a chart's prices and positions."""
    book = [synthetic_note(swept)] if swept.synthetic else list(swept.book.assumptions[:1])
    return [f"prices: {assumptions.prices(swept.market, swept.venue)}", *book]


def synthetic_note(swept: Swept) -> str:
    """Return the note on a synthetic book: its amounts are arbitrary."""
    return f"synthetic book of {len(swept.book):,} positions (read shares, not amounts)"


def _finding(swept: Swept, symbol: str) -> str:
    own = swept.outcomes.filter(pl.col("symbol") == symbol)
    totals = flow.summary(own, unit=swept.unit).row(0, named=True)
    if not totals["liquidated"]:
        return f"Nothing of the {symbol} book was liquidated"
    share = f"{percentage(totals['notional_share'], 1)} % of the {symbol} book was liquidated"
    if swept.synthetic:
        return f"{share}, {percentage(totals['long_part'], 0)} % of it longs"
    money = amount(totals["liquidated_notional"], swept.currency)
    return f"{share} ({money}, {percentage(totals['long_share'], 0)} % of them longs)"


def _drawable(swept: Swept, symbol: str) -> pl.DataFrame:
    first, last = swept.window
    minutes = (last - first) / timedelta(minutes=1)
    every = next((name for name, size in RESOLUTIONS.items() if minutes / size <= MOST_BARS), "1w")
    return swept.market.resample(every).bars.filter(pl.col("symbol") == symbol)
