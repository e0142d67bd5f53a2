"""Grid files, read and checked; all mistakes are reported together."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import Any

from backtest.book import Book
from backtest.cli.common.inputs import SAMPLE_SUBSTITUTES, read_book, read_market
from backtest.cli.common.options import ESTIMATED
from backtest.cli.policy.grid_checks import ABSENT, AXES, check
from backtest.cli.policy.grid_settlement import (
    CURRENT_RULES,
    files_of,
    is_replay,
    procedure_names,
    read_settlement,
    venue_of,
)
from backtest.engine.conventions import Conventions
from backtest.errors import ArgumentError, DataError, RulesError
from backtest.rules.problems import Problems
from backtest.rules.procedure import Impact
from backtest.rules.timeline import by_symbol, of_symbols
from backtest.rules.toml_text import settings_of
from backtest.rules.venue import Venue
from backtest.study.policy.bands import Bands
from backtest.study.policy.delays import Delay
from backtest.study.policy.grid import BRACKET, FILLS, Grid, History, Rules
from backtest.study.policy.settlement import Settlement

#: Keys of a grid file for arguments with other names elsewhere.
KEYS = {"start": "from", "end": "until", "symbol": "symbols", "gap_limit": "gap_limit_hours"}

DEFAULT_QUESTION = "How would other rules have changed liquidations of these positions, and who would have paid?"


@dataclass(frozen=True, eq=False)
class GridFile:
    """A grid file, read and checked; prices and positions are read on demand."""

    path: Path
    settings: Mapping[str, Any]  #: as in the file
    question: str
    venue: Venue
    grid: Grid
    settlement: Settlement
    bands: Bands | None
    tolerance: Mapping[str, float]  #: highest amounts tolerated, by column of the results

    @property
    def histories(self) -> list[str]:
        """The names of the histories."""
        return [entry["name"] for entry in self.settings["histories"]]

    @property
    def books(self) -> list[str]:
        """The names of the books."""
        return [entry["name"] for entry in self.settings["books"]]

    @property
    def synthetic(self) -> bool:
        """Whether any book is synthetic, so that its amounts are arbitrary."""
        return any(
            "positions" not in entry and entry.get("population", "synthetic") == "synthetic"
            for entry in self.settings["books"]
        )

    def history(self, name: str) -> History:
        """Read one history."""
        with self._naming("histories", name):
            return self._history(name)

    def _history(self, name: str) -> History:
        entry = self._entry("histories", name)
        given = any("positions" in book for book in self.settings["books"])
        options = Namespace(
            bars=self._file(entry, "bars"),
            positions=self.path if given else None,
            funding=self._file(entry, "funding"),
            symbol=entry.get("symbols"),
            start=_utc(entry.get("from")),
            end=_utc(entry.get("until")),
            gap_limit=timedelta(hours=entry.get("gap_limit_hours", 6)),
            price_venue=entry.get("price_venue"),
        )
        substitutes = SAMPLE_SUBSTITUTES if "bars" not in entry and self.venue.name == "binance" else "strict"
        tiers = entry.get("tiers", self.settings.get("tiers", substitutes))
        market = read_market(options, self.venue)
        own = of_symbols(tiers, market.symbols)
        by_symbol(own, self.venue.contracts_of(market.symbols, ()))  # refuses the name of no table
        return History(name, market, Conventions(tiers=own))

    def book(self, name: str, history: History, threads: int | None) -> Book:
        """Read, draw or estimate one book in a history."""
        with self._naming("books", name):
            return self._book(name, history, threads)

    def _book(self, name: str, history: History, threads: int | None) -> Book:
        entry = self._entry("books", name)
        options = Namespace(
            positions=self._file(entry, "positions"),
            adjustments=self._file(entry, "adjustments"),
            population=entry.get("population"),
            turnover=entry.get("turnover"),
            count=entry.get("count"),
            seed=entry.get("seed"),
            leverage_mix=entry.get("leverage_mix"),
            **dict.fromkeys(ESTIMATED) | {"mix_file": self._file(entry, "mix_file")},
            threads=threads,
        )
        return read_book(options, history.market, self.venue, history.conventions)

    @contextmanager
    def _naming(self, section: str, name: str) -> Iterator[None]:
        """Name arguments that are refused by the keys that set them."""
        try:
            yield
        except ArgumentError as error:
            if error.argument is None:
                raise
            entry = self.settings[section].index(self._entry(section, name))
            key = KEYS.get(error.argument, error.argument)
            shared = key in self.settings and key not in self.settings[section][entry]
            path = key if shared else f"{section}[{entry}].{key}"
            raise ArgumentError(f"{path} {error.sentence} (grid file {self.path})") from None

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of the grid file and of every file it names."""
        files = {self.path}
        for entry in (*self.settings["histories"], *self.settings["books"]):
            named = (self._file(entry, key) for key in ("bars", "funding", "positions", "adjustments", "mix_file"))
            files |= {file for file in named if file is not None}
        files |= set(files_of(self.path, self.settings))
        found = {}
        for file in sorted(files):
            if not file.is_file():
                reason = "is a folder, not a file" if file.is_dir() else "does not exist"
                raise DataError(f"grid file {self.path}: {file} {reason}")
            with file.open("rb") as opened:
                found[str(file)] = file_digest(opened, "sha256").hexdigest()
        return found

    def _entry(self, section: str, name: str) -> Mapping[str, Any]:
        return next(entry for entry in self.settings[section] if entry["name"] == name)

    def _file(self, entry: Mapping[str, Any], key: str) -> Path | None:
        return self.path.parent / entry[key] if key in entry else None


