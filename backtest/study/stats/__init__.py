"""Statistics shared by studies: bootstrap, logistic regression, rates."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.study.stats.bands import Band, effective_number
    from backtest.study.stats.bootstrap import Resampling, band, blocks, resampling
    from backtest.study.stats.rates import Rate, banded_rates

__all__ = ["Band", "Rate", "Resampling", "band", "banded_rates", "blocks", "effective_number", "resampling"]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.study.stats.bands": ["Band", "effective_number"],
        "backtest.study.stats.bootstrap": ["Resampling", "band", "blocks", "resampling"],
        "backtest.study.stats.rates": ["Rate", "banded_rates"],
    },
)
