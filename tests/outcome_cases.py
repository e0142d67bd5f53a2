"""Outcomes made by hand, with what every sweep says of its contracts."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from backtest.schemas.frames import KindOfContract


def with_kinds(outcomes: pl.DataFrame, kinds: Mapping[str, str] | None = None) -> pl.DataFrame:
    """Return outcomes with ``contract_kind`` by symbol, linear where it is not given, and what follows."""
    if {"liquidated", "ambiguous"} <= set(outcomes.columns):
        gone, ambiguous = pl.col("liquidated"), pl.col("ambiguous")
        outcomes = outcomes.with_columns(
            certainly_liquidated=gone & ~ambiguous, possibly_liquidated=gone | ambiguous
        )
    told = pl.col("symbol").replace_strict(kinds or {}, default="linear", return_dtype=KindOfContract)
    named = outcomes.with_columns(contract_kind=told)
    if "entry_price" not in named.columns:
        return named
    quantity, price, kind = pl.col("quantity"), pl.col("entry_price"), pl.col("contract_kind")
    other = pl.when(kind == "face_value").then(quantity).otherwise(quantity * price)
    return named.with_columns(entry_notional=pl.when(kind == "inverse").then(quantity / price).otherwise(other))