def read_grid(path: Path) -> GridFile:
    """Read a grid file.

    Raises
    ------
    ArgumentError
        For a file that is absent or not TOML.
    RulesError
        For invalid settings: all of them, by path.
    """
    if not path.is_file():
        raise ArgumentError(f"grid file {path} does not exist")
    try:
        settings = settings_of(path.read_text("utf-8"))
    except ValueError as error:
        raise ArgumentError(f"grid file {path} is not valid TOML: {error}") from None
    problems = Problems()
    check(settings, problems)
    venue = _tried(problems, "venue", lambda: venue_of(path, settings.get("venue", "binance")))
    if venue is not None and isinstance(settings.get("like"), str):
        venue = _like(problems, venue, settings["like"])
    settlement = read_settlement(path, settings, venue, problems)
    changes = {CURRENT_RULES: {}, **_table(settings, "changes")}
    good = {
        name: change
        for name, change in changes.items()
        if venue is None or _tried(problems, f"changes.{name}", partial(_changed, venue, change)) is not None
    }
    delay = _tried(problems, "delay", lambda: _delay(_table(settings, "delay")))
    grid = _tried(problems, "grid", lambda: Grid(**_axes(settings), changes=good, delay=delay or Delay()))
    problems.raise_if_any(f"grid file {path}")
    assert venue is not None
    assert grid is not None
    settings["venue"] = settings.get("venue", "binance")
    question = settings.get("question", DEFAULT_QUESTION)
    bands = _bands(settings.get("bands"))
    return GridFile(path, settings, question, venue, grid, settlement, bands, settings.get("tolerance", {}))


def _like(problems: Problems, venue: Venue, symbol: str) -> Venue | None:
    """Return a venue with the rules of one symbol for those that it does not list, or None and a problem."""
    try:
        return venue.with_(like=symbol)
    except RulesError:
        problems.add("like", f"must be a symbol that venue {venue.name!r} lists, is {symbol!r}")
        return None


def _changed(venue: Venue, change: Any) -> Venue:
    if not isinstance(change, dict):
        raise ArgumentError(f"must be a table of rules, is {change!r}")
    return Rules(changes=change).applied(venue)


def _axes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the axes of a grid, with the defaults of its settlement."""
    axes = {name: _values(name, values) for name, values in _table(settings, "grid").items() if name in AXES}
    axes.setdefault("procedures", tuple(procedure_names(settings)))
    axes.setdefault("fills", BRACKET if is_replay(settings) else FILLS)
    if is_replay(settings):
        axes.setdefault("liquidation_fees", (None,))
    return axes


def _delay(settings: Mapping[str, Any]) -> Delay:
    own = {name: settings[name] for name in ("seconds", "draws") if name in settings}
    orders = {name: settings[name] for name in ("participation", "linear", "square_root") if name in settings}
    return Delay(**own, impact=Impact(**orders))


def _bands(settings: Mapping[str, Any] | None) -> Bands | None:
    if settings is None:
        return None
    return Bands(
        seed=settings.get("seed", 1),
        length=timedelta(days=settings.get("block_days", 14)),
        draws=settings.get("draws", 499),
        confidence=settings.get("confidence", 0.95),
    )


def _values(name: str, values: Any) -> Any:
    if name in ABSENT and isinstance(values, list):
        return tuple(None if value == ABSENT[name] else value for value in values)
    return tuple(values) if isinstance(values, list) else values


def _tried(problems: Problems, path: str, make: Callable[[], Any]) -> Any:
    """Return the result of a function, or None and a problem."""
    if any(found == path or found.startswith(f"{path}.") for found, _ in problems.found):
        return None
    try:
        return make()
    except (ArgumentError, RulesError) as error:
        axis = f"{error.argument}s"  # of many values, each of which is called as one
        key = axis if axis in AXES else error.argument
        problems.add(path if key is None else f"{path}.{key}", error.sentence)
        return None


def _table(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = settings.get(name, {})
    return found if isinstance(found, dict) else {}


def _utc(moment: date | str | None) -> datetime | None:
    if moment is None:
        return None
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if not isinstance(moment, datetime):
        return datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
