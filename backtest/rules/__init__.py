"""Venue rules: contracts, margin tiers, liquidation procedures, and the prices that follow from them."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.rules import margin
    from backtest.rules.contract import Contract
    from backtest.rules.cross import Cross
    from backtest.rules.procedure import Impact, Procedure
    from backtest.rules.tiers import TierTable
    from backtest.rules.venue import Venue, venue_files

__all__ = ["Contract", "Cross", "Impact", "Procedure", "TierTable", "Venue", "margin", "venue_files"]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.rules.contract": ["Contract"],
        "backtest.rules.cross": ["Cross"],
        "backtest.rules.margin": ["margin"],
        "backtest.rules.procedure": ["Impact", "Procedure"],
        "backtest.rules.tiers": ["TierTable"],
        "backtest.rules.venue": ["Venue", "venue_files"],
    },
)
