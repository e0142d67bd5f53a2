"""Venues' public archives: files read, fetched, verified and stored. Nothing is fetched without a request."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.market.sources.archives import ARCHIVES, HOSTS, VENUES, datasets
    from backtest.market.sources.fetch_result import Fetched
    from backtest.market.sources.fetcher import Settings, fetch
    from backtest.market.sources.folder import data_folder
    from backtest.market.sources.http import Patience
    from backtest.market.sources.reader import KINDS, read
    from backtest.market.sources.scanner import scan

__all__ = [
    "ARCHIVES",
    "HOSTS",
    "KINDS",
    "VENUES",
    "Fetched",
    "Patience",
    "Settings",
    "data_folder",
    "datasets",
    "fetch",
    "read",
    "scan",
]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.market.sources.archives": ["ARCHIVES", "HOSTS", "VENUES", "datasets"],
        "backtest.market.sources.fetch_result": ["Fetched"],
        "backtest.market.sources.fetcher": ["Settings", "fetch"],
        "backtest.market.sources.folder": ["data_folder"],
        "backtest.market.sources.http": ["Patience"],
        "backtest.market.sources.reader": ["KINDS", "read"],
        "backtest.market.sources.scanner": ["scan"],
    },
)
