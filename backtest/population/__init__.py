"""Books where none was published: drawn from stated laws, or opened as open interest says.

Each carries its assumptions as sentences, its seed, and the calibration targets it meets or misses.
"""

from backtest.book.book import load as given
from backtest.population.draws import LeverageMix
from backtest.population.invented import HIGH, LOW, MIXED, synthetic
from backtest.population.mixes import NOTIONAL_MIX
from backtest.population.standing import Standing, from_open_interest, from_volume

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
