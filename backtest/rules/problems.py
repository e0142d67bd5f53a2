"""Errors in a set of rules, collected by path and raised together."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any, Literal, get_origin, get_type_hints

from backtest.amounts import plural
from backtest.errors import ArgumentError, RulesError
from backtest.schemas.conversion import converted


class Problems:
    """Errors found so far: the path of a setting and a sentence each."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def add(self, path: str, sentence: str) -> None:
        """Note that the setting at ``path`` breaks a rule."""
        self.found.append((path, sentence))

    def add_all(self, path: str, error: RulesError, but: Collection[str] = ()) -> None:
        """Note the problems of the part of the rules at ``path``, except those of some settings."""
        self.found += [
            (".".join(filter(None, (path, inner))), what) for inner, what in error.problems if inner not in but
        ]

    def require_choice(self, path: str, value: object, choices: Collection[str]) -> None:
        """Note a setting whose value is not one of its choices."""
        if value not in tuple(choices):  # also of values that have no hash
            self.add(path, f"must be one of {', '.join(choices)}, is {value!r}")

    def require_kinds(self, settings: Any) -> None:
        """Note fields of a dataclass whose type differs from their annotation; choices are checked separately."""
        kind_of_settings: Any = type(settings)
        for name, kind in _kinds(kind_of_settings).items():
            try:
                converted(getattr(settings, name), kind, name)
            except ArgumentError as error:
                self.add(name, str(error).removeprefix(f"{name} "))

    def raise_if_any(self, subject: str) -> None:
        """Raise one :class:`~backtest.errors.RulesError` that lists every problem."""
        if self.found:
            listed = "; ".join(f"{path}: {what}" for path, what in self.found)
            count = f"{plural(len(self.found), 'problem')}"
            raise RulesError(f"{subject} has {count}: {listed}", self.found)


@cache
def _kinds(settings: Any) -> dict[str, Any]:
    return {name: kind for name, kind in get_type_hints(settings).items() if get_origin(kind) is not Literal}
