"""What a procedure did to a book, in a sentence."""

from __future__ import annotations

import polars as pl

from backtest.amounts import amount, number
from backtest.engine.replay.replay import Replay

#: What became of a position that its own procedure closed, or a part of it, be it only by passing it on.
PROCEDURES_OWN = ("liquidated", "reduced")


def done(found: Replay, currency: str) -> str:
    """Return how many positions the procedure touched, and where what it closed went."""
    closed = (pl.col("filled_in_market") + pl.col("taken_over") > 0) | pl.col("outcome").is_in(PROCEDURES_OWN)
    touched = found.outcomes.select(closed.sum()).item()
    sums = found.impact.select(pl.col("^(long|short)_(executed|taken_over|deleveraged)$").sum()).row(0, named=True)
    told = [
        f"{amount(sums[f'long_{name}'] + sums[f'short_{name}'], currency)} {words}"
        for name, words in (
            ("executed", "sold in the book"),
            ("taken_over", "taken over"),
            ("deleveraged", "passed on to counterparties"),
        )
    ]
    positions = "1 position" if touched == 1 else f"{number(touched)} positions"
    return f"The procedure closed all or a part of {positions}: {', '.join(told)}."
