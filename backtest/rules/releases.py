"""Tier tables of many symbols as copies show them: one Parquet file beside a venue's file, read symbol by symbol.

A row is a tier of a table: ``symbol``, ``first_seen`` and ``last_seen`` (days of the first and the last copy of
the table), ``tier`` from 1, ``floor`` and ``cap`` of its sizes, ``rate``, ``max_leverage``, ``amount`` and
``source``. A cap is null where the source states none. Columns that may be left out: ``table`` (its name, else
the first day), ``settlement`` (null: the venue's), ``model``, ``size``, ``contract_size``, ``confidence``,
``note``, and ``announced_from`` and ``announced_until``: moments at which the venue announced that the table came
and went, which replace the first and the last day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from backtest.amounts import plain
from backtest.errors import RulesError
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable

DAY = timedelta(days=1)

REQUIRED: dict[str, Any] = {
    "symbol": pl.String,
    "first_seen": pl.Date,
    "last_seen": pl.Date,
    "tier": pl.Int64,
    "floor": pl.Float64,
    "cap": pl.Float64,
    "rate": pl.Float64,
    "max_leverage": pl.Float64,
    "amount": pl.Float64,
    "source": pl.String,
}
OPTIONAL: dict[str, tuple[Any, Any]] = {
    "table": (pl.String, None),
    "settlement": (pl.String, None),
    "model": (pl.String, "marginal"),
    "size": (pl.String, "notional"),
    "contract_size": (pl.Float64, 1.0),
    "confidence": (pl.String, "official"),
    "note": (pl.String, ""),
    "announced_from": (pl.Datetime("us", "UTC"), None),
    "announced_until": (pl.Datetime("us", "UTC"), None),
}
#: Columns that may be null: no cap, amounts that follow from continuity, unknown limits, and what may be left out.
NULLABLE = ("cap", "amount", "max_leverage", *OPTIONAL)


@dataclass(frozen=True, eq=False)
class ReleaseFile:
    """The content of one file of tables, held so that no later change of the file changes a result."""

    name: str
    data: bytes
    replaces: bool = False  #: a table of it takes the place of one with the same name; else they are both kept

    @classmethod
    def read(cls, path: Path, *, replaces: bool = False) -> ReleaseFile:
        """Read a file, and check that its columns are those of tables.

        Raises
        ------
        RulesError
            For a file that is not Parquet, or lacks columns, or holds nulls where there must be values.
        """
        found = cls(path.name, path.read_bytes(), replaces)
        try:
            _ = found.tables
        except RulesError as error:
            raise RulesError(f"{path}: {error}") from None
        return found

    @cached_property
    def tables(self) -> pl.DataFrame:
        """Its rows, in order of symbol, time and tier."""
        try:
            rows = pl.read_parquet(BytesIO(self.data))
        except pl.exceptions.PolarsError as error:
            raise RulesError(f"is not a Parquet file of tiers: {str(error).splitlines()[0]}") from None
        return checked_tables(rows)

    @cached_property
    def spans(self) -> dict[str, tuple[int, int]]:
        """First row and number of rows of each symbol, in order of symbol."""
        counts = self.tables.group_by("symbol", maintain_order=True).len()
        ends = counts["len"].cum_sum().to_list()
        return {symbol: (end - rows, rows) for (symbol, rows), end in zip(counts.iter_rows(), ends, strict=True)}

    def of(self, symbol: str) -> pl.DataFrame:
        """Return the rows of one symbol."""
        first, rows = self.spans.get(symbol, (0, 0))
        return self.tables.slice(first, rows)

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "data": self.data, "replaces": self.replaces}


@dataclass(frozen=True, eq=False)
class Releases(Mapping[str, Contract]):
    """Contracts of a venue: those its file lists, and those of files of tables, made when asked for."""

    listed: Mapping[str, Contract]
    files: tuple[ReleaseFile, ...]
    rules: Mapping[str, Any]  #: rules of the contracts that the venue's file does not list
    alias: str = ""  #: another name of every contract, with its symbol in braces; empty: none
    changes: tuple[Mapping[str, Any], ...] = ()  #: made by ``Contract.with_``, in order

    def __getitem__(self, symbol: str) -> Contract:
        if symbol not in self.made:
            if symbol not in self._symbols:
                raise KeyError(symbol)
            self.made[symbol] = self._contract(symbol)
        return self.made[symbol]

    def __iter__(self) -> Iterator[str]:
        return iter(self._symbols)

    def __len__(self) -> int:
        return len(self._symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._symbols

    @cached_property
    def made(self) -> dict[str, Contract]:
        """The contracts made so far."""
        return {}

    @cached_property
    def released(self) -> pl.DataFrame:
        """Every table of the files: symbol, first_seen, last_seen and the number of its tiers."""
        keys = ("symbol", "first_seen", "last_seen")
        if not self.files:
            return checked_tables(pl.DataFrame(schema=REQUIRED)).select("symbol", "first_seen", "last_seen")
        return pl.concat(
            file.tables.group_by(*keys, maintain_order=True).agg(
                tiers=pl.len(), leverage=pl.col("max_leverage").max()
            )
            for file in self.files
        )

    def with_(self, **changes: Any) -> Releases:
        """Return the contracts with rules changed, as :meth:`~backtest.rules.contract.Contract.with_` does.

        The contracts that the venue's file lists, else the first, are made at once, so that changes which
        contradict a rule are refused here.
        """
        changed = replace(self, changes=(*self.changes, changes))
        for symbol in list(self.listed) or list(self)[:1]:
            _ = changed[symbol]
        return changed

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("listed", "files", "rules", "alias", "changes")}

    @cached_property
    def _symbols(self) -> dict[str, str]:
        """The symbol of each name: its own, and that of each contract's other name."""
        released = sorted({symbol for file in self.files for symbol in file.spans})
        own = dict.fromkeys([*self.listed, *released])
        if not self.alias:
            return {symbol: symbol for symbol in own}
        named = ((name, symbol) for symbol in own for name in (symbol, self.alias.format(symbol=symbol)))
        return {name: symbol for name, symbol in named if name == symbol or name not in own}

    def _contract(self, name: str) -> Contract:
        """Return the contract of a symbol or of its other name."""
        symbol = self._symbols[name]
        own = self.listed.get(symbol)
        tables = list(own.tables) if own is not None else []
        settlement = own.settlement if own is not None else ""
        for file in self.files:
            rows = file.of(symbol)
            found = [table_of(symbol, table) for table in _split(rows)]
            names = {table.name for table in found} if file.replaces else set()
            tables = [table for table in tables if table.name not in names] + found
            settlement = settlement or next(iter(rows["settlement"].drop_nulls()), "")
        try:
            if own is not None:
                contract = replace(own, tables=tuple(tables), settlement=settlement)
            else:
                contract = Contract(
                    symbol=symbol, tables=tuple(tables), **{**self.rules, "settlement": settlement}
                )
        except RulesError as error:
            files = ", ".join(file.name for file in self.files)
            raise RulesError(f"tables of {symbol} ({files}): {error}") from None
        for changes in self.changes:
            contract = contract.with_(**changes)
        return contract if name == symbol else replace(contract, symbol=name)


