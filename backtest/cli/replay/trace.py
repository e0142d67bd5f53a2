"""Steps of one replayed position in sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from backtest.amounts import amount, plain, timestamp

#: Steps that are printed; all are written.
MOST_STEPS = 60

#: One sentence per step; remaining quantity, equity and the fund follow it.
SENTENCES = {
    "entered": "entered at {price} with {quantity}",
    "triggered": "triggered at {price}: equity has fallen to the maintenance margin",
    "filled": "an order closed {quantity} at {price}",
    "taken over": "{quantity} taken over at {price}",
    "control returned": "control returned to the holder at {price}: equity is high enough to end the procedure",
    "waits": "waits for the next bar: no round or no volume is left in this one",
    "deleveraged": "{quantity} closed against counterparties at {price} (ADL)",
    "deleveraged as a counterparty": "auto-deleveraged as a counterparty: {quantity} closed at {price}",
    "settled": "settled: fully closed, and the remaining balance goes where the venue's rules say",
    "closed by its holder": "closed by its holder: {quantity} at {price}",
    "adjusted": "adjusted by its holder at {price}",
    "clawed back": "{quantity} of profit clawed back for another's shortfall, at a mark of {price}",
    "lost sight of": "outcome unknown: the gap in the prices from here on is too long",
}


def narrated(trace: pl.DataFrame, currency: str, digits: Callable[[float], float] = float) -> str:
    """Return the steps of a traced position, one sentence each; ``digits`` rounds its liquidation price."""
    lines = [step_text(row, currency, digits) for row in trace.head(MOST_STEPS).iter_rows(named=True)]
    more = trace.height - MOST_STEPS
    return "\n".join(["Trace", *lines, *([f"and {more:,} more steps"] if more > 0 else [])])


def step_text(row: Mapping[str, Any], currency: str, digits: Callable[[float], float] = float) -> str:
    """Return a step as a sentence."""
    rounded = digits if row["step"] == "triggered" else float
    price = "no possible price" if row["price"] is None else plain(rounded(row["price"]))
    quantity = plain(row["quantity"], 6)
    if row["step"] == "clawed back":
        quantity = amount(row["quantity"], currency)
    what = f"{timestamp(row['time'])}  {SENTENCES[row['step']].format(price=price, quantity=quantity)}"
    if row["held"]:
        what += f"; holds {plain(row['held'], 6)}, equity {amount(row['equity'], currency)}"
        what += f" against {amount(row['maintenance_margin'], currency)} of maintenance margin"
    return f"{what}; fund {amount(row['fund'], currency)}"
