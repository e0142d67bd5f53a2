"""Policies: grids of rules, settlement, bands, counterfactuals."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.study.policy import frontier
    from backtest.study.policy.bands import Bands
    from backtest.study.policy.counterfactuals import counterfactual, strength_limits
    from backtest.study.policy.evaluations import evaluate, intended, run
    from backtest.study.policy.grid import Grid, History
    from backtest.study.policy.replay_settlement import Replayed, procedure_of
    from backtest.study.policy.settlement import FundPath

__all__ = [
    "Bands",
    "FundPath",
    "Grid",
    "History",
    "Replayed",
    "counterfactual",
    "evaluate",
    "frontier",
    "intended",
    "procedure_of",
    "run",
    "strength_limits",
]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.study.policy.bands": ["Bands"],
        "backtest.study.policy.counterfactuals": ["counterfactual", "strength_limits"],
        "backtest.study.policy.evaluations": ["evaluate", "run", "intended"],
        "backtest.study.policy.frontier": ["frontier"],
        "backtest.study.policy.grid": ["Grid", "History"],
        "backtest.study.policy.replay_settlement": ["Replayed", "procedure_of"],
        "backtest.study.policy.settlement": ["FundPath"],
    },
)
