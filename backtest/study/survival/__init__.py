"""Time to liquidation: survival, excursions, volatility."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.engine.sweep.lifetimes import lifetimes
    from backtest.study.survival import excursions, volatility
    from backtest.study.survival.surface import probability_surface
    from backtest.study.survival.survival import aalen_johansen, bands, kaplan_meier, lives, restricted_mean

__all__ = [
    "aalen_johansen",
    "bands",
    "excursions",
    "kaplan_meier",
    "lifetimes",
    "lives",
    "probability_surface",
    "restricted_mean",
    "volatility",
]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.study.survival.excursions": ["excursions"],
        "backtest.study.survival.surface": ["probability_surface"],
        "backtest.study.survival.survival": [
            "aalen_johansen",
            "bands",
            "kaplan_meier",
            "lives",
            "restricted_mean",
        ],
        "backtest.study.survival.volatility": ["volatility"],
        "backtest.engine.sweep.lifetimes": ["lifetimes"],
    },
)
