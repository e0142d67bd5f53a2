"""What a fetch says: files by series, what is missing at the venue, what was put right, how good prices are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import polars as pl

from backtest.amounts import NOTHING, duration, number, percentage, plural, timestamp
from backtest.cli.common.text import facts, table
from backtest.errors import DataError
from backtest.market import Market, quality
from backtest.market.sources import history, plan
from backtest.market.sources.archives import Series
from backtest.market.sources.fetch_result import Fetched, File
from backtest.market.sources.fetcher import Settings

#: What can be the price of a history, best first.
PRICES = ("mark", "last", "index", "spot")
#: What is checked against the price, and by which check.
AGAINST = {"funding": "funding", "last": "last", "index": "index", "spot": "reference"}
#: How many missing or damaged files are named.
NAMED = 10
ABSENT = {"missing": "Not at the venue", "damaged": "Damaged at the venue"}


@dataclass(frozen=True)
class Asked:
    """What a fetch was asked for."""

    venue: str
    data: tuple[str, ...]
    symbols: tuple[str, ...]
    span: plan.Span
    interval: str
    settings: Settings

    @property
    def price(self) -> str | None:
        """The data set whose bars are checked and written."""
        return next((name for name in PRICES if name in self.data), None)

    def market(self, symbols: tuple[str, ...], also: tuple[str, ...] = (), price: str | None = None) -> Market:
        """Return a market from the disk, as it is."""
        price = price or self.price or PRICES[0]
        wanted = history.History(self.venue, symbols, self.span, self.interval, price, also)
        return history.from_disk(wanted, self.settings.folder)


@dataclass(frozen=True)
class Quality:
    """What the checks found, as a frame and in words."""

    frame: pl.DataFrame
    text: str


def files(fetched: Fetched, wanted: Sequence[Series]) -> str:
    """Return a table of what became of the files of each series."""
    header = ["data", "symbol", "files", "fetched", "kept", "missing", "damaged", "failed", "MB", "rows"]
    header += ["first\n(UTC)", "last\n(UTC)"]
    rows = [_row(series, [file for file in fetched.files if file.series == series]) for series in wanted]
    return table(header, rows, left=2)


def absent(fetched: Fetched) -> str:
    """Return the files the venue lacks or has damaged, and how many it has no checksum of."""
    named: list[tuple[str, str]] = []
    for status, heading in ABSENT.items():
        found = [file for file in fetched.wanting if file.entry.status == status]
        lines = [_told(file) for file in found[:NAMED]]
        if len(found) > NAMED:
            lines.append(f"and {len(found) - NAMED:,} more")
        named += zip(chain([heading], repeat("")), lines, strict=False)
    unverified = sum(
        bool(file.period) and file.entry.status == "stored" and not file.entry.verified for file in fetched.files
    )
    if unverified:
        named.append(("Not verified", f"{plural(unverified, 'file')}: the venue publishes no checksum"))
    return facts(named, indent="")


def repairs(fetched: Fetched, wanted: Sequence[Series]) -> str:
    """Return what had to be put right in the files of each series."""
    rows = [
        (f"{series.name} {series.symbol}", f"{row['meaning']}: {row['rows']:,}")
        for series in wanted
        for row in fetched.repairs_of(series.symbol, series.name).frame().iter_rows(named=True)
    ]
    return f"Repairs\n{facts(rows)}" if rows else ""


def quality_of(asked: Asked, fetched: Fetched) -> Quality:
    """Return what the checks found in the prices of each symbol; one symbol is in memory at a time.

    Repairs stand in the frame; in words they are told by series.
    """
    frames, notes = [pl.DataFrame(schema=quality.SCHEMA)], []
    if asked.price is not None:
        for symbol in asked.symbols:
            for other in (None, *(name for name in asked.data if name in AGAINST and name != asked.price)):
                try:
                    frames.append(_checked(asked, symbol, other, fetched))
                except DataError as error:
                    notes.append(f"  {error}")
    every = pl.concat(frames)
    if asked.price is None:
        return Quality(every, "")
    found = every.drop_nulls("start")
    title = f"Quality of the {asked.price} price"
    told = [title if found.height or notes else f"{title}: nothing found", *dict.fromkeys(notes)]
    return Quality(every, "\n".join([*told, _table(found)] if found.height else told))


def _told(file: File) -> str:
    name = f"{file.series.name} {file.series.symbol} {file.period or 'recent'}"
    return f"{name}: {file.entry.note}" if file.entry.note else name


def _checked(asked: Asked, symbol: str, other: str | None, fetched: Fetched) -> pl.DataFrame:
    """Return what the price itself shows, or what it shows against another data set."""
    end = min(asked.span.end, asked.settings.now)
    if other is None:
        repairs = {symbol: fetched.repairs_of(symbol)}
        return quality.report(asked.market((symbol,)), span=(asked.span.start, end), repairs=repairs)
    if other == "spot":
        found = quality.report(asked.market((symbol,)), reference=asked.market((symbol,), price="spot"))
    else:
        found = quality.report(asked.market((symbol,), (other,)))
    return found.filter(pl.col("check") == AGAINST[other])


def _table(found: pl.DataFrame) -> str:
    header = ["symbol", "check", "stretches", "bars", "longest", "worst\n%", "first\n(UTC)", "meaning"]
    return table(header, list(_lines(found)), left=2)


def _lines(found: pl.DataFrame) -> Iterator[list[str]]:
    starts = found.group_by("symbol", "check").agg(pl.col("start").min())
    first = {(symbol, check): start for symbol, check, start in starts.iter_rows()}
    for row in quality.summary(found).iter_rows(named=True):
        yield [
            row["symbol"],
            row["check"],
            number(row["stretches"]),
            number(row["bars"]),
            duration(row["longest"]),
            NOTHING if row["worst"] is None else percentage(math.expm1(row["worst"])),
            timestamp(first[row["symbol"], row["check"]]),
            quality.CHECKS[row["check"]],
        ]


def _row(series: Series, own: Sequence[File]) -> list[str]:
    stored = [file.entry for file in own if file.entry.status == "stored" and file.entry.rows]
    counts = [sum(file.outcome == outcome for file in own) for outcome in ("fetched", "kept")]
    counts += [sum(file.entry.status == status and file.outcome != "failed" for file in own) for status in ABSENT]
    counts.append(sum(file.outcome == "failed" for file in own))
    return [
        series.name,
        series.symbol,
        number(len(own)),
        *(number(count) if count else NOTHING for count in counts),
        number(sum(file.entry.bytes for file in own) / 1e6, 1),
        number(sum(entry.rows for entry in stored)),
        timestamp(min(entry.first for entry in stored if entry.first)) if stored else NOTHING,
        timestamp(max(entry.last for entry in stored if entry.last)) if stored else NOTHING,
    ]
