"""Exchanges' archives: read by hand, fetched, checked and kept. Nothing is fetched unless it is asked for."""

from backtest.market.sources.archives import ARCHIVES, HOSTS, VENUES, datasets
from backtest.market.sources.fetched import Fetched
from backtest.market.sources.fetching import Settings, fetch
from backtest.market.sources.folder import data_folder
from backtest.market.sources.reading import KINDS, read
from backtest.market.sources.repairs import REPAIRS, Reading, Repairs
from backtest.market.sources.stored import scan
from backtest.market.sources.transfer import Patience

__all__ = [
    "ARCHIVES",
    "HOSTS",
    "KINDS",
    "REPAIRS",
    "VENUES",
    "Fetched",
    "Patience",
    "Reading",
    "Repairs",
    "Settings",
    "data_folder",
    "datasets",
    "fetch",
    "read",
    "scan",
]
