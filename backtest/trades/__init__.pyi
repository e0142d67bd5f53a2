from backtest.trades.formats.known import SOURCES as SOURCES
from backtest.trades.reader import Trades as Trades
from backtest.trades.reader import read as read
