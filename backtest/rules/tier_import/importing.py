"""Import of a file of tiers: read, checked against the venue's own tables, and joined to them with its day."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl

from backtest.amounts import plain, plural
from backtest.errors import ArgumentError, DataError, RulesError, quoted
from backtest.rules.imported import NAME, imported_file, tiers_folder
from backtest.rules.releases import REQUIRED, ReleaseFile, checked_tables, table_of
from backtest.rules.rule_files import venue_files, venue_text
from backtest.rules.tier_import.fields import DELIVERED, Found
from backtest.rules.tier_import.formats import Format, read_answer
from backtest.rules.tier_import.measures import Measure, measured
from backtest.rules.tier_import.spelling import Spelling
from backtest.rules.tiers import TierTable
from backtest.rules.venue import Venue
from backtest.rules.venue_file import read_venue
from backtest.schemas.arguments import checked


@dataclass(frozen=True)
class Imported:
    """What an import has added."""

    venue: str
    path: Path  #: the file the tables are kept in
    format: str
    day: date
    symbols: tuple[str, ...]  #: as the venue spells them
    new: tuple[
        str, ...
    ]  #: symbols whose table is unlike the one before; of the others the same one was seen again
    left_out: Mapping[str, tuple[str, ...]]  #: symbols of the file by the reason why they are not imported


@checked
def import_tiers(
    file: str | Path,
    venue: str | Path,
    *,
    date: date | None = None,
    symbol: str | None = None,
    name: str | None = None,
    model: str | None = None,
    contract_sizes: Mapping[str, float] | None = None,
) -> Imported:
    """Add the tiers of a file to the tables of a venue, as seen on a day.

    Formats: what ccxt's ``fetch_leverage_tiers`` and ``fetch_market_leverage_tiers`` return, freqtrade's files of
    leverage tiers, and the answers of Binance, Bybit, OKX, Gate, Bitget, KuCoin, Hyperliquid and dYdX, as JSON.
    The tables are kept in :func:`~backtest.rules.imported.tiers_folder` and join those that the venue carries.

    Parameters
    ----------
    file
        A JSON file.
    venue
        Name of a bundled venue, or the path of a venue file.
    date
        Day the tiers were read from the venue; None: the one the file states.
    symbol
        Symbol of tiers that name none.
    name
        Name of the tables; None: the day. A table of the venue with this name is replaced.
    model : "marginal" or "flat"
        How the rates apply, where neither file nor venue says it.
    contract_sizes
        Base currency a contract, by symbol, where tiers count contracts.

    Returns
    -------
    Imported
        Symbols, those whose table changed, those left out and why, and the file the tables are kept in.

    Raises
    ------
    ArgumentError
        For a day in the future, and where the file lacks what is not given.
    DataError
        For a file of no known format, and tiers that break a rule: how many symbols, and the first.
    RulesError
        For an unknown venue.

    Examples
    --------
    >>> import_tiers("leverage_tiers_USDT.json", "binance")  # doctest: +SKIP
    """
    path = Path(file)
    known = Venue.load(venue)
    if not NAME.fullmatch(known.name):
        raise ArgumentError(
            f"must have a name of letters, digits, '.', '_' and '-', is {known.name!r}", argument="venue"
        )
    kind, found, stated = _read(path, symbol)
    if kind.venue is not None and known.name in venue_files() and kind.venue != known.name:
        sentence = f"is {known.name}, but {path} is an answer of {kind.name.split()[0]}"
        raise ArgumentError(sentence, argument="venue")
    day = _day(date, stated, path)
    left_out: dict[str, list[str]] = {}
    spelling = Spelling(known)
    tables: dict[str, Found] = {}
    for each in found:
        reason = "ends on a day" if DELIVERED.fullmatch(each.symbol) else spelling.refusal(each.symbol)
        if reason:
            left_out.setdefault(reason, []).append(each.symbol)
        elif (first := tables.setdefault(spelling.of(each.symbol), each)) is not each:
            raise DataError(f"{path}: {first.symbol} and {each.symbol} are one contract")
    if not tables:
        reasons = "; ".join(f"{len(symbols):,} {reason}" for reason, symbols in left_out.items())
        raise DataError(f"{path} holds no tiers that can be imported ({reasons})")
    measures = measured(tables, known, model, contract_sizes or {}, path)
    rows = _rows(tables, measures, day, name, f"{path.name}: {kind.name}", kind.confidence)
    new = _join(venue, known.name, rows, day, named=name is not None, path=path)
    return Imported(
        known.name,
        tiers_folder() / f"{known.name}.parquet",
        kind.name,
        day,
        tuple(tables),
        tuple(new),
        {reason: tuple(symbols) for reason, symbols in left_out.items()},
    )


def _read(path: Path, symbol: str | None) -> tuple[Format, list[Found], date | None]:
    if not path.is_file():
        raise DataError(f"{path} {'is a folder, not a file' if path.is_dir() else 'does not exist'}")
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {str(error).splitlines()[0]}") from None
    try:
        return read_answer(data, symbol)
    except DataError as error:
        raise DataError(f"{path}: {error.sentence}", remedies=error.remedies) from None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: {type(error).__name__} {quoted(str(error))}") from None


def _day(given: date | None, stated: date | None, path: Path) -> date:
    day = given or stated
    if day is None:
        raise ArgumentError(
            f"is needed: {path} does not say on which day its tiers were read from the venue", argument="date"
        )
    day = day.date() if isinstance(day, datetime) else day
    if day > datetime.now(UTC).date():
        raise ArgumentError(f"lies in the future: {day}", argument="date")
    return day


def _rows(
    tables: Mapping[str, Found],
    measures: Mapping[str, Measure],
    day: date,
    name: str | None,
    source: str,
    confidence: str,
) -> pl.DataFrame:
    """Return the tables as rows of a file of tables."""
    rows = [
        {
            "symbol": symbol,
            "first_seen": day,
            "last_seen": day,
            "tier": number + 1,
            "floor": tier.floor,
            "cap": None if tier.cap == float("inf") else tier.cap,
            "rate": tier.rate,
            "max_leverage": None if tier.max_leverage == float("inf") else tier.max_leverage,
            "amount": tier.amount if measures[symbol].model == "marginal" else None,
            "source": source,
            "table": name or f"{day}",
            "confidence": confidence,
            **measures[symbol]._asdict(),
        }
        for symbol, found in tables.items()
        for number, tier in enumerate(found.tiers)
    ]
    kinds = REQUIRED | {"table": pl.String, "confidence": pl.String, "model": pl.String, "size": pl.String}
    return checked_tables(pl.DataFrame(rows, schema_overrides=kinds))


def _join(venue: str | Path, name: str, rows: pl.DataFrame, day: date, *, named: bool, path: Path) -> list[str]:
    """Write the tables beside those imported before, and return the symbols whose table changed.

    Nothing is written where any of them breaks a rule or contradicts another table.
    """
    file = imported_file(name)
    stored = ReleaseFile.read(file, replaces=True).tables if file else rows.clear()
    kept = stored.join(rows.select("symbol", "table").unique(), on=["symbol", "table"], how="anti")
    before = _with_imported(venue, kept)
    mine = set(kept.select("symbol", "table").unique().rows())
    new, problems, again = [], [], pl.lit(value=False)
    for (given,), own in rows.group_by("symbol", maintain_order=True):
        symbol = str(given)
        try:
            table = _checked_table(symbol, own)
            last = None if named else _last_before(before, symbol, day)
        except RulesError as error:
            problems.append((symbol, str(error).removeprefix(f"releases of {symbol}: ")))
            continue
        if last is None or not last.same_as(table):
            new.append(own)
        elif (symbol, last.name) in mine:
            again |= (pl.col("symbol") == symbol) & (pl.col("table") == last.name)
        elif last.end.date() <= day:
            new.append(own)
    _refuse(problems, path, rows)
    last_seen = pl.when(again).then(pl.max_horizontal("last_seen", pl.lit(day))).otherwise("last_seen")
    joined = checked_tables(pl.concat([kept.with_columns(last_seen=last_seen), *new], how="vertical_relaxed"))
    _require_consistent(before, _with_imported(venue, joined), rows, day, path)
    _write(joined, tiers_folder() / f"{name}.parquet")
    return [str(own["symbol"][0]) for own in new]


def _with_imported(venue: str | Path, rows: pl.DataFrame) -> Venue:
    """Return a venue with these imported tables instead of the stored ones."""
    buffer = BytesIO()
    rows.write_parquet(buffer)
    file = ReleaseFile("the imported tables", buffer.getvalue(), replaces=True) if rows.height else None
    return read_venue(*venue_text(venue), Venue, imported=file)


def _checked_table(symbol: str, rows: pl.DataFrame) -> TierTable:
    """Return a table; leverage limits fall with the size, or stay."""
    table = table_of(symbol, rows)
    rising = np.flatnonzero(np.diff(table.max_leverages) > 0)
    if rising.size:
        tier = int(rising[0]) + 1
        raise RulesError(
            f"the highest leverage must not rise with the size: tier {tier + 1} allows "
            f"{plain(table.max_leverages[tier])}x, tier {tier} {plain(table.max_leverages[tier - 1])}x"
        )
    return table


def _last_before(venue: Venue, symbol: str, day: date) -> TierTable | None:
    """Return the last table that a venue carries from a day or before, where copies of it were seen."""
    if symbol not in venue.contracts:
        return None
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    before = [table for table in venue.contract(symbol).tables if table.start <= moment]
    return before[-1] if before and before[-1].dated == "seen" else None


def _require_consistent(before: Venue, after: Venue, rows: pl.DataFrame, day: date, path: Path) -> None:
    """Raise where the tables cannot be beside those that a venue carried before."""
    problems = []
    for symbol in rows["symbol"].unique(maintain_order=True):
        try:
            _ = after.contracts[symbol]
        except RulesError as error:
            last = _last_before(before, symbol, day)
            problems.append((symbol, f"it differs from {last.name} ({last.period})" if last else str(error)))
    if problems:
        symbol, reason = problems[0]
        raise DataError(
            f"{path}: the tables of {plural(len(problems), 'symbol')} on {day} contradict those that venue "
            f"{after.name} carries, first {symbol}: {reason}; give another day, or the name of the table that "
            "they replace",
            remedies=(("name", "NAME"),),
        )


def _refuse(problems: list[tuple[str, str]], path: Path, rows: pl.DataFrame) -> None:
    if problems:
        symbol, reason = problems[0]
        raise DataError(
            f"{path}: the tiers of {len(problems):,} of {plural(rows['symbol'].n_unique(), 'symbol')} break a "
            f"rule, first {symbol}: {reason}"
        )


def _write(rows: pl.DataFrame, path: Path) -> None:
    """Write the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        rows.write_parquet(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
