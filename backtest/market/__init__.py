"""Price and funding histories: read from files, fetched from venues, checked; and a reconstructed sample."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.market import quality, sources
    from backtest.market.loading import load, sample
    from backtest.market.market import Market

__all__ = ["Market", "load", "quality", "sample", "sources"]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.market.loading": ["load", "sample"],
        "backtest.market.market": ["Market"],
        "backtest.market.quality": ["quality"],
        "backtest.market.sources": ["sources"],
    },
)
