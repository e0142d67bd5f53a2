"""Display of values: at most three lines of text, and a small table in a notebook."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from html import escape
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)

WIDTH, LINES = 100, 3  # of a text
LONGEST = 160  # characters of one value


def shown(*names: str) -> Callable[[Class], Class]:
    """Return a class decorator that gives a ``repr`` and an HTML table of some attributes.

    Put it below ``@dataclass``, which keeps the ``repr`` it finds. A class's own ``repr`` stays.

    Parameters
    ----------
    *names
        Attributes to show; none: the fields that differ from their default.

    Returns
    -------
    callable
        The decorator, which returns the class it is given.
    """

    def text(value: Any) -> str:
        return _text(value, names)

    def table(value: Any) -> str:
        return _table(value, names)

    def decorate(cls: Class) -> Class:
        if "__repr__" not in vars(cls) or issubclass(cls, tuple):
            cls.__repr__ = text  # type: ignore[assignment]
        cls._repr_html_ = table  # type: ignore[attr-defined]
        return cls

    return decorate


def _text(value: Any, names: tuple[str, ...]) -> str:
    content = "; ".join(f"{name}: {words}" for name, words in _entries(value, names))
    lines = textwrap.wrap(f"{type(value).__name__}({content})", WIDTH, max_lines=LINES, placeholder=" …)")
    return "\n".join(lines)


def _table(value: Any, names: tuple[str, ...]) -> str:
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(words)}</td></tr>'
        for name, words in _entries(value, names)
    )
    return f'<table><caption style="text-align:left">{escape(type(value).__name__)}</caption>{rows}</table>'


def _entries(value: Any, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each attribute as text; None is left out."""
    for name in names or tuple(_changed(value)):
        if words := _words(getattr(value, name)):
            yield name.replace("_", " "), textwrap.shorten(words, LONGEST, placeholder=" …")


def _changed(value: Any) -> Iterator[str]:
    if not is_dataclass(value):
        yield from value._fields
        return
    for item in fields(value):
        default = item.default if item.default_factory is MISSING else item.default_factory()
        if default is MISSING or getattr(value, item.name) is not default:
            yield item.name


def _words(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "height"):
        return f"{value.height:,} rows of {', '.join(value.columns)}"
    if hasattr(value, "shape"):
        return f"{' x '.join(f'{length:,}' for length in value.shape)} numbers"
    if isinstance(value, Mapping | tuple | list) and not hasattr(value, "_fields"):
        return ", ".join(str(key) if isinstance(value, Mapping) else _words(key) for key in value)
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int | float):
        return f"{value:,.10g}"
    if hasattr(value, "isoformat"):
        return str(value.isoformat(" ")[:16])
    return str(getattr(value, "name", value))
