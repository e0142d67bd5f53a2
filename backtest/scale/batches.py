"""Batches of a data set of positions: row ranges of files, without the rows themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

import polars as pl

from backtest.amounts import plural
from backtest.errors import ArgumentError, DataError
from backtest.market.files import readable
from backtest.market.panics import UNREADABLE, quiet
from backtest.scale.storage_options import for_polars
from backtest.schemas.exact_numbers import is_exact_kind

#: Options of polars' readers of object storage: keys, region, endpoint.
StorageOptions = Mapping[str, str]


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of one file, or all rows of several small ones."""

    name: str  #: of its results: number of the file and of the batch in it
    path: str
    first: int  #: row
    rows: int | None  #: None: unknown, because the file is damaged
    hive: bool  #: whether folders of the path name columns
    unnamed_before: int | None = None  #: rows of files before this one, where the files have no position_id
    more: tuple[str, ...] = ()  #: paths of the files after the first, of each of which all rows

    @property
    def paths(self) -> tuple[str, ...]:
        """The files it is of, in order."""
        return (self.path, *self.more)

    def scan(self, storage: StorageOptions | None) -> pl.LazyFrame:
        """Return the rows, unread; numbered through the whole data set where they have no ids."""
        if self.more:
            rows = pl.scan_parquet(list(self.paths), glob=False, hive_partitioning=self.hive)
        else:
            rows = scan(self.path, self.hive, storage).slice(self.first, self.rows)
        if self.unnamed_before is None:
            return rows
        first = self.unnamed_before + self.first
        return rows.select((pl.int_range(pl.len(), dtype=pl.Int64) + first).alias("position_id"), pl.all())

    def read(self, storage: StorageOptions | None) -> pl.DataFrame:
        """Return the rows.

        Raises
        ------
        DataError
            For a file that is damaged or missing.
        """
        try:
            with readable_parquet("positions", self.path):
                return self.scan(storage).collect().rechunk()
        except DataError:
            for path in self.more and self.paths:  # which of them is damaged
                with readable_parquet("positions", path):
                    scan(path, self.hive, storage).collect()
            raise

    def __str__(self) -> str:
        if self.rows is None:
            return self.path
        others = f" and {plural(len(self.more), 'file')} after it" if self.more else ""
        return f"{self.path}{others}, rows {self.first:,} to {self.first + self.rows:,}"


@dataclass(frozen=True)
class _File:
    """A file of a data set."""

    number: int
    path: str
    hive: bool
    rows: int | None  #: None: it is damaged
    unnamed_before: int | None = None


def plan(source: str, rows: int, storage: StorageOptions | None = None) -> list[Batch]:
    """Return batches of at most so many rows that cover a data set in order.

    Parameters
    ----------
    source
        A Parquet file, a folder of them (hive or not), a pattern, or an address of object storage, which is read
        as one file.

    Raises
    ------
    ArgumentError
        For a batch of no rows.
    DataError
        Where there is no file, or files differ in their columns.
    """
    if rows < 1:
        raise ArgumentError(f"must be at least 1, is {rows}", argument="batch_rows")
    batches: list[Batch] = []
    for group in _groups(_files_of(source, storage), rows):
        file = group[0]
        if len(group) > 1:
            more = tuple(other.path for other in group[1:])
            whole = sum(other.rows or 0 for other in group)
            name = f"{file.number:05d}-{0:05d}"
            batches.append(Batch(name, file.path, 0, whole, file.hive, file.unnamed_before, more))
            continue
        firsts = range(0, max(file.rows or 0, 1), rows)
        batches += [
            Batch(
                f"{file.number:05d}-{place:05d}", file.path, first,
                None if file.rows is None else min(rows, file.rows - first), file.hive, file.unnamed_before,
            )
            for place, first in enumerate(firsts)
        ]  # fmt: skip
    return batches


