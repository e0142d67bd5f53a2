"""Files changed at random, and slow readings of them that share nothing with the package's own."""

from __future__ import annotations

import csv
import io
import math
import re
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.rules.venue import Venue

#: Content of files that were written by a program with a mistake, or by hand.
CELLS = (
    "", "nan", "NaN", "inf", "-inf", "-1", "0", "1e400", "1e-400", "1e5", "12,5", "1_000", " 40100.0", "40100.0 ",
    "+3", "0x10", "null", "None", "true", '"', "'", "é", "\x00", "2021-05-18", "2021-05-18T05:00:00Z",
    "1621296000000", "1621296000", "99999999999999999999", "-0.0", "1.", ".5", "long", "BTCUSDT", "[]", "{}",
    "9" * 400,
)  # fmt: skip
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan|infinity)", re.IGNORECASE)


def mutant_of_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Return data with one to three changes of bytes: overwritten, cut out, doubled, cut short."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, size = int(rng.integers(0, len(changed) + 1)), int(rng.integers(1, 9))
        kind = rng.integers(0, 5)
        if kind == 0:
            changed[at : at + size] = rng.integers(0, 256, size, dtype=np.uint8).tobytes()
        elif kind == 1 and at < len(changed):
            changed[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 2:
            del changed[at : at + size]
        elif kind == 3:
            changed[at:at] = changed[at : at + size]
        elif rng.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def mutant_of_text(text: str, rng: np.random.Generator) -> bytes:
    """Return lines of cells with one to three changes: cells, lines, separators; now and then of bytes."""
    if rng.random() < 0.25:
        return mutant_of_bytes(text.encode(), rng)
    lines = text.split("\n")
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(lines)))
        cells = lines[at].split(",")
        place, kind = int(rng.integers(0, len(cells))), rng.integers(0, 7)
        if kind <= 2:
            cells[place] = CELLS[rng.integers(0, len(CELLS))]
            lines[at] = ",".join(cells)
        elif kind == 3:
            cells[place], cells[0] = cells[0], cells[place]
            lines[at] = ",".join(cells)
        elif kind == 4:
            lines.insert(int(rng.integers(0, len(lines))), lines[at])
        elif kind == 5:
            del lines[at]
            lines = lines or [""]
        else:
            lines[at] = lines[at].replace(",", (";", "\t", ",,", ", ")[rng.integers(0, 4)], 1)
    return ("\r\n" if rng.random() < 0.1 else "\n").join(lines).encode()


VALUES = (
    "0", "-1", "1", "1.0", "0.5", "nan", "inf", "-inf", "1e400", "99999999999999999999", "true", '""', '"text"',
    '"none"',
    "[]", "[{}]", "{}", "{ a = 1 }", '["a"]', "2021-01-01", "2021-05-18T00:00:00Z", "12:00:00", '"2021-05-18"',
    r'"\u0000"', "[nan]", "[1, 'a']",
)  # fmt: skip


def mutant_of_toml(text: str, rng: np.random.Generator) -> bytes:
    """Return TOML with one or two changes: values, lines; now and then of bytes."""
    if rng.random() < 0.15:
        return mutant_of_bytes(text.encode(), rng)
    for _ in range(rng.integers(1, 3)):
        lines = text.split("\n")
        kind = rng.integers(0, 8)
        places = [found.span(1) for found in re.finditer(r"=\s*([^,{}\[\]\n]+?|\[[^\n]*\])\s*(?=[,}\n])", text)]
        if kind <= 5 and places:
            start, stop = places[rng.integers(0, len(places))]
            text = f"{text[:start]}{VALUES[rng.integers(0, len(VALUES))]}{text[stop:]}"
        elif kind == 6:
            del lines[rng.integers(0, len(lines))]
            text = "\n".join(lines)
        else:
            lines.insert(int(rng.integers(0, len(lines))), lines[rng.integers(0, len(lines))])
            text = "\n".join(lines)
    return text.encode()


class UnreadableError(Exception):
    """A slow reading cannot make out what a file says."""


def slow_rows(data: bytes, kinds: dict[str, Callable[[str], Any]]) -> list[dict[str, Any]]:
    """Return the rows of CSV text by the columns asked for, cell by cell."""
    try:
        lines = list(csv.reader(io.StringIO(data.decode("utf-8").removeprefix("\ufeff"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(str(error)) from None
    lines = [line for line in lines if line]
    if not lines:
        raise UnreadableError("empty")
    header = [name.strip() for name in lines[0]]
    rows = []
    for cells in lines[1:]:
        given = dict(zip(header, [*cells, *[""] * len(header)], strict=False))
        rows.append({name: kind(given[name]) for name, kind in kinds.items() if name in given})
    return rows


def number(cell: str) -> float | None:
    """Return a number as most programs write it; nothing of an empty cell."""
    if cell == "":
        return None
    if not NUMBER.fullmatch(cell):
        raise UnreadableError(cell)
    return float(cell)


def moment(cell: str) -> datetime | None:
    """Return a time with its zone, or of milliseconds since 1970."""
    if cell == "":
        return None
    try:
        if re.fullmatch(r"\d+", cell):
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(cell))
        read = datetime.fromisoformat(cell.strip())
    except (ValueError, OverflowError):
        raise UnreadableError(cell) from None
    if read.tzinfo is None:
        raise UnreadableError(cell)
    return read.astimezone(UTC)


def words(cell: str) -> str | None:
    return cell or None


def slow_venue(data: bytes) -> Venue:
    """Return the venue of the good files' settings, read setting by setting."""
    settings = tomllib.loads(data.decode())
    rules = {
        name: value["value"] if isinstance(value, dict) else value for name, value in settings["rules"].items()
    }
    contracts = {}
    for symbol, own in settings["contracts"].items():
        tables = tuple(slow_table(table) for table in own["tables"])
        contractual = {
            name: value for name, value in {**rules, **own}.items() if name not in ("tables", "trigger_price")
        }
        contracts[symbol] = Contract(symbol=symbol, tables=tables, **contractual)
    return Venue(
        name=settings["name"],
        title=settings["title"],
        settlement=settings.get("settlement", ""),
        contracts=contracts,
    )


def slow_table(table: dict[str, Any]) -> TierTable:
    columns: dict[str, list[float]] = {}
    for name, target in (
        ("floor", "floors"),
        ("rate", "rates"),
        ("amount", "amounts"),
        ("max_leverage", "max_leverages"),
    ):
        if any(name in row for row in table["rows"]):
            other = math.inf if name == "max_leverage" else 0.0
            columns[target] = [float(row.get(name, other)) for row in table["rows"]]
    dates = {
        target: slow_date(table[name]) for name, target in (("from", "start"), ("until", "end")) if name in table
    }
    more = {name: table[name] for name in ("cap", "model", "size", "boundary", "contract_size") if name in table}
    return TierTable(name=table["name"], **columns, **dates, **more)


def slow_date(value: Any) -> datetime:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    whole = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
    return whole.replace(tzinfo=UTC) if whole.tzinfo is None else whole


def frame(rows: list[dict[str, Any]], times: tuple[str, ...]) -> pl.DataFrame:
    """Return rows as the reference takes them."""
    made = pl.DataFrame(rows, infer_schema_length=None)
    return made.with_columns(pl.col(name).cast(pl.Datetime("ms", "UTC")) for name in times if name in made.columns)
