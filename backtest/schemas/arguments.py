"""What public functions are given: names, kinds and choices checked by their own annotations, in one place.

A function marked :func:`checked` takes what its annotations say and what converts to it without loss: any frame
for a polars one (:mod:`~backtest.schemas.given_frames`), numpy's numbers for Python's, and what a class of this
package reads itself (``from_given``: a venue's name for a :class:`~backtest.Venue`). Everything else, an unknown
or a missing argument included, is refused with an error that names it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar, get_args, get_type_hints

from backtest.errors import ArgumentError, DataError
from backtest.schemas.conversion import converted, is_of_polars, meant
from backtest.schemas.forks import require_threads

P = ParamSpec("P")

R = TypeVar("R")

#: What polars says of amounts that cannot be counted in whole units.
UNCOUNTABLE = "conversion from `f64` to `i128` failed"


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a public function: what it is given is bound, checked and converted by its annotations.

    What polars refuses of a frame inside (a missing column above all) is raised as a :class:`DataError` of the
    frames that were given.
    """

    @wraps(function)
    def call(*given: P.args, **named: P.kwargs) -> R:
        require_threads()
        bound = _bound(function, given, named)
        kinds = _kinds(function)
        for name, value in bound.arguments.items():
            if name in kinds:
                bound.arguments[name] = converted(value, kinds[name], name)
        try:
            return function(*bound.args, **bound.kwargs)
        except _refusals() as error:
            sentence = _unusable(function, bound.arguments, error)
            if sentence is None:
                raise
            raise DataError(sentence) from error

    return call


def spelled(settings: type[R]) -> type[R]:
    """Mark a dataclass that checks its values itself: unknown and missing arguments are refused here."""
    build: Any = settings.__init__

    @wraps(build)
    def call(self: Any, *given: Any, **named: Any) -> None:
        _bound(build, (self, *given), named)
        build(self, *given, **named)

    settings.__init__ = call  # type: ignore[method-assign]
    return settings


@cache
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


@cache
def _kinds(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotation of each argument that is one, as a type."""
    hints = get_type_hints(function)
    single = (
        p for p in _signature(function).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    )
    return {p.name: hints[p.name] for p in single if p.name in hints}


def _refusals() -> tuple[type[Exception], ...]:
    """Return what polars raises; rules, which do without it, should not wait for its import."""
    loaded = sys.modules.get("polars")
    return () if loaded is None else (loaded.exceptions.PolarsError,)


@cache
def _takes_frames(function: Callable[..., Any]) -> bool:
    flat = [one for kind in _kinds(function).values() for one in (kind, *get_args(kind))]
    return any(is_of_polars(kind) for kind in flat)


@cache
def _names(function: Callable[..., Any]) -> list[str]:
    """Return the arguments of a function, those of unpacked keywords for themselves, any others as ``**name``."""
    names: list[str] = []
    for p in _signature(function).parameters.values():
        if p.kind is not p.VAR_KEYWORD:
            names.append(p.name)
        elif unpacked := get_args(get_type_hints(function)[p.name]):
            names += get_type_hints(unpacked[0])
        else:
            names.append(f"**{p.name}")
    return [name for name in names if name != "self"]


def _bound(function: Callable[..., Any], given: Any, named: Any) -> inspect.BoundArguments:
    names = _names(function)
    called = function.__qualname__.removesuffix(".__init__")
    unknown = [name for name in named if name not in names]
    if unknown and not names[-1].startswith("**"):
        raise ArgumentError(
            f"{called} has no argument {unknown[0]}{meant(unknown[0], names)} (there are {', '.join(names)})"
        )
    try:
        return _signature(function).bind(*given, **named)
    except TypeError as error:
        raise ArgumentError(f"{called}: {error} (its arguments are {', '.join(names)})") from None


def _unusable(function: Callable[..., Any], given: Mapping[str, Any], error: Exception) -> str | None:
    """Return what is wrong with frames that polars refused; None where a function takes none."""
    frames = {name: value.columns for name, value in given.items() if type(value).__name__ == "DataFrame"}
    reason = str(error).strip().split("\n", 1)[0]
    if reason.startswith(UNCOUNTABLE):
        return "amounts must be numbers below 2^96 units to be added up: some are not"
    if not _takes_frames(function):
        return None
    missing = reason.removeprefix("unable to find column ").split(";")[0].strip("\"'` ")
    lacking = [name for name, columns in frames.items() if missing not in columns]
    if type(error).__name__ != "ColumnNotFoundError" or not lacking:
        return f"{' or '.join(frames)} cannot be used: {reason}"
    name, columns = lacking[0], frames[lacking[0]]
    return (
        f"{name} must have a column {missing}{meant(missing, columns)} (there are {', '.join(columns) or 'none'})"
    )
