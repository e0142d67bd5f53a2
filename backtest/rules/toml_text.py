"""Text of TOML files as settings; what Python's reader lets through and no TOML file may hold is refused."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from backtest.errors import quoted

#: One more than the largest whole number of TOML.
BEYOND = 2**63


def settings_of(text: str) -> dict[str, Any]:
    """Return the settings of a TOML text.

    Raises
    ------
    ValueError
        For text that is not TOML, whole numbers beyond 64 bits, and texts that hold a null character.
    """
    try:
        settings = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    for path, value in _leaves(settings):
        if isinstance(value, int) and not -BEYOND <= value < BEYOND:
            raise ValueError(f"{path} is a whole number beyond 64 bits, {quoted(value)}")
        if isinstance(value, str) and "\0" in value:
            raise ValueError(f"{path} holds a null character, {quoted(value)}")
    return settings


def _leaves(settings: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every value that is neither a table nor a list, by its path; as many levels down as there are."""
    left: list[tuple[str, Any]] = list(settings.items())
    while left:
        path, value = left.pop(0)
        if isinstance(value, dict):
            left += [(f"{path}.{name}", inner) for name, inner in value.items()]
        elif isinstance(value, list):
            left += [(f"{path}[{number}]", inner) for number, inner in enumerate(value)]
        else:
            yield path, value
