"""Open liquidation levels and clusters: heatmaps, maps, scores."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.study.levels import combine, evaluation, export
    from backtest.study.levels.cluster_tracks import track
    from backtest.study.levels.clusters import Crowding, clusters_at
    from backtest.study.levels.grid import column_bars, level_grid
    from backtest.study.levels.level_maps import level_map
    from backtest.study.levels.levels import levels_of, without_drift
    from backtest.study.levels.past_clusters import cluster_outcomes

__all__ = [
    "Crowding",
    "cluster_outcomes",
    "clusters_at",
    "column_bars",
    "combine",
    "evaluation",
    "export",
    "level_grid",
    "level_map",
    "levels_of",
    "track",
    "without_drift",
]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.study.levels.past_clusters": ["cluster_outcomes"],
        "backtest.study.levels.cluster_tracks": ["track"],
        "backtest.study.levels.clusters": ["Crowding", "clusters_at"],
        "backtest.study.levels.combine": ["combine"],
        "backtest.study.levels.evaluation": ["evaluation"],
        "backtest.study.levels.export": ["export"],
        "backtest.study.levels.grid": ["column_bars", "level_grid"],
        "backtest.study.levels.level_maps": ["level_map"],
        "backtest.study.levels.levels": ["levels_of", "without_drift"],
    },
)
