"""Every public function has an example in its docstring, and each example runs and prints what it says."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from example_world import names
from test_public_names import OFFERED, TOPICS

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PARSER = doctest.DocTestParser()


def public() -> Iterator[tuple[str, Any]]:
    """Yield every function and class that is offered, once, by the first name it is offered under."""
    seen: set[int] = set()
    for package in (*OFFERED, *TOPICS):
        for name in (OFFERED | TOPICS)[package].split():
            found = getattr(import_module(package), name)
            documented = callable(found) and str(getattr(found, "__module__", "")).startswith("backtest")
            if documented and not isinstance(found, ModuleType) and id(found) not in seen:
                seen.add(id(found))
                yield f"{package}.{name}", found


PUBLIC = {name: found for name, found in public() if isinstance(found, type) or hasattr(found, "__code__")}


def test_public_functions__have_an_example_each() -> None:
    own = [name for name, found in PUBLIC.items() if not isinstance(found, type) or name.count(".") == 1]
    assert [name for name in own if ">>>" not in (PUBLIC[name].__doc__ or "")] == []


@pytest.mark.parametrize("name", [name for name, found in PUBLIC.items() if ">>>" in (found.__doc__ or "")])
def test_example__prints_what_it_says(name: str) -> None:
    examples = PARSER.get_doctest(PUBLIC[name].__doc__, names(), name, None, 0)
    report: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(examples, out=report.append)
    assert not report, "".join(report)
