"""Prices that a contract can have: above zero, and of face-value contracts, which pay 1, between 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.errors import DataError
from backtest.market.market import Market
from backtest.rules.contract import Contract
from backtest.schemas.frames import PRICE_PREFIX
from backtest.schemas.validation import offence

#: Prices that were traded; a stop or take-profit that the price cannot reach is one that never triggers.
TRADED = ("entry_price", "exit_price", "price")


def check_bars(market: Market, contracts: Sequence[Contract], *series: str) -> None:
    """Refuse bars above 1 of contracts whose prices are odds, and of zero of others, in the series in use."""
    places = {symbol: number for number, symbol in enumerate(market.symbols)}
    for one in dict.fromkeys(series):
        low, high = f"{PRICE_PREFIX[one]}low", f"{PRICE_PREFIX[one]}high"
        lowest = np.minimum.reduceat(market.prices(one, "low"), market.firsts[:-1])
        highest = np.maximum.reduceat(market.prices(one, "high"), market.firsts[:-1])
        for contract in contracts:
            number = places[contract.symbol]
            if contract.kind == "face_value" and highest[number] > 1:
                sentence = f"{high} {_at_most_one()}"
                raise _refused(market.bars, "bars", contract, sentence, pl.col(high) > 1, high)
            if contract.kind != "face_value" and lowest[number] <= 0:
                sentence = f"{low} {_above_zero(contract)}"
                raise _refused(market.bars, "bars", contract, sentence, pl.col(low) <= 0, low)


def check_book(book: Book, contracts: Sequence[Contract]) -> None:
    """Refuse prices of positions and adjustments that their contracts cannot have."""
    check_traded(book.positions, "positions", contracts)
    if book.adjustments is not None:
        symbols = book.positions["symbol"].gather(book.adjustments["row"])
        check_traded(book.adjustments.with_columns(symbol=symbols), "adjustments", contracts)


def check_traded(frame: pl.DataFrame, argument: str, contracts: Sequence[Contract]) -> None:
    """Refuse prices in rows of a frame with a ``symbol`` that their contracts cannot have."""
    faces = [contract.symbol for contract in contracts if contract.kind == "face_value"]
    pays_one = pl.col("symbol").is_in(faces)
    for name in [name for name in TRADED if name in frame.columns and (faces or frame[name].min() == 0)]:
        wrong = pl.when(pays_one).then(pl.col(name) > 1).otherwise(pl.col(name) == 0).fill_null(value=False)
        first = frame.select(row=wrong.arg_max(), any=wrong.any()).row(0)
        if first[1]:
            contract = {each.symbol: each for each in contracts}[frame["symbol"][first[0]]]
            sentence = _at_most_one() if contract.symbol in faces else _above_zero(contract)
            raise _refused(frame, argument, contract, f"{name} {sentence}", wrong, name)


def _at_most_one() -> str:
    return "must be at most 1 for a face-value contract, which pays 1"


def _above_zero(contract: Contract) -> str:
    return f"must be above zero for {'an' if contract.kind == 'inverse' else 'a'} {contract.kind} contract"


def _refused(
    frame: pl.DataFrame, argument: str, contract: Contract, sentence: str, bad: pl.Expr, name: str
) -> DataError:
    own = pl.col("symbol") == contract.symbol
    return DataError(offence(frame, argument, sentence, own & bad, (name,)))
