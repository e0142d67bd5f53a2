"""Files of trade lists as tables of their rows: CSV, JSON, JSON lines, Parquet, feather, zipped or not."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from backtest.errors import DataError
from backtest.market.panics import UNREADABLE, quiet
from backtest.market.sources.formats import delimited, packed
from backtest.schemas.given_frames import as_frame
from backtest.trades.tool_results import latest_of, rows_of

FEATHER, PARQUET = b"ARROW1", b"PAR1"

#: Workbooks are zips as well, and older ones begin with this.
WORKBOOK = b"\xd0\xcf\x11\xe0"

#: Where the rows of a JSON object may be, below its keys.
PLACES = (
    ("result", "list"),
    ("data",),
    ("closedTrades",),
    ("totalPerformance", "closedTrades"),
    ("assetPositions",),
    ("trades",),
    ("fills",),
)

Rows = tuple[pl.DataFrame, dict[str, Any]]


def read_rows(given: Any, where: str, strategy: str | None = None) -> Rows:
    """Return the rows of a file or a frame as they are written, and what the file says beside them."""
    if not isinstance(given, str | Path):
        if isinstance(given, Mapping) and any(isinstance(value, Mapping) for value in given.values()):
            return _of_json(given, where, strategy)
        return as_frame(rows_of(given), "trades"), {}
    path = Path(given)
    if path.is_dir():
        path = latest_of(path, where)
    if not path.is_file():
        raise DataError(f"{where} does not exist")
    return _of_bytes(_unpacked(path.read_bytes(), path, where), where, strategy)


def _unpacked(data: bytes, path: Path, where: str) -> bytes:
    """Return the one file of trades in a zip; of freqtrade's zips the one with results."""
    if data[:4] == WORKBOOK or path.suffix.lower() in (".xlsx", ".xls"):
        raise DataError(f"{where} is a workbook: save its sheet as CSV")
    if data[:4] != b"PK\x03\x04":
        return packed.unwrapped(data, path)
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.endswith((".json", ".csv"))]
            names = [name for name in names if not (name.endswith("_config.json") or packed.is_beside(name))]
            if len(names) != 1:
                listed = ", ".join(names[:3]) or "none"
                raise DataError(f"{where} must hold one JSON or CSV file, holds {len(names)}: {listed}")
            return packed.member(archive, names[0], where)
    except packed.UNREADABLE as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where} is damaged: {error or 'it ends too soon'}") from None


def _of_bytes(data: bytes, where: str, strategy: str | None) -> Rows:
    try:
        with quiet():
            if data[: len(FEATHER)] == FEATHER:
                return pl.read_ipc(BytesIO(data)), {}
            if data[: len(PARQUET)] == PARQUET:
                return pl.read_parquet(BytesIO(data)), {}
    except UNREADABLE as error:
        raise DataError(f"{where} cannot be read: {str(error).splitlines()[0]}") from None
    data = delimited.plain_lines(data).strip()
    if not data:
        raise DataError(f"{where} is empty")
    if data[:1] in (b"{", b"["):
        return _of_json(_json(data, where), where, strategy)
    return _csv(data, where), {}


def _json(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        first = error
    lines = [line for line in data.splitlines() if line.strip()]
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            reason = first if number == 1 or len(lines) == 1 else f"line {number:,}: {error}"
            raise DataError(f"{where} cannot be read as JSON: {reason}") from None
    return rows


def _of_json(found: Any, where: str, strategy: str | None) -> Rows:
    about: dict[str, Any] = {}
    if isinstance(found, Mapping) and isinstance(found.get("strategy"), Mapping):
        found, about = _strategy(found["strategy"], where, strategy)
    elif isinstance(found, Mapping):
        found = _below(found, where)
    if isinstance(found, Mapping):  # columns by name
        return as_frame(found, "trades"), about
    if isinstance(found, list) and all(
        isinstance(row, Mapping) and isinstance(row.get("position"), Mapping) for row in found
    ):
        found = [row["position"] for row in found]
    if not (isinstance(found, list) and found and all(isinstance(row, Mapping) for row in found)):
        held = "no rows" if found == [] else "no rows by column name"
        raise DataError(f"{where} holds {held}: a list of trades or fills is wanted")
    return _rows(found), about


def _below(found: Mapping[str, Any], where: str) -> Any:
    """Return the rows inside the object that an interface answers with."""
    for place in PLACES:
        inner: Any = found
        for key in place:
            inner = inner.get(key) if isinstance(inner, Mapping) else None
        if isinstance(inner, list):
            return inner
    if found and all(isinstance(value, list) for value in found.values()):
        return found
    there = f"its keys are {', '.join(map(str, found))}" if found else "it is empty"
    raise DataError(f"{where} holds no list of trades: {there}")


def _strategy(found: Mapping[str, Any], where: str, strategy: str | None) -> tuple[Any, dict[str, Any]]:
    """Return the trades of one strategy of a freqtrade result, and its facts."""
    names = list(found)
    if strategy is None and len(names) != 1:
        ways = tuple(("strategy", name) for name in names[:3])
        raise DataError(f"{where} holds {len(names)} strategies ({', '.join(names)}): choose one", remedies=ways)
    if strategy is not None and strategy not in found:
        raise DataError(f"{where} holds no strategy {strategy!r}: there are {', '.join(names)}")
    chosen = found[strategy or names[0]]
    return chosen.get("trades", []), {
        name: value for name, value in chosen.items() if not isinstance(value, list | dict)
    }


def _rows(found: list[Any]) -> pl.DataFrame:
    """Return rows by column name; a value that is a list or an object stays one, as text."""
    names = dict.fromkeys(name for row in found for name in row)
    columns = {}
    for name in names:
        values = [row.get(name) for row in found]
        if any(isinstance(value, list | dict) for value in values):
            values = [None if value is None else json.dumps(value) for value in values]
        try:
            columns[str(name)] = pl.Series(values, strict=True)
        except (TypeError, PolarsError):
            columns[str(name)] = pl.Series([None if value is None else str(value) for value in values])
    return pl.DataFrame(columns)


def _csv(data: bytes, where: str) -> pl.DataFrame:
    """Return the cells as text, separated by the sign that the header has most of."""
    header = data.split(b"\n", 1)[0].decode("utf-8", "replace")
    separator = max(",;\t", key=header.count)
    try:
        with quiet():
            rows = pl.read_csv(data, infer_schema=False, separator=separator)
    except UNREADABLE as error:
        reason = str(error).splitlines()[0]
        if "more fields than defined" in reason:
            reason = "a line has more cells than the header"
        raise DataError(f"{where} cannot be read as CSV: {reason}") from None
    if len(rows.columns) < 2:
        raise DataError(f"{where} is no table: its first line is {header[:60]!r}")
    if rows.is_empty():
        raise DataError(f"{where} holds no rows, only a header")
    return rows
