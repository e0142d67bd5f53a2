"""Statistics shared by studies: bootstrap, logistic regression, rates."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.study.stats.bootstrap import Band, Resampling, band, blocks, effective_number, resampling
    from backtest.study.stats.rates import Rate, banded_rates

__all__ = ["Band", "Rate", "Resampling", "band", "banded_rates", "blocks", "effective_number", "resampling"]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.study.stats.bootstrap": [
            "Band",
            "Resampling",
            "band",
            "blocks",
            "effective_number",
            "resampling",
        ],
        "backtest.study.stats.rates": ["Rate", "banded_rates"],
    },
)
