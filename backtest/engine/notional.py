"""Kind of contract, notional and selected leverage of positions, as polars expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import polars as pl

from backtest.kernel.choices import ContractKind
from backtest.kernel.margin.sizes import notional_of
from backtest.rules.contract import Contract
from backtest.rules.margin import initial_margin
from backtest.schemas.frames import KindOfContract


def contract_kind(contracts: Iterable[Contract]) -> pl.Expr:
    """Return the expression of the kind of each row's contract, found by its symbol."""
    return _by_kind(contracts, lambda kind: pl.lit(kind, KindOfContract))


def entry_notional(contracts: Iterable[Contract]) -> pl.Expr:
    """Return the expression of the notional at the entry, in settlement currency."""
    return _by_kind(contracts, lambda kind: _notional(kind, "entry_price"))


def notional_at(price: str) -> pl.Expr:
    """Return the expression of each quantity's notional at a price, of rows that carry ``contract_kind``."""
    kinds, kind = ContractKind.names(), pl.col("contract_kind")
    return pl.coalesce(pl.when(kind == name).then(_notional(name, price)) for name in kinds)


def selected_leverage(frame: pl.DataFrame, contracts: Iterable[Contract]) -> pl.Expr:
    """Return the expression of the selected leverage: given, or entry notional / margin."""
    if "leverage" not in frame.columns:
        return entry_notional(contracts) / pl.col("margin")
    if "margin" not in frame.columns or not frame["leverage"].null_count():
        return pl.col("leverage")
    return pl.col("leverage").fill_null(entry_notional(contracts) / pl.col("margin"))


def completed(frame: pl.DataFrame, contracts: Sequence[Contract]) -> pl.DataFrame:
    """Return positions with both margin and leverage, so that margin added later changes no leverage."""
    if "leverage" not in frame.columns:
        return frame.with_columns(leverage=entry_notional(contracts) / pl.col("margin"))
    if "margin" not in frame.columns:
        return frame.with_columns(margin=_initial_margins(frame, contracts))
    return filled(frame, contracts)


def filled(frame: pl.DataFrame, contracts: Sequence[Contract]) -> pl.DataFrame:
    """Return positions whose margin or leverage, where null, follows from the other; columns stay those given."""
    if not {"margin", "leverage"} <= set(frame.columns):
        return frame
    if frame["margin"].null_count():
        frame = frame.with_columns(pl.col("margin").fill_null(_initial_margins(frame, contracts)))
    if frame["leverage"].null_count():
        frame = frame.with_columns(pl.col("leverage").fill_null(entry_notional(contracts) / pl.col("margin")))
    return frame


def _initial_margins(frame: pl.DataFrame, contracts: Sequence[Contract]) -> pl.Expr | pl.Series:
    """Return the margins that leverages ask for; any number where there is no leverage."""
    if not any(contract.margin_includes_closing_fee for contract in contracts):
        return entry_notional(contracts) / pl.col("leverage")
    found, by_symbol = pl.Series(np.empty(frame.height)), {own.symbol: own for own in contracts}
    for (symbol,), rows in frame.with_row_index("row").group_by("symbol"):
        rows = rows.with_columns(pl.col("leverage").fill_null(1.0), side=1.0 - 2.0 * pl.col("side").to_physical())
        given = {name: rows[name].to_numpy() for name in ("side", "quantity", "entry_price", "leverage")}
        margins = initial_margin(by_symbol[str(symbol)], **given)
        found[rows["row"]] = pl.Series(margins)
    return found


def _notional(kind: str, price: str) -> pl.Expr:
    at_price: pl.Expr = notional_of(ContractKind.code(kind), pl.col("quantity"), pl.col(price))
    return at_price


def _by_kind(contracts: Iterable[Contract], value: Callable[[str], pl.Expr]) -> pl.Expr:
    """Return the expression of each row's kind of contract; with one kind it tests no symbol."""
    symbols: dict[str, list[str]] = {}
    for contract in contracts:
        symbols.setdefault(contract.kind, []).append(contract.symbol)
    if len(symbols) <= 1:
        return value(next(iter(symbols), "linear"))
    *others, (last, _) = symbols.items()
    own = (pl.when(pl.col("symbol").is_in(names)).then(value(kind)) for kind, names in others)
    return pl.coalesce(*own, value(last))
