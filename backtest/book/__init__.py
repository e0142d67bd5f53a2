"""Books of positions and accounts in cross margin: read, checked, or drawn from a stated population."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.book.accounts import Accounts
    from backtest.book.book import Book, load

__all__ = ["Accounts", "Book", "load"]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.book.accounts": ["Accounts"],
        "backtest.book.book": ["Book", "load"],
    },
)
