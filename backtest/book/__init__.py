"""Books of positions and accounts in cross margin: read, checked, or drawn from a stated population."""

from backtest.book.accounts import Accounts
from backtest.book.book import Book, load

__all__ = ["Accounts", "Book", "load"]
