"""Statistics of outcomes, one file a subject: polars frames in, polars frames out."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.study import fund, holders, levels, liquidations, margins, policy, prediction, stats, survival

__all__ = ["fund", "holders", "levels", "liquidations", "margins", "policy", "prediction", "stats", "survival"]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.study.fund": ["fund"],
        "backtest.study.holders": ["holders"],
        "backtest.study.levels": ["levels"],
        "backtest.study.liquidations": ["liquidations"],
        "backtest.study.margins": ["margins"],
        "backtest.study.policy": ["policy"],
        "backtest.study.prediction": ["prediction"],
        "backtest.study.stats": ["stats"],
        "backtest.study.survival": ["survival"],
    },
)
