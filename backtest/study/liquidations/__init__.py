"""Liquidations: flow by interval, cascades, contagion, throttled feeds."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.study.liquidations import (
        branching,
        cascades,
        feed_throttling,
        flow,
        hawkes,
        imbalance,
        tails,
        without_liquidations,
    )
    from backtest.study.liquidations.flow import by_interval, heaviest, summary, tally

__all__ = [
    "branching",
    "by_interval",
    "cascades",
    "feed_throttling",
    "flow",
    "hawkes",
    "heaviest",
    "imbalance",
    "summary",
    "tails",
    "tally",
    "without_liquidations",
]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.study.liquidations.branching": ["branching"],
        "backtest.study.liquidations.cascades": ["cascades"],
        "backtest.study.liquidations.feed_throttling": ["feed_throttling"],
        "backtest.study.liquidations.flow": ["flow", "by_interval", "heaviest", "summary", "tally"],
        "backtest.study.liquidations.hawkes": ["hawkes"],
        "backtest.study.liquidations.imbalance": ["imbalance"],
        "backtest.study.liquidations.tails": ["tails"],
        "backtest.study.liquidations.without_liquidations": ["without_liquidations"],
    },
)
