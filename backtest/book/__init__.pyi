from backtest.book.accounts import Accounts as Accounts
from backtest.book.book import Book as Book
from backtest.book.book import load as load
