"""Result of a liquidation procedure in one sentence."""

from __future__ import annotations

import polars as pl

from backtest.amounts import amount, number
from backtest.engine.replay.replay import Replay

#: Outcomes of positions that the procedure closed in whole or in part, be it only by ADL.
BY_PROCEDURE = ("liquidated", "reduced")


def done(found: Replay, currency: str) -> str:
    """Return the number of positions that the procedure closed, and who took the other side."""
    closed = (pl.col("filled_in_market") + pl.col("taken_over") > 0) | pl.col("outcome").is_in(BY_PROCEDURE)
    count = found.outcomes.select(closed.sum()).item()
    sums = found.impact.select(pl.col("^(long|short)_(executed|taken_over|deleveraged)$").sum()).row(0, named=True)
    parts = [
        f"{amount(sums[f'long_{name}'] + sums[f'short_{name}'], currency)} {words}"
        for name, words in (
            ("executed", "filled in the market"),
            ("taken_over", "taken over"),
            ("deleveraged", "closed against counterparties by ADL"),
        )
    ]
    positions = "1 position" if count == 1 else f"{number(count)} positions"
    return f"The procedure closed {positions} in whole or in part: {', '.join(parts)}."
