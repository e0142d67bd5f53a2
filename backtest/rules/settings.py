"""Settings of a TOML file, checked by path: types, unknown names, and the source of each rule."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from backtest.rules.problems import Problems
from backtest.rules.tiers import CONFIDENCES


@dataclass(frozen=True)
class Provenance:
    """Source of a rule: where it was read, its date, and the confidence in it."""

    source: str = ""
    date: str = ""
    confidence: str = "unknown"


def as_settings(given: Any) -> Any:
    """Return nested mappings, sequences and numpy's numbers as dictionaries, lists and numbers."""
    if isinstance(given, Mapping):
        return {str(name): as_settings(value) for name, value in given.items()}
    if isinstance(given, list | tuple):
        return [as_settings(value) for value in given]
    return as_settings(given.tolist()) if isinstance(given, np.ndarray | np.generic) else given


class Settings:
    """Reads parsed settings, noting every problem by its path, and the provenance of rules."""

    def __init__(self) -> None:
        self.problems = Problems()
        self.provenance: dict[str, Provenance] = {}

    def sourced(self, path: str, entry: Any) -> Any:
        """Return a value that may be given with its source, and store the source."""
        if not isinstance(entry, dict):
            self.provenance.setdefault(path.removeprefix("rules."), Provenance())
            return entry
        self.refuse_unknown(path, entry, ("value", "source", "date", "confidence"))
        confidence = entry.get("confidence", "unknown")
        self.problems.require_choice(f"{path}.confidence", confidence, CONFIDENCES)
        self.provenance[path.removeprefix("rules.")] = Provenance(
            str(entry.get("source", "")), str(entry.get("date", "")), str(confidence)
        )
        return entry.get("value")

    def refuse_unknown(self, path: str, settings: dict[str, Any], known: tuple[str, ...]) -> None:
        """Note unknown settings."""
        for name in settings:
            if name not in known:
                where = f"{path}.{name}" if path else name
                self.problems.add(where, f"is not a setting here: there are {', '.join(known)}")

    def table(self, path: str, value: Any) -> dict[str, Any]:
        """Return a table; empty where the value is not one."""
        return self.of_type(path, value, dict) or {}

    def of_type(self, path: str, value: Any, kind: type) -> Any:
        """Return the value where it is of a type (an integer will do for a number), else note a problem."""
        if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**1023:
            return float(value)
        if kind is datetime and isinstance(value, str):
            with suppress(ValueError):
                value = datetime.fromisoformat(value)
        if kind is datetime and isinstance(value, date):
            moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if value is None:
            self.problems.add(path, "is missing")
        elif not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            names = {
                str: "text",
                float: "a number",
                int: "a whole number",
                bool: "true or false",
                list: "a list",
                dict: "a table",
                datetime: "a date",
            }
            self.problems.add(path, f"must be {names[kind]}, is {value!r}")
        else:
            return value
        return None
