"""Docstrings have whole sections in order, and the parameters of their signature; ruff checks the rest."""

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Iterator
from types import ModuleType

from numpydoc.validate import validate

import backtest

#: Sections not known or in another order; parameters that the signature does not have, or without their colon.
#: Parameters that mean the same everywhere (``ax``, ``market``) may be left out, and several may share a line.
CHECKS = {"GL06", "GL07", "PR02", "PR10"}

#: Nobody calls kernels by their docstrings.
UNREAD = ("backtest.__main__", "backtest.kernel")


def test_docstrings__have_whole_sections_and_the_parameters_of_their_signature():
    names = [module.name for module in pkgutil.walk_packages(backtest.__path__, "backtest.")]
    modules = [importlib.import_module(name) for name in names if not name.startswith(UNREAD)]
    documented = [name for module in modules for name in with_sections(module)]
    assert len(documented) > 200
    wrong = [fault for name in documented for fault in faults(name)]
    assert not wrong, "\n".join(wrong)


def with_sections(module: ModuleType) -> Iterator[str]:
    """Yield the public functions, classes and methods of a module whose docstrings have sections."""
    for name, found in vars(module).items():
        if name.startswith("_") or getattr(found, "__module__", None) != module.__name__:
            continue
        members = (
            {f"{name}.{key}": member for key, member in vars(found).items()} if inspect.isclass(found) else {}
        )
        for path, member in {name: found, **members}.items():
            if "---" in (getattr(member, "__doc__", None) or "") and "._" not in path:
                yield f"{module.__name__}.{path}"


def faults(name: str) -> Iterator[str]:
    """Yield what is wrong with a docstring."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sections that are not known, which GL06 tells too
        found = validate(name)
    lines = [line.strip() for line in found["docstring"].splitlines()]
    for code, said in found["errors"]:
        if code in CHECKS:
            yield f"{name}: {code} {said}"
    for line in lines:
        if "----" in line and line.strip("-"):
            yield f"{name}: an underline within a sentence: {line}"
