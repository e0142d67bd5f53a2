"""Books where none was published: drawn from stated laws, or opened as open interest says.

Each carries its assumptions as sentences, its seed, and the calibration targets it meets or misses.
"""

from backtest.book.book import load as given
from backtest.population.cohorts import NOTIONAL_MIX
from backtest.population.draws import LeverageMix
from backtest.population.open_interest import Standing, from_open_interest, from_volume
from backtest.population.synthetic import HIGH, LOW, MIXED, synthetic

__all__ = [
    "HIGH",
    "LOW",
    "MIXED",
    "NOTIONAL_MIX",
    "LeverageMix",
    "Standing",
    "from_open_interest",
    "from_volume",
    "given",
    "synthetic",
]
