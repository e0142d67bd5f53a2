"""Charts of liquidations: cascades, exposure, indicators, survival."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.chart.liquidations.cascade_figures import cascade
    from backtest.chart.liquidations.cascades import by_hour, cumulative, size_distribution, timeline
    from backtest.chart.liquidations.exposure import at_risk, imbalance, removed_paths, throttle
    from backtest.chart.liquidations.quality import quality_strip
    from backtest.chart.liquidations.survival_curves import probability_surface, survival

__all__ = [
    "at_risk",
    "by_hour",
    "cascade",
    "cumulative",
    "imbalance",
    "probability_surface",
    "quality_strip",
    "removed_paths",
    "size_distribution",
    "survival",
    "throttle",
    "timeline",
]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.chart.liquidations.cascade_figures": ["cascade"],
        "backtest.chart.liquidations.cascades": ["by_hour", "cumulative", "size_distribution", "timeline"],
        "backtest.chart.liquidations.exposure": ["at_risk", "imbalance", "removed_paths", "throttle"],
        "backtest.chart.liquidations.quality": ["quality_strip"],
        "backtest.chart.liquidations.survival_curves": ["probability_surface", "survival"],
    },
)
