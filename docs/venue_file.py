"""Writes docs/venue_file.md from the checks of venue files: ``python docs/venue_file.py``."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

from backtest.rules.scaffold.fields import SECTIONS, Field, venue_fields

PAGE = Path(__file__).with_name("venue_file.md")

HEAD = """\
# The venue file

A venue is one TOML file. A bundled one is a good beginning:

```
backtest venues new own.toml --like binance
backtest venues own.toml
backtest run --venue own.toml --symbol BTCUSDT
```

The second command prints every rule as it is applied, its source, and what is unknown. In Python a venue is
`Venue.load("own.toml")`, or `Venue.from_dict(settings)` of the same fields as dictionaries and lists.

The smallest file:

```toml
name = "own"
title = "An exchange"

[[contracts.BTCUSDT.tables]]
name = "2021-03-18"
from = 2021-03-18T09:00:00Z
rows = [
  { floor = 0, rate = 0.004, max_leverage = 125 },
  { floor = 50_000, rate = 0.005, max_leverage = 100 },
]
```

All mistakes of a file are reported together, each by its path. Fractions are of 1: 0.005 is half a percent. Dates
are UTC; without a time of day they are midnight. A table says when it was in force by `from` and `until`, by
`seen`, or by `in_force`; without any of them it is taken as always in force, and printed so.
[The model](model.md) says how the rules are applied, and how tables are chosen by date.

This page is written by `python docs/venue_file.py` from the checks themselves.
"""

TITLES = {"": "Top of the file", "source": "Sources of rules"}
ARRAYS = ("contracts.SYMBOL.tables",)


def page() -> str:
    """Return the page."""
    found = list(venue_fields())
    sections = (
        "\n".join(_section(name, [field for field in found if field.section == name])) for name in SECTIONS
    )
    return "\n".join([HEAD, *sections])


def _section(name: str, own: list[Field]) -> Iterator[str]:
    title = TITLES.get(name) or (f"`[[{name}]]`" if name in ARRAYS else f"`[{name}]`")
    if name.endswith(".rows"):
        title = "Rows of a table"
    yield f"## {title}\n\n{SECTIONS[name]}\n"
    yield "| field | type | unit | default | meaning | example |"
    yield "|---|---|---|---|---|---|"
    for field in own:
        kind = ", ".join(f"`{choice}`" for choice in field.choices) or field.kind
        default = field.default if field.default in ("required", "no limit", "") else f"`{field.default}`"
        example = f"`{field.name} = {field.example}`" if field.example else ""
        yield f"| `{field.name}` | {kind} | {field.unit} | {default} | {field.meaning} | {example} |"
    yield ""


if __name__ == "__main__":
    ArgumentParser(description=__doc__).parse_args()
    PAGE.write_text(page(), "utf-8")
    print(PAGE)
