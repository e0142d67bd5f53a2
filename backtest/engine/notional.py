"""Notional and selected leverage of positions at their entry, as expressions."""

from __future__ import annotations

import polars as pl

from backtest.rules.contract import Contract


def selected_leverage(frame: pl.DataFrame, contract: Contract) -> pl.Expr:
    """Return the expression of the selected leverage: given, or entry notional / margin."""
    if "leverage" in frame.columns:
        return pl.col("leverage")
    return entry_notional(contract) / pl.col("margin")


def entry_notional(contract: Contract) -> pl.Expr:
    """Return the expression of the notional at the entry, in settlement currency."""
    if contract.kind == "inverse":
        return pl.col("quantity") / pl.col("entry_price")
    if contract.kind == "face_value":
        return pl.col("quantity")
    return pl.col("quantity") * pl.col("entry_price")
