"""Rebuilds the tiers of Binance from a file of changes: ``python docs/binance_tiers.py FILE``.

Writes ``backtest/rules/venues/binance_tiers.parquet``. A row of the file is a tier of a table at its first copy:
``symbol``, ``first_seen``, ``source``, ``tier``, ``floor``, ``cap``, ``rate``, ``max_leverage``, ``amount``, and
``last_seen_before``, the day of the copy before, which still showed the table before; null where the symbol was
new. Every copy that is no change is left out.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

import backtest
from backtest.rules.releases import checked_tables

OUT = Path(backtest.__file__).parent / "rules" / "venues" / "binance_tiers.parquet"

#: Currencies that a symbol ends with, longest first; positions in USDT need no settlement of their own.
QUOTES = ("USDT", "USDC", "BUSD", "USD1", "BTC", "U")
#: Caps from here up are the largest integer of the venue's own format, and no cap.
NO_CAP = 9e18


class Notice(NamedTuple):
    """A change as the venue announced it, with the tables before (where stated) and after, as floors and rates."""

    symbols: tuple[str, ...]
    at: datetime
    source: str
    after: tuple[tuple[float, float], ...]
    before: tuple[tuple[float, float], ...] = ()
    leverages: tuple[float, ...] = ()  #: of the table after, and its cap: where no copy may show that table
    cap: float = 0.0


_FEED = "https://www.binance.com/en/feed/post/"
_PACED = ((25_000, 0.05), (200_000, 0.1), (500_000, 0.125), (1_000_000, 0.25), (3_000_000, 0.5))

#: Notices that state a whole table. Those of CYBERUSDT and NMRUSDT were taken back before the next copy, so that
#: the copies around them are alike.
NOTICES = (
    Notice(
        ("BNTUSDT", "HIVEUSDT", "POWRUSDT", "SIRENUSDT", "SKYAIUSDT", "SQDUSDT"),
        datetime(2025, 9, 15, 6, 30, tzinfo=UTC),
        "https://www.binance.bh/en-BH/square/post/29663970287329",
        ((0, 0.015), (5_000, 0.025), (10_000, 0.05), (20_000, 0.1), (50_000, 0.125), (250_000, 0.1667),
         (4_500_000, 0.25), (7_500_000, 0.5)),
        ((0, 0.015), (5_000, 0.02), (10_000, 0.025), (25_000, 0.05), (62_500, 0.1), (125_000, 0.125),
         (250_000, 0.1667), (4_500_000, 0.25), (7_500_000, 0.5)),
    ),
    Notice(
        ("CYBERUSDT",),
        datetime(2023, 8, 31, 5, tzinfo=UTC),
        f"{_FEED}2023-08-31-binance-futures-adjusts-leverage-and-margin-tiers-for-usd-m-cyberusdt-perpetual-contract-1060786",
        ((0, 0.025), *_PACED), leverages=(11, 10, 5, 4, 2, 1), cap=3_500_000,
    ),
    Notice(
        ("CYBERUSDT",),
        datetime(2023, 9, 2, 10, 30, tzinfo=UTC),
        f"{_FEED}2023-09-02-binance-futures-announces-changes-to-leverage-margin-tiers-and-maintenance-margins-for-"
        "cyberusdt-perpetual-contract-1076210",
        ((0, 0.025), (5_000, 0.05), *_PACED[1:]), leverages=(8, 6, 5, 4, 2, 1), cap=3_500_000,
    ),
    Notice(
        ("NMRUSDT",),
        datetime(2023, 9, 2, 16, 30, tzinfo=UTC),
        f"{_FEED}2023-09-02-binance-futures-adjusts-leverage-margin-tiers-for-usd-m-nmrusdt-perpetual-contract-1076216",
        ((0, 0.025), *_PACED), leverages=(8, 7, 5, 4, 2, 1), cap=3_500_000,
    ),
)  # fmt: skip


def with_notices(rows: pl.DataFrame, days: Sequence[date], notices: Sequence[Notice] = NOTICES) -> pl.DataFrame:
    """Return tables that come and go as announced, and with those that were in force between two copies alone.

    A copy that shows a notice's table dates it: it was in force from or to the notice. One that no copy shows is
    known to be in force on the day of its notice, or up to the symbol's next notice. ``days`` are those of copies.

    Raises
    ------
    ValueError
        For a notice none of whose tables the copies around it show.
    """
    for notice in notices:
        for symbol in notice.symbols:
            before = max(day for day in days if day <= notice.at.date())
            after = min(day for day in days if day > notice.at.date())
            rows = _parted(rows, symbol, before, after)
            own = pl.col("symbol") == symbol
            left = own & (pl.col("last_seen") == before) & pl.col("announced_until").is_null()
            came = own & (pl.col("first_seen") == after)
            if _tiers(rows, came) == notice.after:
                rows = _marked(rows, came, "announced_from", "From", notice)
                if _tiers(rows, left) == notice.before:
                    rows = _marked(rows, left, "announced_until", "Until", notice)
            elif notice.leverages:
                noticed = own & pl.col("announced_from").is_between(_midnight(before), notice.at)
                rows = _marked(rows, noticed, "announced_until", "Until", notice)
                rows = pl.concat([rows, _announced(symbol, notice, rows.schema)])
            else:
                raise ValueError(f"{symbol}, {notice.at:%Y-%m-%d}: the copies show another table")
    return checked_tables(rows)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _parted(rows: pl.DataFrame, symbol: str, before: date, after: date) -> pl.DataFrame:
    """Return rows in which a table that copies show on both sides of a notice is two tables."""
    whole = (pl.col("symbol") == symbol) & (pl.col("first_seen") <= before) & (pl.col("last_seen") >= after)
    part = rows.filter(whole)
    return pl.concat(
        [
            rows.filter(~whole),
            part.with_columns(last_seen=pl.lit(before)),
            part.with_columns(first_seen=pl.lit(after)),
        ]
    )


def _announced(symbol: str, notice: Notice, schema: pl.Schema) -> pl.DataFrame:
    """Return the rows of a table that its notice alone shows: known to be in force on that day."""
    floors, rates = zip(*notice.after, strict=True)
    day = notice.at.date()
    table = pl.DataFrame(
        {
            "symbol": symbol, "first_seen": day, "last_seen": day, "tier": range(1, len(floors) + 1),
            "floor": floors, "cap": [*floors[1:], notice.cap], "rate": rates, "max_leverage": notice.leverages,
            "source": notice.source, "announced_from": notice.at, "model": "marginal", "size": "notional",
            "contract_size": 1.0, "confidence": "official",
            "note": "As announced; it was changed again before the next copy.",
        },
        strict=False,
    )  # fmt: skip
    return table.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in table.columns
    ).select(pl.col(name).cast(kind) for name, kind in schema.items())


def _tiers(rows: pl.DataFrame, there: pl.Expr) -> tuple[tuple[float, float], ...]:
    return tuple(rows.filter(there).sort("tier").select("floor", "rate").iter_rows())


def _marked(rows: pl.DataFrame, there: pl.Expr, name: str, word: str, notice: Notice) -> pl.DataFrame:
    """Return rows with an announced moment, and where it was read."""
    said = f" {word} {notice.at:%Y-%m-%d %H:%M} UTC, as announced: {notice.source}"
    return rows.with_columns(
        pl.when(there).then(pl.lit(notice.at, pl.Datetime("us", "UTC"))).otherwise(name).alias(name),
        note=pl.when(there).then(pl.col("note") + said).otherwise("note"),
    )


def releases(changes: pl.DataFrame) -> pl.DataFrame:
    """Return tables with the days of their first and last copy.

    A table was last seen in the copy before the next one's first. The last table of a symbol was seen in the last
    copy of all: the file does not show which symbols were delisted before. Tiers that end where they begin hold no
    position and are left out.
    """
    keys = ["symbol", "first_seen", "last_seen_before"]
    seen = changes.select(keys).unique().sort(keys)
    newest = changes["first_seen"].max()
    last = pl.col("last_seen_before").shift(-1).over("symbol").fill_null(newest)
    seen = seen.with_columns(last_seen=last).drop("last_seen_before")
    filled = changes.drop("last_seen_before").filter(pl.col("floor") < pl.col("cap"))
    rows = filled.join(seen, on=["symbol", "first_seen"], validate="m:1")
    release = pl.col("source").str.strip_prefix("release ")
    return checked_tables(
        rows.with_columns(
            cap=pl.when(pl.col("cap") < NO_CAP).then("cap"),
            source=pl.format("freqtrade {}: freqtrade/exchange/binance_leverage_tiers.json", release),
            settlement=settlement(),
            note=pl.lit("Seen: the first copy of this table, and the last before it changed, or the newest."),
        )
    )


def settlement() -> pl.Expr:
    """Return the currency that a symbol ends with; null for USDT."""
    found = pl.coalesce(pl.when(pl.col("symbol").str.ends_with(quote)).then(pl.lit(quote)) for quote in QUOTES)
    return pl.when(found != "USDT").then(found)


def main(source: str) -> None:
    """Write the file."""
    changes = pl.read_parquet(source)
    copies = changes.select(pl.concat_list("first_seen", "last_seen_before").explode().drop_nulls().unique())
    rows = with_notices(releases(changes), copies.to_series().to_list())
    rows = rows.drop("table", "model", "size", "contract_size", "confidence")
    rows.write_parquet(OUT, compression="zstd", compression_level=22, statistics=False)
    print(f"{OUT}: {rows['symbol'].n_unique():,} symbols, {rows.height:,} rows, {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("file", metavar="FILE", help="Parquet file of releases")
    main(parser.parse_args().file)
