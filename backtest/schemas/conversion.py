"""Values that a caller gave, converted to the kinds that annotations ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np
import numpy.typing as npt

from backtest.errors import ArgumentError, kind_of

#: How much two names share that may be the same word misspelt.
ALIKE = 0.7

_WORDS: dict[Any, str] = {
    float: "a number",
    int: "a whole number",
    bool: "True or False",
    str: "text",
    NoneType: "None",
    "DataFrame": "a frame",
    "LazyFrame": "a frame",
    "Series": "a column of values",
}


def meant(name: str, known: Iterable[str]) -> str:
    """Return the question whether a name was meant for a known one, with a comma before it; nothing if unlike."""
    found = closest(name, known)
    return f", did you mean {found}?" if found else ""


def closest(name: str, known: Iterable[str], alike: float = ALIKE) -> str | None:
    """Return the known name most like another, whatever their case and underscores; None where none is."""
    plain = {other.lower().replace("_", ""): other for other in known}
    found = get_close_matches(name.lower().replace("_", ""), plain, n=1, cutoff=alike)
    return plain[found[0]] if found else None


def converted(value: Any, kind: Any, name: str, wanted: str = "") -> Any:
    """Return a value as an annotation wants it; ``wanted`` says what that is in better words than its own.

    Raises
    ------
    ArgumentError
        For a value that is not of the kind, and does not convert to it.
    """
    try:
        return _converted(value, kind, name)
    except _OtherKindError:
        asked = meant(value, _choices(kind)) if isinstance(value, str) else ""
        sentence = f"must be {wanted or _wanted(kind)}, is {kind_of(value)}{asked}"
        raise ArgumentError(sentence, argument=name) from None


class _OtherKindError(Exception):
    """A value that is not of the kind wanted."""


def is_of_polars(kind: Any) -> bool:
    """Return whether a kind is a class of polars, without importing it."""
    return str(getattr(kind, "__module__", "")).startswith("polars")


def _converted(value: Any, kind: Any, name: str) -> Any:
    origin = get_origin(kind)
    if kind is Any or isinstance(kind, TypeVar) or kind is object:
        return value
    if kind == npt.ArrayLike or origin is np.ndarray or kind is np.ndarray:
        return _array(value)
    if origin in (Union, UnionType):
        return _any_of(value, get_args(kind), name)
    if origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in get_args(kind)):
            raise _OtherKindError
        return value
    if origin is not None:
        return _container(value, origin, get_args(kind), name)
    if is_of_polars(kind):
        from backtest.schemas.given_frames import as_given  # polars costs half a second, which rules do without

        found = as_given(value, kind, name)
        if found is NotImplemented:
            raise _OtherKindError
        return found
    if kind in (float, int, bool):
        return _number(value, kind)
    if hasattr(kind, "from_given"):
        return kind.from_given(value, name)
    if not isinstance(kind, type):
        return value
    if not isinstance(value, kind):
        raise _OtherKindError
    return value


def _any_of(value: Any, kinds: Sequence[Any], name: str) -> Any:
    """Return a value as the first of several kinds that it is, or that it converts to."""
    plain = [kind for kind in kinds if isinstance(kind, type) and get_origin(kind) is None]
    if any(isinstance(value, kind) for kind in plain if not (isinstance(value, bool) and kind is not bool)):
        return value
    for kind in kinds:
        if kind is NoneType:
            continue
        try:
            return _converted(value, kind, name)
        except _OtherKindError:
            pass
    raise _OtherKindError


def _container(value: Any, origin: Any, inner: tuple[Any, ...], name: str) -> Any:
    if origin is Callable or getattr(origin, "__name__", "") == "Callable":
        if not callable(value):
            raise _OtherKindError
        return value
    if issubclass(origin, Mapping):
        of_keys, of_values = inner or (Any, Any)
        return _mapping(value, of_keys, of_values, name)
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
        raise _OtherKindError
    if not issubclass(origin, Sequence):
        return value  # may be read once only: its reader looks at what comes out
    many = value.tolist() if isinstance(value, np.ndarray) else list(value)
    fixed = origin is tuple and Ellipsis not in inner
    if fixed and len(many) != len(inner):
        raise _OtherKindError
    each = inner if fixed else inner[:1] * len(many)
    found = [
        converted(one, kind, f"{name}[{row}]") for row, (one, kind) in enumerate(zip(many, each, strict=True))
    ]
    if isinstance(value, origin) and all(a is b for a, b in zip(found, many, strict=True)):
        return value
    return list(found) if origin is list else tuple(found)


def _mapping(value: Any, of_keys: Any, of_values: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        raise _OtherKindError
    keys = [converted(key, of_keys, f"{name}: a key") for key in value]
    values = [converted(one, of_values, f"{name}[{key!r}]") for key, one in value.items()]
    kept = all(a is b for a, b in zip((*keys, *values), (*value, *value.values()), strict=True))
    return value if kept else dict(zip(keys, values, strict=True))


def _number(value: Any, kind: type) -> Any:
    if isinstance(value, bool | np.bool_):
        if kind is not bool:
            raise _OtherKindError
        return bool(value)
    if isinstance(value, int) or (isinstance(value, float) and kind is float):
        if kind is bool:
            raise _OtherKindError
        return value
    if kind is bool or not isinstance(value, Integral if kind is int else Real):
        raise _OtherKindError
    return kind(value)


def _array(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        return value
    if value is None or isinstance(value, str | Mapping):
        raise _OtherKindError
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise _OtherKindError from None


def _wanted(kind: Any) -> str:
    """Return what a kind is called, in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        words = list(dict.fromkeys(_wanted(one) for one in inner))
        return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if kind in _WORDS or is_of_polars(kind):
        return _WORDS.get(kind) or _WORDS.get(kind.__name__, f"a polars {kind.__name__}")
    if origin is not None and origin is not np.ndarray:
        if getattr(origin, "__name__", "") == "Callable":
            return "a function"
        return (
            "a mapping" if issubclass(origin, Mapping) else f"a {'tuple' if origin is tuple else 'list'} of values"
        )
    if origin is np.ndarray or kind == npt.ArrayLike:
        return "an array of numbers"
    article = "an" if kind.__name__[:1] in "AEIOUaeiou" else "a"
    return f"{article} {kind.__name__}"


def _choices(kind: Any) -> list[str]:
    """Return the words that a kind may be."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else [kind]
    return [str(word) for one in kinds if get_origin(one) is Literal for word in get_args(one)]
