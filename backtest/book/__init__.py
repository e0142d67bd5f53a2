"""Books of isolated positions, and accounts in cross margin: read from frames and files, and checked."""

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
