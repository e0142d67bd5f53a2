"""Sweeps of books larger than memory, on one machine or a cluster: batches, a manifest, executors."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.scale.batched_sweeps import sweep
    from backtest.scale.cluster import Cluster
    from backtest.scale.executors import Executor, Serial
    from backtest.scale.prices import Prices
    from backtest.scale.processes import Processes
    from backtest.scale.result import Progress, Result

__all__ = ["Cluster", "Executor", "Prices", "Processes", "Progress", "Result", "Serial", "sweep"]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.scale.cluster": ["Cluster"],
        "backtest.scale.executors": ["Executor", "Serial"],
        "backtest.scale.prices": ["Prices"],
        "backtest.scale.processes": ["Processes"],
        "backtest.scale.result": ["Progress", "Result"],
        "backtest.scale.batched_sweeps": ["sweep"],
    },
)
