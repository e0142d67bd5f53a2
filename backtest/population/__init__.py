"""Synthetic and estimated books: drawn from stated laws, or estimated from open interest or volume.

Exchanges publish no books. Each book here lists its assumptions as sentences, its seed, and the calibration
targets it meets or misses.
"""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.population.cohorts import NOTIONAL_MIX
    from backtest.population.draws import LeverageMix
    from backtest.population.open_interest import EstimatedBook, from_open_interest, from_volume
    from backtest.population.synthetic_books import HIGH, LOW, MIXED, synthetic

__all__ = [
    "HIGH",
    "LOW",
    "MIXED",
    "NOTIONAL_MIX",
    "EstimatedBook",
    "LeverageMix",
    "from_open_interest",
    "from_volume",
    "synthetic",
]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.population.cohorts": ["NOTIONAL_MIX"],
        "backtest.population.draws": ["LeverageMix"],
        "backtest.population.open_interest": ["EstimatedBook", "from_open_interest", "from_volume"],
        "backtest.population.synthetic_books": ["HIGH", "LOW", "MIXED", "synthetic"],
    },
)
