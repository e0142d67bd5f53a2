"""Netting of fills into trades: average entry, partial closes, additions, flips.

A trade begins when a contract's position leaves zero and ends when it is back at zero. In hedge mode the long and
the short side of a contract are two positions, which never net.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from backtest.schemas.frames import Side, Time
from backtest.schemas.trades import CHANGES, FILLS, TRADES, Recorded
from backtest.schemas.validation import conform
from backtest.trades.symbols import pair_of

#: What is left of a position counts as nothing below this share of its largest size.
DUST = 1e-9

SIGN = {"buy": 1.0, "sell": -1.0}


@dataclass
class _Open:
    """A position while fills are added to it."""

    sign: float
    symbol: str
    entry_time: int
    entry_price: float
    quantity: float
    leverage: float | None
    held: float = 0.0
    largest: float = 0.0
    fees: float = 0.0
    pnl: float | None = None
    changes: list[tuple[int, float, float]] = field(default_factory=list)


@dataclass
class Netted:
    """Trades and changes from fills, and what the fills left unsaid."""

    trades: pl.DataFrame
    changes: pl.DataFrame
    began_open: int = 0  #: fills that close what was opened before the log begins


def net(fills: pl.DataFrame) -> Netted:
    """Return the trades of a frame of fills in the schema ``FILLS``."""
    fills = _merged(conform(fills, FILLS))
    netting = _Netting()
    for row in fills.iter_rows(named=True):
        netting.add(row)
    return netting.result()


def _merged(fills: pl.DataFrame) -> pl.DataFrame:
    """Return fills in order of time, those of one moment and side as one at their average price."""
    absent = [column for column in FILLS.columns if column.name not in fills.columns]
    fills = fills.with_columns(pl.lit(None, column.dtype).alias(column.name) for column in absent)
    inverse = [symbol for symbol in fills["symbol"].unique() if (pair := pair_of(symbol)) and pair.inverse]
    quantity, price = pl.col("quantity"), pl.col("price")
    harmonic = quantity.sum() / (quantity / price).sum()
    average = (quantity * price).sum() / quantity.sum()
    # within a moment the log's own order decides which side came first
    order = pl.col("row").min()
    return (
        fills.with_row_index("row")
        .sort("time", "row")
        .with_columns(
            run=(pl.col("side") != pl.col("side").shift(1))
            .fill_null(False)
            .cum_sum()
            .over("symbol", "time", "position_side")
        )
        .group_by("symbol", "time", "position_side", "side", "run", maintain_order=True)
        .agg(
            order.alias("row"),
            pl.when(pl.col("symbol").first().is_in(inverse)).then(harmonic).otherwise(average).alias("price"),
            quantity.sum(),
            pl.col("fee").sum(),
            pl.when(pl.col("closed_pnl").count() > 0).then(pl.col("closed_pnl").sum()).alias("closed_pnl"),
            pl.col("position_before").first(),
            pl.col("leverage").first(),
            pl.col("recorded").drop_nulls().first(),
        )
        .sort("time", "row")
        .with_columns(pl.col("time").to_physical())
    )


class _Netting:
    """Adds fills one by one to the position of their contract."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, str | None], _Open] = {}
        self.trades: list[dict[str, Any]] = []
        self.changes: list[tuple[int, int, float, float]] = []
        self.began_open = 0

    def add(self, fill: dict[str, Any]) -> None:
        """Add a fill to its position; one that turns it closes it and opens another."""
        key = (fill["symbol"], fill["position_side"])
        sign, quantity = SIGN[fill["side"]], fill["quantity"]
        held = self.open.get(key)
        if held is None:
            quantity = self._of_a_new_position(fill, sign)
            if quantity > DUST * fill["quantity"]:
                self.open[key] = self._opened(fill, sign, quantity, quantity / fill["quantity"])
            return
        if sign == held.sign:
            self._change(held, fill, quantity, 1.0)
            return
        closed = min(quantity, held.held)
        part = closed / quantity
        if held.held - closed > DUST * held.largest:
            self._change(held, fill, -closed, part)
            return
        self._close(key, held, fill, part)
        if quantity - closed > DUST * held.largest:
            self.open[key] = self._opened(fill, sign, quantity - closed, 1.0 - part)

    def _of_a_new_position(self, fill: dict[str, Any], sign: float) -> float:
        """Return how much of a fill opens a position where none is known of."""
        quantity = float(fill["quantity"])
        before = fill["position_before"]
        if before is not None and abs(before) > DUST * quantity:
            self.began_open += 1
            return max(0.0, quantity - abs(before)) if sign * before < 0 else 0.0
        own_side = fill["position_side"]
        closes = own_side is not None and sign != (1.0 if own_side == "long" else -1.0)
        if closes or (before is None and fill["closed_pnl"] not in (None, 0.0)):
            self.began_open += 1
            return 0.0
        return quantity

    def _opened(self, fill: dict[str, Any], sign: float, quantity: float, part: float) -> _Open:
        held = _Open(
            sign, fill["symbol"], fill["time"], fill["price"], quantity, fill["leverage"], quantity, quantity
        )
        held.fees = fill["fee"] * part
        held.pnl = None if fill["closed_pnl"] is None else 0.0
        return held

    def _change(self, held: _Open, fill: dict[str, Any], quantity: float, part: float) -> None:
        held.changes.append((fill["time"], fill["price"], quantity))
        held.held += quantity
        held.largest = max(held.largest, held.held)
        self._book(held, fill, part)

    def _book(self, held: _Open, fill: dict[str, Any], part: float) -> None:
        held.fees += fill["fee"] * part
        if fill["closed_pnl"] is not None:
            held.pnl = (held.pnl or 0.0) + fill["closed_pnl"]

    def _close(self, key: tuple[str, str | None], held: _Open, fill: dict[str, Any], part: float) -> None:
        self._book(held, fill, part)
        self._write(held, fill["time"], fill["price"], fill["recorded"])
        del self.open[key]

    def _write(self, held: _Open, time: int | None, price: float | None, recorded: str | None) -> None:
        number = len(self.trades)
        self.trades.append(
            {
                "trade_id": number,
                "symbol": held.symbol,
                "side": "long" if held.sign > 0 else "short",
                "entry_time": held.entry_time,
                "entry_price": held.entry_price,
                "quantity": held.quantity,
                "exit_time": time,
                "exit_price": price,
                "leverage": held.leverage,
                "fees": held.fees,
                "logged_pnl": None if held.pnl is None or time is None else held.pnl - held.fees,
                "recorded": recorded,
            }
        )
        self.changes += [(number, *change) for change in held.changes]

    def result(self) -> Netted:
        """Return the trades closed, and those still open at the end."""
        for held in self.open.values():
            self._write(held, None, None, None)
        types = {column.name: column.dtype for column in TRADES.columns} | {"recorded": Recorded, "side": Side}
        raw = {name: pl.Int64 if dtype == Time else dtype for name, dtype in types.items()}
        trades = pl.DataFrame(self.trades, schema={name: raw[name] for name in raw if name != "stop_price"})
        names = [column.name for column in CHANGES.columns]
        changes = pl.DataFrame(
            self.changes,
            schema=dict(zip(names, (pl.Int64, pl.Int64, pl.Float64, pl.Float64), strict=True)),
            orient="row",
        )
        trades = trades.with_columns(pl.col("entry_time", "exit_time").cast(Time)).sort(
            "entry_time", maintain_order=True
        )
        numbers = pl.DataFrame({"trade_id": trades["trade_id"], "new": pl.int_range(trades.height, eager=True)})
        changes = (
            changes.join(numbers, on="trade_id", maintain_order="left").with_columns(trade_id="new").drop("new")
        )
        return Netted(
            trades.with_columns(trade_id=numbers["new"]),
            changes.with_columns(pl.col("time").cast(Time)),
            self.began_open,
        )
