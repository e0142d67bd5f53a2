"""The life of one replayed position in sentences: every step, its price, what is left, and why it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from backtest.amounts import amount, timestamp

#: Steps that are printed; all are written.
MOST_STEPS = 60

#: A sentence a step; what is left of the position, its balance and the fund follow.
SENTENCES = {
    "entered": "entered at {price} with {quantity}",
    "triggered": "triggered at {price}: equity has come down to what maintenance asks",
    "filled": "an order closed {quantity} at {price}",
    "taken over": "{quantity} taken over at {price}",
    "control returned": "control returned at {price}: equity is above what ends the procedure",
    "waits": "waits for the next opening: no round or no room is left in this bar",
    "deleveraged": "{quantity} passed on to counterparties at {price}",
    "deleveraged as a counterparty": "deleveraged as a counterparty: gave {quantity} at {price}",
    "settled": "settled: nothing is held any more, and the balance goes where the venue says",
    "closed by its holder": "closed by its holder: {quantity} at {price}",
    "adjusted": "adjusted by its holder at {price}",
    "clawed back": "{quantity} of profit clawed back for another's shortfall, at a mark of {price}",
    "lost sight of": "lost sight of: too much of the history is missing from here on",
}


def narrated(trace: pl.DataFrame, currency: str) -> str:
    """Return a traced position's life, a sentence a step."""
    lines = [told(row, currency) for row in trace.head(MOST_STEPS).iter_rows(named=True)]
    more = trace.height - MOST_STEPS
    return "\n".join(["Trace", *lines, *([f"and {more:,} more steps"] if more > 0 else [])])


def told(row: Mapping[str, Any], currency: str) -> str:
    """Return a step as a sentence."""
    price = "no price there can be" if row["price"] is None else f"{row['price']:,.10g}"
    quantity = f"{row['quantity']:,.6g}"
    if row["step"] == "clawed back":
        quantity = amount(row["quantity"], currency)
    what = f"{timestamp(row['time'])}  {SENTENCES[row['step']].format(price=price, quantity=quantity)}"
    if row["held"]:
        what += f"; holds {row['held']:,.6g}, equity {amount(row['equity'], currency)}"
        what += f" against {amount(row['maintenance_margin'], currency)} of maintenance"
    return f"{what}; fund {amount(row['fund'], currency)}"
