"""Rebuilds the tiers of Binance from a file of changes: ``python docs/binance_tiers.py FILE``.

Writes ``backtest/rules/venues/binance_tiers.parquet``. A row of the file is a tier of a table at its first copy:
``symbol``, ``first_seen``, ``source``, ``tier``, ``floor``, ``cap``, ``rate``, ``max_leverage``, ``amount``, and
``last_seen_before``, the day of the copy before, which still showed the table before; null where the symbol was
new. Every copy that is no change is left out.
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import polars as pl

import backtest
from backtest.rules.releases import checked_tables

OUT = Path(backtest.__file__).parent / "rules" / "venues" / "binance_tiers.parquet"

#: Currencies that a symbol ends with, longest first; positions in USDT need no settlement of their own.
QUOTES = ("USDT", "USDC", "BUSD", "USD1", "BTC", "U")
#: Caps from here up are the largest integer of the venue's own format, and no cap.
NO_CAP = 9e18


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
    rows = releases(pl.read_parquet(source))
    rows = rows.drop("table", "model", "size", "contract_size", "confidence")
    rows.write_parquet(OUT, compression="zstd", compression_level=22, statistics=False)
    print(f"{OUT}: {rows['symbol'].n_unique():,} symbols, {rows.height:,} rows, {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("file", metavar="FILE", help="Parquet file of releases")
    main(parser.parse_args().file)
