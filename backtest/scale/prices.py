"""Files of a market: paths and a window, sent to workers in place of the bars themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import polars as pl

from backtest.errors import DataError
from backtest.market.files import read_frame
from backtest.market.market import GAP_LIMIT, Market
from backtest.scale.batches import StorageOptions, files, is_remote, readable_parquet, scan
from backtest.scale.inputs import Identity, content_of, identity_of
from backtest.scale.storage_options import require_known
from backtest.schemas.frames import BARS, FUNDING
from backtest.schemas.validation import Schema, conform


@dataclass(frozen=True)
class Prices:
    """Files of bars and funding, and the symbols and span to read of them.

    A worker reads the symbols of its positions, with all of their history: the last digits of sums of funding
    depend on where they begin. Bars of symbols without positions are not read.
    """

    bars: str | Path  #: Parquet file, folder, pattern or address; or a CSV file
    funding: str | Path | None = None
    gap_limit: timedelta | None = GAP_LIMIT
    symbols: tuple[str, ...] = ()  #: empty: all
    start: datetime | None = None  #: open time of the first bar
    end: datetime | None = None  #: bars open before it
    storage: StorageOptions | None = None  #: options of polars' readers of object storage
    price_venue: str = ""  #: of whose prices they are; empty: not known

    def __post_init__(self) -> None:
        """Refuse options of object storage that no reader has."""
        require_known(self.storage)

    @cached_property
    def known(self) -> tuple[str, ...]:
        """The symbols of the bars, in order of their names.

        Raises
        ------
        DataError
            For no bars, none in the window, or funding of other symbols only.
        """
        known = tuple(_symbols(self._bars(), BARS, self.bars))
        if not known:
            raise DataError(
                "bars must hold at least one row in the window and of the symbols asked for: there is none"
            )
        if self.funding is not None:
            given = _symbols(_scanned(self.funding, FUNDING, self.storage), FUNDING, self.funding)
            if given and not set(given) & set(known):
                raise DataError(
                    f"funding: symbol must be one of the bars' ({', '.join(known)}) in some rows: "
                    f"there are only {', '.join(given)}"
                )
        return known

    def market(self, symbols: tuple[str, ...]) -> Market:
        """Read the market of some symbols; each is as in the market of all."""
        own = pl.col("symbol").cast(pl.String).is_in(symbols)
        bars = _collected(self._bars().filter(own), BARS, self.bars)
        if set(symbols) < set(self.known) and bars.group_by("symbol").len()["len"].min() == 1:
            return self.market(self.known)  # a lone bar is as long as the longest of the other symbols
        funding = None
        if self.funding is not None:
            charges = _scanned(self.funding, FUNDING, self.storage).filter(own)
            funding = _collected(charges, FUNDING, self.funding)
        return Market(
            bars,
            None if funding is None or funding.is_empty() else funding,
            gap_limit=self.gap_limit,
            price_venue=self.price_venue,
        )

    def identities(self) -> dict[str, Identity | list[int] | None]:
        """Return what each file is, by path; of object storage what its rows are."""
        paths = _files(self.bars, "bars") + ([] if self.funding is None else _files(self.funding, "funding"))
        return {
            path: content_of(scan(path, False, self.storage)) if is_remote(path) else identity_of(path)
            for path in paths
        }

    def _bars(self) -> pl.LazyFrame:
        rows = _scanned(self.bars, BARS, self.storage)
        time = pl.col("time")
        if self.symbols:
            rows = rows.filter(pl.col("symbol").cast(pl.String).is_in(self.symbols))
        if self.start is not None:
            rows = rows.filter(time >= self.start)
        return rows if self.end is None else rows.filter(time < self.end)


def _files(source: str | Path, what: str) -> list[str]:
    source = str(source)
    return [source] if source.endswith(".csv") else files(source, what)


def _scanned(source: str | Path, schema: Schema, storage: StorageOptions | None) -> pl.LazyFrame:
    """Return the rows of a source, unread; a CSV file is read."""
    source = str(source)
    if not is_remote(source) and Path(source).suffix == ".csv":
        return read_frame(source, schema).lazy()
    hive = not is_remote(source) and Path(source).is_dir()
    files(source, schema.name)
    rows = scan(source, hive, storage)
    _collected(rows.head(0), schema, source)
    return rows


def _collected(rows: pl.LazyFrame, schema: Schema, source: str | Path) -> pl.DataFrame:
    """Return rows, read and checked."""
    with readable_parquet(schema.name, str(source)):
        frame = rows.collect()
    return conform(frame.rechunk(), schema)


def _symbols(rows: pl.LazyFrame, schema: Schema, source: str | Path) -> list[str]:
    with readable_parquet(schema.name, str(source)):
        found = rows.select(pl.col("symbol").cast(pl.String)).unique().collect(engine="streaming")
    return [str(symbol) for symbol in found["symbol"].sort()]
