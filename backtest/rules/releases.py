"""Tier tables of many symbols as copies show them: one Parquet file beside a venue's file, read symbol by symbol.

A row is a tier of a table: ``symbol``, ``first_seen`` and ``last_seen`` (days of the first and the last copy of
the table), ``tier`` from 1, ``floor`` and ``cap`` of its sizes, ``rate``, ``max_leverage``, ``amount`` and
``source``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from backtest.errors import RulesError
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable

DAY = timedelta(days=1)


@dataclass(frozen=True, eq=False)
class Releases(Mapping[str, Contract]):
    """Contracts of a venue: those its file lists, and those of a file of releases, made when asked for."""

    listed: Mapping[str, Contract]
    path: Path
    rules: Mapping[str, Any]  #: rules of the contracts that the venue's file does not list
    changes: tuple[Mapping[str, Any], ...] = ()  #: made by ``Contract.with_``, in order
    made: dict[str, Contract] = field(default_factory=dict, repr=False)

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

    def with_(self, **changes: Any) -> Releases:
        """Return the contracts with rules changed, as :meth:`~backtest.rules.contract.Contract.with_` does."""
        return replace(self, changes=(*self.changes, changes), made={})

    @cached_property
    def _symbols(self) -> dict[str, None]:
        released = pl.scan_parquet(self.path, glob=False).select(pl.col("symbol").unique().sort()).collect()
        return dict.fromkeys([*self.listed, *released["symbol"]])

    def _contract(self, symbol: str) -> Contract:
        rows = pl.scan_parquet(self.path, glob=False).filter(pl.col("symbol") == symbol).collect()
        tables = [_table(days, own) for days, own in rows.group_by("first_seen", "last_seen", maintain_order=True)]
        own = self.listed.get(symbol)
        if own is not None:
            contract = replace(own, tables=(*own.tables, *tables))
        else:
            contract = Contract(symbol=symbol, tables=tuple(tables), **self.rules)
        for changes in self.changes:
            contract = contract.with_(**changes)
        return contract


def _table(days: tuple[date, date], rows: pl.DataFrame) -> TierTable:
    first, last = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days)
    rows = rows.sort("tier")
    try:
        return TierTable(
            name=f"{first:%Y-%m-%d}",
            floors=rows["floor"].to_numpy(),
            rates=rows["rate"].to_numpy(),
            amounts=rows["amount"].to_numpy(),
            max_leverages=rows["max_leverage"].to_numpy(),
            cap=float(rows["cap"][-1]),
            start=first,
            end=last + DAY,
            dated="seen",
            source=rows["source"][0],
            confidence="official",
        )
    except RulesError as error:
        raise RulesError(f"releases of {rows['symbol'][0]}: {error}") from None
