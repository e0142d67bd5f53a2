from backtest.scale.batched_sweeps import sweep as sweep
from backtest.scale.cluster import Cluster as Cluster
from backtest.scale.executors import Executor as Executor
from backtest.scale.executors import Serial as Serial
from backtest.scale.prices import Prices as Prices
from backtest.scale.processes import Processes as Processes
from backtest.scale.result import Progress as Progress
from backtest.scale.result import Result as Result
