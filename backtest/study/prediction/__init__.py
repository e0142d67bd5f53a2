"""Prediction of liquidations: indicators, labels, evaluation."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.study.prediction import amplification, crowding, indicators, labels, liquidation_at_risk
    from backtest.study.prediction.evaluate import Trial, area_under_curve

__all__ = ["Trial", "amplification", "area_under_curve", "crowding", "indicators", "labels", "liquidation_at_risk"]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.study.prediction.amplification": ["amplification"],
        "backtest.study.prediction.crowding": ["crowding"],
        "backtest.study.prediction.evaluate": ["Trial", "area_under_curve"],
        "backtest.study.prediction.indicators": ["indicators"],
        "backtest.study.prediction.labels": ["labels"],
        "backtest.study.prediction.liquidation_at_risk": ["liquidation_at_risk"],
    },
)
