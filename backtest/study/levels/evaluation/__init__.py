"""Evaluation of level maps: labels, score, magnet test."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.study.levels.evaluation.labels import MapLabels, hidden_events, recorded_events
    from backtest.study.levels.evaluation.magnet_test import (
        FEWEST_BLOCKS,
        FEWEST_PAIRS,
        Pull,
        conclusive,
        magnet,
        targets,
    )
    from backtest.study.levels.evaluation.scores import Trial, score

__all__ = [
    "FEWEST_BLOCKS",
    "FEWEST_PAIRS",
    "MapLabels",
    "Pull",
    "Trial",
    "conclusive",
    "hidden_events",
    "magnet",
    "recorded_events",
    "score",
    "targets",
]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.study.levels.evaluation.labels": ["MapLabels", "hidden_events", "recorded_events"],
        "backtest.study.levels.evaluation.magnet_test": [
            "FEWEST_BLOCKS",
            "FEWEST_PAIRS",
            "Pull",
            "magnet",
            "targets",
            "conclusive",
        ],
        "backtest.study.levels.evaluation.scores": ["Trial", "score"],
    },
)
