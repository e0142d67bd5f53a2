"""Responses of traders to a cap on leverage: three assumptions, none of them measured.

- ``same_size``: they open the intended quantity and put up more margin;
- ``same_margin``: they put up the intended margin and open less;
- ``not_opened``: they do not trade.

Positions within the cap are opened as intended. All three are shown: the truth lies between them.
"""

from __future__ import annotations

import polars as pl

from backtest.book.book import Book
from backtest.engine.notional import completed, selected_leverage
from backtest.errors import ArgumentError
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked

RESPONSES = ("same_size", "same_margin", "not_opened")


@checked
def under_cap(book: Book, venue: Venue, cap: float | None, response: str) -> Book:
    """Return the book that would have been opened under a cap on the selected leverage.

    Parameters
    ----------
    book, venue : intended positions, and the venue of their contracts
    cap : highest leverage; None: none
    response : one of ``RESPONSES``
    """
    if response not in RESPONSES:
        raise ArgumentError(f"must be one of {', '.join(RESPONSES)}, is {response!r}", argument="response")
    if cap is not None and not 1 <= cap < float("inf"):
        raise ArgumentError(f"must be 1 or more, is {cap!r}", argument="cap")
    if cap is None or not binds(book, venue, cap):
        return book
    intended = book.positions
    contracts = venue.contracts_of(book.symbols)
    leverage = selected_leverage(intended, contracts)
    if response == "not_opened":
        return restricted(book, intended.filter(leverage <= cap))
    if response == "same_margin":
        return _smaller(book, leverage, cap)
    changes = {}
    if "leverage" in intended.columns:
        changes["leverage"] = leverage.clip(upper_bound=cap)
    if "margin" in intended.columns:
        lowered = intended.with_columns(leverage=leverage.clip(upper_bound=cap)).drop("margin")
        changes["margin"] = pl.max_horizontal("margin", completed(lowered, contracts)["margin"])
    return _book(book, intended.with_columns(**changes), book.adjustments)


@checked
def binds(book: Book, venue: Venue, cap: float | None) -> bool:
    """Return whether a cap changes any position."""
    if cap is None:
        return False
    leverage = selected_leverage(book.positions, venue.contracts_of(book.symbols))
    return bool(book.positions.select((leverage > cap).any()).item())


@checked
def restricted(book: Book, positions: pl.DataFrame) -> Book:
    """Return a book of some of its positions, with their adjustments."""
    changes = book.adjustments
    if changes is not None:
        changes = changes.filter(pl.col("position_id").is_in(positions["position_id"].implode()))
    return _book(book, positions, changes)


def _smaller(book: Book, leverage: pl.Expr, cap: float) -> Book:
    """Return the book with quantities lowered until the margin is the initial margin at the cap."""
    intended = book.positions
    scaled = intended.select("position_id", share=(cap / leverage).clip(upper_bound=1.0))
    changes = {"quantity": pl.col("quantity") * scaled["share"]}
    if "leverage" in intended.columns:
        changes["leverage"] = leverage.clip(upper_bound=cap)
    adjustments = book.adjustments
    if adjustments is not None and "quantity_change" in adjustments.columns:
        joined = adjustments.join(scaled, on="position_id", maintain_order="left")
        adjustments = joined.with_columns(pl.col("quantity_change") * pl.col("share")).drop("share")
    return _book(book, intended.with_columns(**changes), adjustments)


def _book(book: Book, positions: pl.DataFrame, adjustments: pl.DataFrame | None) -> Book:
    return Book(positions, adjustments, book.assumptions, book.survival)
