"""Place of one position in the ADL queue of a file of open positions."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime

import polars as pl

from backtest.amounts import price as written
from backtest.book import Book
from backtest.book import load as load_book
from backtest.cli.price.account import read_mark
from backtest.errors import ArgumentError
from backtest.rules.position import PositionPrices
from backtest.schemas.frames import Side, Time
from backtest.study.holders.deleveraging import LIGHTS, UNRANKED, adl_queue


def place(options: Namespace, position: PositionPrices, entry_time: datetime) -> str:
    """Return the lights and the place of a position among those of a file, at the mark price."""
    rank = position.venue.procedure.adl_rank
    if rank in UNRANKED:
        return f"none: {position.venue.title} has no queue that holders could know ({rank})"
    marks = dict(read_mark(*each) for each in options.mark or ())
    strange = sorted(set(marks) - {position.symbol})
    if strange:
        raise ArgumentError(f"must be of {position.symbol}, is of {strange[0]}", argument="mark")
    mark = marks.get(position.symbol, position.entry_price)
    others = load_book(options.positions).positions.filter(symbol=position.symbol)
    own = {
        "position_id": 0,  # the others are numbered from 1, whatever their ids
        "symbol": position.symbol,
        "side": "long" if position.side > 0 else "short",
        "entry_time": entry_time.replace(microsecond=0),
        "entry_price": position.entry_price,
        "quantity": position.quantity,
        "margin": position.margin,
        "leverage": position.leverage,
    }
    kept = [name for name in (*own, "weight") if name in others.columns]
    numbered = others.with_columns(position_id=pl.int_range(1, pl.len() + 1, dtype=pl.Int64)).select(kept)
    numbers = dict.fromkeys(("entry_price", "quantity", "margin", "leverage"), pl.Float64)
    mine = pl.DataFrame([own], schema_overrides=numbers | {"side": Side, "entry_time": Time})
    both = pl.concat([numbered, mine], how="diagonal")
    book = Book(both.with_columns(pl.col("weight").fill_null(1.0)) if "weight" in kept else both)
    found = adl_queue(book, position.venue, {position.symbol: mark}, tiers=options.tiers or "nearest")
    row = found.row(by_predicate=pl.col("position_id") == 0, named=True)
    queue = found.filter(pl.col("side") == row["side"], pl.col("adl_place").is_not_null()).height
    if row["adl_place"] is None:
        return f"no light at {written(mark)}: the position is not in profit, and ADL would pass over it"
    return (
        f"{row['adl_lights']} of {LIGHTS} lights at {written(mark)}: place {row['adl_place']:,} of {queue:,} "
        f"{row['side']}s by {rank}"
    )