def checked_tables(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of tables with all columns, in order.

    Raises
    ------
    RulesError
        For columns that are absent or of another type, and nulls where there must be values.
    """
    absent = [name for name in REQUIRED if name not in rows.columns]
    if absent:
        raise RulesError(f"lacks the columns {', '.join(absent)}: there must be {', '.join(REQUIRED)}")
    kinds = REQUIRED | {name: kind for name, (kind, _) in OPTIONAL.items()}
    for name, (kind, default) in OPTIONAL.items():
        if name not in rows.columns:
            rows = rows.with_columns(pl.lit(default, kind).alias(name))
    for name, kind in kinds.items():
        try:
            rows = rows.with_columns(pl.col(name).cast(kind))
        except pl.exceptions.PolarsError:
            raise RulesError(f"column {name} must be {kind}, is {rows.schema[name]}") from None
        nulls = rows[name].null_count()
        if nulls and name not in NULLABLE:
            first = rows[name].is_null().arg_max()
            raise RulesError(
                f"column {name} must have a value: {nulls:,} of {rows.height:,} rows have none, first row {first}"
            )
    return rows.select(list(kinds)).sort("symbol", "first_seen", "last_seen", "tier", maintain_order=True)


def _split(rows: pl.DataFrame) -> list[pl.DataFrame]:
    return rows.partition_by("first_seen", "last_seen", "table", maintain_order=True)


def table_of(symbol: str, rows: pl.DataFrame) -> TierTable:
    """Return the table of some rows.

    Raises
    ------
    RulesError
        For tiers that break a rule.
    """
    first, last = (_midnight(rows[name][0]) for name in ("first_seen", "last_seen"))
    cap, amounts = rows["cap"][-1], rows["amount"]
    apart = (rows["cap"][:-1] != rows["floor"][1:]).arg_max() if len(rows) > 1 else None
    if apart is not None and rows["cap"][apart] != rows["floor"][apart + 1]:
        raise RulesError(
            f"releases of {symbol}: table {first:%Y-%m-%d}: tier {apart + 2} must begin where tier {apart + 1} "
            f"ends ({plain(rows['cap'][apart])}), begins at {plain(rows['floor'][apart + 1])}"
        )
    start, end = _period(symbol, rows, first, last + DAY)
    marginal = rows["model"][0] == "marginal"
    try:
        return TierTable(
            name=rows["table"][0] or f"{first:%Y-%m-%d}",
            model=rows["model"][0],
            floors=rows["floor"].to_numpy(),
            rates=rows["rate"].to_numpy(),
            amounts=amounts.to_numpy() if marginal and not amounts.null_count() else None,
            max_leverages=rows["max_leverage"].fill_null(float("inf")).to_numpy(),
            cap=float("inf") if cap is None else cap,
            size=rows["size"][0],
            contract_size=rows["contract_size"][0],
            start=start,
            end=end,
            dated="seen",
            source=rows["source"][0],
            confidence=rows["confidence"][0],
            note=rows["note"][0],
        )
    except RulesError as error:
        raise RulesError(f"releases of {symbol}: {error}") from None


def _period(symbol: str, rows: pl.DataFrame, first: datetime, end: datetime) -> tuple[datetime, datetime]:
    """Return when a table came and went: as announced, else the first and the last day of its copies."""
    came, went = rows["announced_from"][0] or first, rows["announced_until"][0] or end
    for name, moment, wrong in (
        ("announced_from", came, came >= first + DAY),
        ("announced_until", went, went < end - DAY),
    ):
        if wrong:
            raise RulesError(
                f"releases of {symbol}: table {first:%Y-%m-%d}: {name} must agree with the copies, which show it "
                f"from {first:%Y-%m-%d} to {end - DAY:%Y-%m-%d}, is {moment:%Y-%m-%d %H:%M}"
            )
    return came, went


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
