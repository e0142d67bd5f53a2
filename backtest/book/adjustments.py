"""Adjustments of open positions: margin added or withdrawn, parts added or closed."""

from __future__ import annotations

import polars as pl

from backtest.errors import DataError
from backtest.schemas.validation import named_alike, offence


def check_adjustments(adjustments: pl.DataFrame, positions: pl.DataFrame) -> pl.DataFrame:
    """Return adjustments with all their columns and the row of their position, in order of row and time.

    Parameters
    ----------
    adjustments
        ``position_id, time``, ``margin_change`` or ``quantity_change`` or both, optionally ``price``.
    positions
        The positions they belong to.

    Returns
    -------
    The columns above and no others, and ``row``: the position's, counted from zero; without adjustments that
    change nothing. A null ``margin_change`` is the initial margin of an addition.

    Raises
    ------
    DataError
        For unknown positions, times not after the entry, closing more than is open.
    """
    if not {"margin_change", "quantity_change"} & set(adjustments.columns):
        raise DataError(
            "adjustments need a column margin_change, or quantity_change, or both: there is neither "
            f"(there are {', '.join(adjustments.columns)})"
        )
    adjustments = named_alike(adjustments, "position_id", positions.schema["position_id"])
    missing = {"margin_change": None, "quantity_change": 0.0, "price": None}
    absent = [pl.lit(value, pl.Float64).alias(n) for n, value in missing.items() if n not in adjustments.columns]
    complete = adjustments.with_columns(absent).select(
        "position_id", "time", *missing
    )  # own columns may be named row
    part, margin = pl.col("quantity_change"), pl.col("margin_change")
    complete = complete.with_columns(pl.when(part > 0).then(margin).otherwise(margin.fill_null(0.0)))
    held = positions.lazy().select("position_id", "entry_time", "quantity").with_row_index("row")
    joined = complete.lazy().join(held, on="position_id", how="left", maintain_order="left").collect()
    _refuse(joined, "position_id must be one of the positions'", (), pl.col("row").is_null())
    late = pl.col("time") <= pl.col("entry_time")
    _refuse(joined, "time must lie after the entry", ("time", "entry_time"), late)
    joined = joined.sort("row", "time", maintain_order=True)
    left = pl.col("quantity") + part.cum_sum().over("position_id")
    rule = "what is closed must be less than the quantity (close all of it by exit_time)"
    _refuse(joined, rule, ("quantity", "quantity_change"), left <= 0)
    kept = joined.filter((margin != 0) | (part != 0) | margin.is_null())
    return kept.drop("entry_time", "quantity")


def _refuse(joined: pl.DataFrame, sentence: str, names: tuple[str, ...], bad: pl.Expr) -> None:
    if joined.select(bad.any()).item():
        raise DataError(offence(joined, "adjustments", sentence, bad, names))
