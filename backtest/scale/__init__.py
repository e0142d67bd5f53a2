"""Books larger than memory, and machines beyond one: batches, a manifest of what is finished, executors."""

from backtest.scale.cluster import Cluster
from backtest.scale.executors import Executor, Serial
from backtest.scale.prices import Prices
from backtest.scale.processes import Processes
from backtest.scale.result import Progress, Result
from backtest.scale.sweep import sweep

__all__ = ["Cluster", "Executor", "Prices", "Processes", "Progress", "Result", "Serial", "sweep"]
