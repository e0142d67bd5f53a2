"""Books where none was published: drawn from stated laws, or opened as open interest says.

Each carries its assumptions as sentences, its seed, and the calibration targets it meets or misses.
"""

from backtest.population.draws import LeverageMix
from backtest.population.invented import HIGH, LOW, MIXED, synthetic

__all__ = ["HIGH", "LOW", "MIXED", "LeverageMix", "synthetic"]
