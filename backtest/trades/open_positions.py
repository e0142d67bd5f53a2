"""Open positions as venues state them: ccxt's unified positions and Hyperliquid's ``clearinghouseState``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from backtest.errors import DataError
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side
from backtest.schemas.validation import offence
from backtest.trades.files import read_rows
from backtest.trades.formats import ccxt, hyperliquid
from backtest.trades.formats.known import format_of
from backtest.trades.table import Table

#: Formats of open positions.
STATES = (ccxt.POSITIONS.name, hyperliquid.STATE.name)

POSITIONS: dict[str, Any] = {
    "symbol": pl.String,
    "side": Side,
    "quantity": pl.Float64,
    "entry_price": pl.Float64,
    "leverage": pl.Float64,
    "margin": pl.Float64,
    "margin_mode": pl.String,
    "mark_price": pl.Float64,
    "venue_liquidation_price": pl.Float64,
}


@checked
def read_positions(path_or_frame: Any, *, source: str | None = None) -> pl.DataFrame:
    """Return open positions as a venue or a tool states them.

    Parameters
    ----------
    path_or_frame
        A file, or rows as a frame, a mapping or a list: ccxt's ``fetchPositions``, Hyperliquid's
        ``clearinghouseState``, or columns ``symbol, side, quantity, entry_price`` and others of those below.
    source
        Name of the format; None: found by the columns.

    Returns
    -------
    ``symbol, side, quantity, entry_price, leverage, margin, margin_mode, mark_price, venue_liquidation_price``;
    null where it is not stated. ``margin`` is that of isolated positions, without their open result.

    Raises
    ------
    DataError
        For a file that cannot be read, is in no such format, or holds no open position.

    Examples
    --------
    >>> from backtest import trades
    >>> stated = [{"symbol": "BTC/USDT:USDT", "side": "long", "contracts": 0.5, "contractSize": 1.0,
    ...            "entryPrice": 38_000.0, "leverage": 10, "collateral": 1_900.0, "marginMode": "isolated",
    ...            "liquidationPrice": 34_372.9}]
    >>> trades.read_positions(stated).select("symbol", "quantity", "margin", "venue_liquidation_price").row(0)
    ('BTC/USDT:USDT', 0.5, 1900.0, 34372.9)
    """
    where = f"positions file {path_or_frame}" if isinstance(path_or_frame, str | Path) else "positions"
    rows, about = read_rows(path_or_frame, where)
    table = Table(where, rows, about=about)
    plain = table.has("symbol", "side", "quantity", "entry_price")
    name = "" if plain and source is None else format_of(table, source).name
    if name and name not in STATES:
        raise DataError(f"{where} holds no open positions: ccxt's, Hyperliquid's or your own columns are wanted")
    readers = {"": _plain, ccxt.POSITIONS.name: _ccxt, hyperliquid.STATE.name: _hyperliquid}
    found = readers[name](table)
    found = found.with_columns(
        pl.lit(None, kind).alias(column) for column, kind in POSITIONS.items() if column not in found.columns
    )
    found = found.select(pl.col(column).cast(kind) for column, kind in POSITIONS.items())
    found = found.filter(pl.col("quantity") > 0)
    if found.is_empty():
        raise DataError(f"{where} holds no open position")
    for column in ("entry_price", "leverage", "margin", "mark_price"):
        bad = ~((pl.col(column) > 0) & pl.col(column).is_finite())
        bad = bad.fill_null(column == "entry_price")
        if found.select(bad.any()).item():
            raise DataError(offence(found, where, f"{column} must be above zero", bad, ("symbol", column)))
    return found


def _numbers(table: Table, **names: str) -> dict[str, pl.Series]:
    return {ours: table.number_or_null(theirs) for ours, theirs in names.items()}


def _sides(table: Table) -> pl.Series:
    meanings = {"long": "long", "short": "short", "buy": "long", "sell": "short"}
    return table.words("side", meanings, Side)


def _plain(table: Table) -> pl.DataFrame:
    names = [name for name in POSITIONS if name not in ("symbol", "side", "margin_mode")]
    mode = (
        table.text("margin_mode")
        if table.has("margin_mode")
        else pl.Series([None] * table.height, dtype=pl.String)
    )
    return pl.DataFrame(
        {"symbol": table.text("symbol"), "side": _sides(table), "margin_mode": mode}
        | _numbers(table, **{name: name for name in names})
    )


def _ccxt(table: Table) -> pl.DataFrame:
    found = pl.DataFrame(
        {"symbol": table.text("symbol"), "side": _sides(table), "margin_mode": table.text("marginMode")}
        | _numbers(
            table, contracts="contracts", size="contractSize", entry_price="entryPrice", leverage="leverage",
            collateral="collateral", mark_price="markPrice", venue_liquidation_price="liquidationPrice",
        )
    )  # fmt: skip
    isolated = pl.col("margin_mode").str.to_lowercase() == "isolated"
    return found.with_columns(
        quantity=pl.col("contracts").abs() * pl.col("size").fill_null(1.0),
        margin=pl.when(isolated & (pl.col("collateral") > 0)).then("collateral"),
        margin_mode=pl.col("margin_mode").str.to_lowercase(),
    )


def _hyperliquid(table: Table) -> pl.DataFrame:
    selected = [_object(value) for value in table.raw("leverage")]
    size = table.number("szi")
    found = pl.DataFrame(
        {
            "symbol": table.text("coin"),
            "szi": size,
            "entry_price": table.number("entryPx"),
            "leverage": pl.Series([one.get("value") for one in selected], dtype=pl.Float64, strict=False),
            "raw": pl.Series([_number(one.get("rawUsd")) for one in selected], dtype=pl.Float64),
            "margin_mode": [one.get("type") for one in selected],
            "value": table.number_or_null("positionValue"),
            "venue_liquidation_price": table.number_or_null("liquidationPx"),
        }
    )
    # of isolated positions rawUsd is the margin less what the position cost
    return found.with_columns(
        side=pl.when(pl.col("szi") > 0).then(pl.lit("long")).otherwise(pl.lit("short")).cast(Side),
        quantity=pl.col("szi").abs(),
        margin=pl.when(pl.col("margin_mode") == "isolated").then(
            pl.col("raw") + pl.col("szi") * pl.col("entry_price")
        ),
        mark_price=pl.col("value") / pl.col("szi").abs(),
    )


def _object(value: Any) -> dict[str, Any]:
    """Return an object that is stated as one, or as its text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
