"""Lazy packages: the names in a package's stub are public, each imported on first use (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def attach(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return the ``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Parameters
    ----------
    package
        Its ``__name__``.
    file
        Its ``__file__``. The stub beside it (``__init__.pyi``, which type checkers read too) imports every public
        name from where it is defined, a line ``from home import name as name`` each. It is not parsed: importing a
        parser would take longer than a command has to print its help.

    Returns
    -------
    tuple
        A function from a name to its object (AttributeError for a name that is not public), one that lists the
        names, and the names.
    """
    with open(f"{file}i", encoding="utf-8") as stub:  # noqa: PTH123
        imports = [line.split() for line in stub if line.startswith("from ")]
    home_of = {name: home for _, home, _, name, _, _ in imports}
    names = sorted(home_of)

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = home_of[name]
        return import_module(f"{package}.{name}") if home == package else getattr(import_module(home), name)

    return __getattr__, names.copy, names
