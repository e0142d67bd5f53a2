"""Charts of liquidation levels: heatmaps, maps, profiles, clusters, films."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.chart.levels.clusters import cluster_figure
    from backtest.chart.levels.figures import Panel, before_after, level_heatmap, map_figure, small_multiples
    from backtest.chart.levels.films import film
    from backtest.chart.levels.heatmaps import heatmap, mark_line
    from backtest.chart.levels.level_map import liquidation_map
    from backtest.chart.levels.profiles import profile
    from backtest.chart.levels.score import score_figure

__all__ = [
    "Panel",
    "before_after",
    "cluster_figure",
    "film",
    "heatmap",
    "level_heatmap",
    "liquidation_map",
    "map_figure",
    "mark_line",
    "profile",
    "score_figure",
    "small_multiples",
]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.chart.levels.clusters": ["cluster_figure"],
        "backtest.chart.levels.figures": [
            "Panel",
            "before_after",
            "level_heatmap",
            "map_figure",
            "small_multiples",
        ],
        "backtest.chart.levels.films": ["film"],
        "backtest.chart.levels.heatmaps": ["heatmap", "mark_line"],
        "backtest.chart.levels.level_map": ["liquidation_map"],
        "backtest.chart.levels.profiles": ["profile"],
        "backtest.chart.levels.score": ["score_figure"],
    },
)
