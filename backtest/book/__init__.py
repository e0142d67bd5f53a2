"""Books of positions: read, checked, or drawn from a stated population."""

from backtest.book.book import Book, load

__all__ = ["Book", "load"]