def _files_of(source: str, storage: StorageOptions | None) -> list[_File]:
    """Return the files of a data set in order, with their rows."""
    found: list[_File] = []
    columns: tuple[str, pl.Schema] | None = None
    for number, path in enumerate(files(source, "positions")):
        hive = "=" in path.removeprefix(source)
        try:
            with quiet():
                rows = scan(path, hive, storage)
                count, schema = int(rows.select(pl.len()).collect().item()), rows.collect_schema()
        except UNREADABLE:  # its batch reports the error, and the others are swept
            found.append(_File(number, path, hive, None))
            continue
        columns = _same(columns, path, schema)
        unnamed = None if "position_id" in schema else sum(file.rows or 0 for file in found)
        damaged = next((file.path for file in found if file.rows is None), None)
        if unnamed is not None and damaged is not None:
            raise DataError(
                f"positions: {path} has no position_id, and its rows cannot be numbered: "
                f"{damaged} before it cannot be read"
            )
        found.append(_File(number, path, hive, count, unnamed))
    return found


def _groups(found: Sequence[_File], rows: int) -> list[list[_File]]:
    """Return consecutive files whose rows fit into one batch; a damaged one is by itself."""
    groups: list[list[_File]] = []
    held = rows + 1  # of the last group; no file fits into none
    for file in found:
        if file.rows is None or held + file.rows > rows or groups[-1][0].hive != file.hive:
            groups.append([])
            held = 0
        groups[-1].append(file)
        held = rows + 1 if file.rows is None else held + file.rows
    return groups


def columns_of(source: str, storage: StorageOptions | None) -> list[str]:
    """Return the columns of a data set, those of its first file."""
    path = files(source, "positions")[0]
    with readable_parquet("positions", path):
        return scan(path, "=" in path.removeprefix(source), storage).collect_schema().names()


def files(source: str, what: str) -> list[str]:
    """Return the files of a data set in the order polars reads them; an address of object storage as it is."""
    if is_remote(source):
        return [source]
    if Path(source).is_dir():
        found = [str(path) for path in Path(source).rglob("*.parquet") if not path.name.startswith(".")]
    elif Path(source).is_file():  # also where its name could be read as a pattern
        found = [source]
    else:
        found = glob(source, recursive=True) if has_magic(source) else []  # noqa: PTH207 (absolute patterns)
    if not found:
        raise DataError(f"{what} {source}: there is no such Parquet file or folder of them")
    strangers = [path for path in sorted(found) if Path(path).suffix != ".parquet"]
    if strangers:
        raise DataError(f"{what} file {strangers[0]} must end in .parquet to be read in batches")
    return sorted(found)


def is_remote(source: str) -> bool:
    """Whether a source is an address rather than a path."""
    return "://" in source


def scan(source: str, hive: bool, storage: StorageOptions | None) -> pl.LazyFrame:
    """Return a Parquet file or data set, unread; the name of an existing file is no pattern."""
    pattern = is_remote(source) or not Path(source).exists()
    options = for_polars(storage) if storage and is_remote(source) else None
    return pl.scan_parquet(source, glob=pattern, hive_partitioning=hive, storage_options=options)


def ids_of(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the ids of rows, unread: whole numbers of one width, or text."""
    numbers = is_exact_kind(rows.collect_schema()["position_id"])
    return rows.select(pl.col("position_id").cast(pl.Int64 if numbers else pl.String))


def readable_parquet(what: str, path: str) -> AbstractContextManager[None]:
    """Return the context in which a Parquet file's damage becomes one line that names it."""
    return readable(f"{what} file {path}", "Parquet")


def _same(known: tuple[str, pl.Schema] | None, path: str, schema: pl.Schema) -> tuple[str, pl.Schema]:
    """Return the first file and its columns; raise where others differ."""
    if known is None or known[1] == schema:
        return known or (path, schema)
    first, expected = known
    differing = sorted(name for name in {**expected, **schema} if expected.get(name) != schema.get(name))
    what = differing[0] if differing else "the order of its columns"
    raise DataError(f"positions files must have the same columns: {path} differs from {first} in {what}")
