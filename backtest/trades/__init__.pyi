from backtest.trades.archive_prices import prices_of as prices_of
from backtest.trades.book import to_book as to_book
from backtest.trades.checking import Check as Check
from backtest.trades.checking import check as check
from backtest.trades.formats.known import SOURCES as SOURCES
from backtest.trades.open_positions import read_positions as read_positions
from backtest.trades.reader import Trades as Trades
from backtest.trades.reader import read as read
