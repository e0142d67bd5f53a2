"""Labels: notional liquidated in each interval, from a source independent of the indicators scored on it.

A map of synthetic positions predicts its own liquidations, whatever the market does. So labels are either recorded
liquidations, or those of a *hidden truth* book of other leverage mix, entries and seed; they carry their source,
and an indicator computed from the book behind them is refused
(:class:`backtest.study.prediction.evaluate.Trial`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Unpack

import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import USUAL, Changes, Conventions
from backtest.engine.sweep.sweep import sweep
from backtest.errors import ArgumentError, DataError
from backtest.market.market import Market
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import ADJUSTMENTS, POSITIONS, Time
from backtest.schemas.rules import IN_RANGE, NOT_NEGATIVE
from backtest.schemas.symbols import of_symbol
from backtest.schemas.validation import Column, Schema, conform
from backtest.shown import shown
from backtest.study.liquidations.flow import by_interval
from backtest.study.prediction.indicators import bar_length

__all__ = ["hidden_truth", "recorded"]
__dir__ = __all__.copy

HOUR = timedelta(hours=1)

#: Columns that identify a book.
COUNTED = {column.name for column in (*POSITIONS.columns, *ADJUSTMENTS.columns)} - {"position_id"}
COUNTED |= {"long", "short"}

FLOW = Schema(
    "flow",
    (
        Column("symbol", pl.String, required=False),
        Column("time", Time, IN_RANGE),
        Column("notional", pl.Float64, NOT_NEGATIVE),
    ),
)


@dataclass(frozen=True, eq=False)
@shown()
class Labels:
    """Notional liquidated in each interval, and its source.

    Raises
    ------
    DataError
        For a flow without ``time`` and ``notional``, negative or missing notionals, overlapping intervals.
    """

    flow: pl.DataFrame  #: ``time`` (opening of the interval), ``notional`` liquidated within it
    every: timedelta  #: length of an interval
    source: str
    book: str | None = None  #: fingerprint of the hidden truth; None: recorded

    def __post_init__(self) -> None:
        flow = conform(self.flow, FLOW)
        if "symbol" in flow.columns and flow.height:
            of_symbol(flow, None, "flow")
        if not flow.select((pl.col("time").diff().drop_nulls() >= self.every).all()).item():
            raise DataError(f"flow: times must rise by {self.every} or more, the interval that labels cover")
        object.__setattr__(self, "flow", flow)


@checked
def recorded(flow: pl.DataFrame, *, every: timedelta, source: str) -> Labels:
    """Return labels of recorded liquidations.

    Parameters
    ----------
    flow : ``time`` (opening of the interval), ``notional``; unrecorded intervals are absent, not zero
    every : length of an interval
    source : who recorded them, and their known defects

    Examples
    --------
    >>> from backtest.study.prediction import labels
    >>> flow = pl.DataFrame({"time": [noon, noon + timedelta(hours=1)], "notional": [3e6, 5e5]})
    >>> labels.recorded(flow, every=timedelta(hours=1), source="a throttled feed").flow.height
    2
    """
    return Labels(flow, every, source)


@checked
def hidden_truth(
    book: Book,
    market: Market,
    venue: Venue,
    *,
    every: timedelta = HOUR,
    conventions: Conventions = USUAL,
    **changes: Unpack[Changes],
) -> Labels:
    """Return labels from a book taken as the truth and hidden from indicators.

    Parameters
    ----------
    book : of other leverage mix, entries and seed than any book an indicator is computed from
    market, venue, conventions, **changes : as for ``sweep``; one symbol
    every : length of an interval, whole bars

    Returns
    -------
    The notional liquidated in each interval that bars cover whole.

    Raises
    ------
    ArgumentError
        For an interval that is not whole bars, a market of several symbols.

    Examples
    --------
    >>> from backtest.study.prediction import labels
    >>> truth = labels.hidden_truth(book, market, venue)
    >>> truth.flow.height, round(truth.flow["notional"].max())
    (408, 294989)
    """
    bar = bar_length(market)
    if every < bar or every % bar:
        raise ArgumentError(f"must be whole bars of {bar}, is {every}", argument="every")
    step = f"{every // timedelta(milliseconds=1)}ms"
    start, end = market.bars["time"][0], market.bars["time"][-1]
    outcomes = sweep(book, market, venue, conventions=conventions.with_(**changes))
    flow = by_interval(outcomes, start=start, end=end, every=step)
    whole = market.bars.group_by(pl.col("time").dt.truncate(step)).len().filter(pl.col("len") == every // bar)
    covered = flow.select("time", "notional").join(whole, on="time", how="semi", maintain_order="left")
    return Labels(covered, every, "; ".join(("hidden truth", *book.assumptions)), fingerprint(book))


@checked
def fingerprint(book: Book) -> str:
    """Return the fingerprint of a book: a hash of its positions and adjustments, and of its survival.

    Ids, the order of rows and columns, and columns without effect do not matter; every other value does, however
    small its effect: a book that is *almost* another has another fingerprint.
    """
    found = sha256()
    for frame in (book.positions, book.adjustments, book.survival):
        if frame is not None:
            kept = sorted(COUNTED & set(frame.columns))
            for column in frame.select(kept).sort(kept).iter_columns():
                found.update(f"{column.name} {column.dtype} {column.len()};".encode())
                found.update(_bytes(column))
    return found.hexdigest()


def _bytes(column: pl.Series) -> bytes:
    physical = column.to_physical()
    if physical.dtype.is_numeric() and not physical.null_count():
        return physical.to_numpy().tobytes()
    return "\x1f".join("\x00" if value is None else str(value) for value in physical).encode()
