"""Price and funding histories: read, fetched, checked, resampled, and one reconstructed sample."""

from backtest.market import quality, sources
from backtest.market.loading import load
from backtest.market.market import Market
from backtest.schemas.arguments import checked

__all__ = ["Market", "load", "quality", "sample", "sources"]


@checked
def sample(seed: int = 20210519) -> Market:
    """Return the bundled sample: May 2021 in minutes, reconstructed between published daily and hourly figures.

    The same seed gives the same prices. Nothing is downloaded; the description says what is simulated.
    """
    from backtest.market.reconstructed.reconstruction import describe, reconstruct

    bars, funding = reconstruct(seed)
    return Market(bars, funding, description=describe(seed))
