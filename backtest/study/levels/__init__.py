"""Open liquidation levels and clusters: cells, maps, scores."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.study.levels import combine, evaluation, export
    from backtest.study.levels.cluster_outcomes import aftermath
    from backtest.study.levels.cluster_tracks import track
    from backtest.study.levels.clusters import Crowding, clusters_at
    from backtest.study.levels.grid import column_bars, grid_of
    from backtest.study.levels.level_maps import level_map
    from backtest.study.levels.levels import levels_of, without_drift

__all__ = [
    "Crowding",
    "aftermath",
    "clusters_at",
    "column_bars",
    "combine",
    "evaluation",
    "export",
    "grid_of",
    "level_map",
    "levels_of",
    "track",
    "without_drift",
]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.study.levels.cluster_outcomes": ["aftermath"],
        "backtest.study.levels.cluster_tracks": ["track"],
        "backtest.study.levels.clusters": ["Crowding", "clusters_at"],
        "backtest.study.levels.combine": ["combine"],
        "backtest.study.levels.evaluation": ["evaluation"],
        "backtest.study.levels.export": ["export"],
        "backtest.study.levels.grid": ["column_bars", "grid_of"],
        "backtest.study.levels.level_maps": ["level_map"],
        "backtest.study.levels.levels": ["levels_of", "without_drift"],
    },
)
