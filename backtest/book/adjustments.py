"""Adjustments of open positions: margin added or withdrawn, partial closes."""

from __future__ import annotations

import polars as pl

from backtest.errors import DataError
from backtest.schemas.validation import named_alike, offence


def check_adjustments(adjustments: pl.DataFrame, positions: pl.DataFrame) -> pl.DataFrame:
    """Return adjustments with both change columns and the row of their position, in order of row and time.

    Parameters
    ----------
    adjustments
        ``position_id, time``, ``margin_change`` or ``quantity_change`` or both.
    positions
        The positions they belong to.

    Returns
    -------
    The columns above and no others, and ``row``: the position's, counted from zero; without adjustments that
    change nothing.

    Raises
    ------
    DataError
        For unknown positions, times not after the entry, positive quantity changes, closing more than is open.
    """
    if not {"margin_change", "quantity_change"} & set(adjustments.columns):
        raise DataError(
            "adjustments need a column margin_change, or quantity_change, or both: there is neither "
            f"(there are {', '.join(adjustments.columns)})"
        )
    adjustments = named_alike(adjustments, "position_id", positions.schema["position_id"])
    changes = (
        pl.col(name) if name in adjustments.columns else pl.lit(0.0).alias(name)
        for name in ("margin_change", "quantity_change")
    )
    complete = adjustments.select("position_id", "time", *changes)  # own columns might have the names below
    held = positions.lazy().select("position_id", "entry_time", "quantity").with_row_index("row")
    joined = complete.lazy().join(held, on="position_id", how="left", maintain_order="left").collect()
    _refuse(joined, "position_id must be one of the positions'", (), pl.col("row").is_null())
    _refuse(
        joined,
        "time must lie after the entry",
        ("time", "entry_time"),
        pl.col("time") <= pl.col("entry_time"),
    )
    closes = pl.col("quantity_change")
    _refuse(joined, "quantity_change must not be positive (it closes a part)", ("quantity_change",), closes > 0)
    left = pl.col("quantity") + closes.sum().over("position_id")
    _refuse(
        joined,
        "what is closed must be less than the quantity (close all of it by exit_time)",
        ("quantity", "quantity_change"),
        left <= 0,
    )
    changes_something = (pl.col("margin_change") != 0) | (closes != 0)
    kept = joined.filter(changes_something).drop("entry_time", "quantity")
    return kept.sort("row", "time", maintain_order=True)


def _refuse(joined: pl.DataFrame, sentence: str, names: tuple[str, ...], bad: pl.Expr) -> None:
    if joined.select(bad.any()).item():
        raise DataError(offence(joined, "adjustments", sentence, bad, names))
