"""Exchanges' archives: read by hand, fetched, checked and kept. Nothing is fetched unless it is asked for."""

from backtest.market.repairs import REPAIRS, Reading, Repairs
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
