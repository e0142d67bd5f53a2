"""The venue of a command, and changes of its rules, written RULE=VALUE."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from backtest.errors import ArgumentError, RulesError
from backtest.rules.procedure import PROCEDURE_RULES, rule_type
from backtest.rules.venue import Venue
from backtest.schemas.conversion import meant


def read_venue(options: Namespace) -> Venue:
    """Return the venue, with the substitute that was asked for."""
    venue = Venue.load(options.venue)
    return venue.with_(like=options.like) if options.like else venue


def procedure_rules() -> dict[str, type]:
    """Return the rules of a procedure and the type of each."""
    return {name: rule_type(name) for name in PROCEDURE_RULES}


def changed(venue: Venue, rules: list[str], option: str, known: Mapping[str, type]) -> Venue:
    """Return the venue with the rules changed by an option."""
    changes: dict[str, Any] = {}
    for words in rules:
        name, equals, value = words.partition("=")
        if equals and name not in known and (asked := meant(name, known)):
            raise ArgumentError(f"{option} {words}: there is no rule {name}{asked}")
        if not equals or name not in known:
            raise ArgumentError(f"{option} must be RULE=VALUE with one of {', '.join(known)}, is {words!r}")
        changes[name] = _read(f"{option} {words}", value, known[name])
    try:
        return venue.with_(**changes) if changes else venue
    except RulesError as error:
        raise ArgumentError(f"{option}: {error}") from None


def _read(words: str, value: str, kind: type) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[value]
        return kind(value)
    except (KeyError, ValueError):
        expected = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}[kind]
        raise ArgumentError(f"{words}: the value must be {expected}") from None
