"""Checks of engine arguments."""

from __future__ import annotations

from backtest.errors import ArgumentError


def require_threads(threads: int | None) -> None:
    """Refuse a count of threads below one."""
    if threads is not None and threads < 1:
        sentence = f"must be a whole number of at least 1, or None for one per core, is {threads!r}"
        raise ArgumentError(sentence, argument="threads")
