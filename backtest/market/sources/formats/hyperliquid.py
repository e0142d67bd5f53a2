"""Hyperliquid's fills: files of its nodes, the only complete public record of liquidations, and its answers.

A line of a node's file is one fill, a pair of user and fill, or a block with its events; all three have been in
use. The answer to ``userFills`` is one JSON list of fills, on one line or several. The archive is paid for by who
reads it, so nothing here fetches it. Unpack ``.lz4`` files first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from backtest.errors import DataError
from backtest.market.repairs import Reading, Repairs
from backtest.market.sources.formats import delimited
from backtest.schemas.frames import Time

LZ4 = b"\x04\x22\x4d\x18"
SCHEMA: dict[str, delimited.DataType] = {
    "symbol": pl.String,
    "time": Time,
    "user": pl.String,
    "side": pl.String,
    "crossed": pl.Boolean,
    "price": pl.Float64,
    "quantity": pl.Float64,
    "start_position": pl.Float64,
    "direction": pl.String,
    "closed_pnl": pl.Float64,
    "fee": pl.Float64,
    "trade_id": pl.Int64,
    "liquidated_user": pl.String,
    "liquidation_mark_price": pl.Float64,
    "liquidation_method": pl.String,
}
SUPPORTED = (
    "lines of fills, of [user, fill] pairs or of blocks with events as nodes write them, or one JSON list as "
    "userFills answers"
)
#: Shapes that are not read, by a key that only they have.
OTHER_SHAPES = {
    "channel": "a websocket message (save data.fills as a list)",
    "side_info": "a trade of node_trades, which names no liquidation",
}
SIDES = {"B": "buy", "A": "sell", "S": "sell"}


def read(data: bytes, path: Path) -> Reading:
    """Return one row a fill, in order of time; ``liquidated_user`` is null where the fill liquidated nobody.

    Both sides of a trade have a row, with the side they took.

    Raises
    ------
    DataError
        For a line that is no fill.
    """
    if data[:4] == LZ4:
        raise DataError(f"fills file {path} is packed as lz4: unpack it first (lz4 -d {path.name})")
    rows = list(_rows(data, path))
    written = pl.DataFrame(rows, schema=SCHEMA | {"time": pl.Int64}, orient="row")
    times, microseconds = delimited.stamps(written["time"], path)
    frame = written.with_columns(time=times)
    unsorted = int((frame["time"] < frame["time"].cum_max().shift(1)).sum()) if frame.height else 0
    once = frame.unique(maintain_order=True).sort("time", maintain_order=True)
    counts = {"microseconds": microseconds, "unsorted": unsorted, "duplicate": frame.height - once.height}
    return Reading(once, Repairs(counts))


def _rows(data: bytes, path: Path) -> Iterator[tuple[Any, ...]]:
    for name, entry in _entries(data, path):
        try:
            for user, fill in _fills(entry):
                yield _row(user, fill)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            shape = next(
                (shape for key, shape in OTHER_SHAPES.items() if isinstance(entry, dict) and key in entry), ""
            )
            reason = f"it is {shape}" if shape else f"no {error}" if isinstance(error, KeyError) else error
            raise DataError(f"fills file {path}: {name} is not a fill: {reason}; supported: {SUPPORTED}") from None


def _entries(data: bytes, path: Path) -> Iterator[tuple[str, Any]]:
    """Yield every fill of an answer, or every line of a node's file, and what to call it."""
    answer = _answer(data)
    if answer is not None:
        yield from ((f"entry {number:,}", fill) for number, fill in enumerate(answer, start=1))
        return
    for number, line in enumerate(data.splitlines(), start=1):
        if line.strip():
            try:
                yield f"line {number:,}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"fills file {path}: line {number:,} is not JSON: {error}; supported: {SUPPORTED}"
                ) from None


def _answer(data: bytes) -> list[Any] | None:
    """Return the fills of a file that is one JSON list of them, else None."""
    if not data.lstrip().startswith(b"["):
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(entry, dict) for entry in found) else None


def _fills(line: Any) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Yield user and fill from any of the three shapes of a line."""
    if isinstance(line, list):
        yield line[0], line[1]
    elif "events" in line:
        yield from line["events"]
    else:
        yield line.get("user"), line


def _row(user: str | None, fill: dict[str, Any]) -> tuple[Any, ...]:
    liquidation = fill.get("liquidation") or {}
    mark = liquidation.get("markPx")
    return (
        fill["coin"],
        int(fill["time"]),
        user,
        SIDES[fill["side"]],
        bool(fill.get("crossed", False)),
        float(fill["px"]),
        float(fill["sz"]),
        float(fill["startPosition"]),
        fill.get("dir"),
        float(fill.get("closedPnl", 0)),
        float(fill.get("fee", 0)),
        int(fill["tid"]),
        liquidation.get("liquidatedUser"),
        None if mark is None else float(mark),
        liquidation.get("method"),
    )
