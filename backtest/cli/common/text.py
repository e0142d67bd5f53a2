"""Text for a terminal: aligned tables, lists of named facts, numbers a reader can take in."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime
from shutil import get_terminal_size

#: What a cell shows where there is nothing to show.
NOTHING = "-"

WIDEST = 110

#: Keeps a figure and its sign on one line.
HARD_SPACE = "\N{NO-BREAK SPACE}"

#: Figures of a price or an amount that are shown.
FIGURES = 7


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Return rows as aligned columns under a header, whose lines may be several and carry the units.

    Parameters
    ----------
    header : one a column
    rows : cells as they are to be read
    left : how many columns, from the first, are aligned to the left; numbers stand to the right
    """
    titles = [title.split("\n") for title in header]
    deepest = max(map(len, titles))
    head = [[""] * (deepest - len(lines)) + lines for lines in titles]
    lines = [*zip(*head, strict=True), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    rule = ["-" * width for width in widths]
    lines.insert(deepest, tuple(rule))
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def facts(named: Iterable[tuple[str, str]], indent: str = "  ") -> str:
    """Return named facts, one below the other, each wrapped behind its name."""
    pairs = list(named)
    wide = max((len(name) for name, _ in pairs), default=0) + 2
    lines = []
    for name, fact in pairs:
        first = f"{indent}{name.ljust(wide)}"
        lines.append(
            textwrap.fill(
                fact.replace(" %", HARD_SPACE + "%"),
                width(),
                initial_indent=first,
                subsequent_indent=" " * len(first),
                break_on_hyphens=False,
                break_long_words=False,
            ).replace(HARD_SPACE, " ")
        )
    return "\n".join(lines)


def paragraph(text: str) -> str:
    """Return a paragraph as wide as the terminal."""
    whole = text.strip().replace(" %", HARD_SPACE + "%")
    lines = textwrap.fill(whole, width(), break_on_hyphens=False, break_long_words=False)
    return lines.replace(HARD_SPACE, " ")


def width() -> int:
    """Return how many letters a line has."""
    return min(get_terminal_size((100, 24)).columns, WIDEST)


def number(value: float | None, decimals: int = 0) -> str:
    """Return a number with separators of thousands, or a dash where there is none."""
    return NOTHING if value is None or value != value else f"{value:,.{decimals}f}"


def percent(value: float | None, decimals: int = 2) -> str:
    """Return a fraction as per cent, without the sign: that stands in the header."""
    return NOTHING if value is None or value != value else f"{100 * value:,.{decimals}f}"


def price(value: float | None) -> str:
    """Return a price or an amount in seven figures at most, without zeros that say nothing."""
    return column([value])[0]


def column(values: Sequence[float | None]) -> list[str]:
    """Return numbers for one column: as many decimals for all as the largest leaves of seven figures."""
    present = [abs(value) for value in values if value is not None and value == value]
    digits = len(f"{max(present, default=0.0):.0f}") if max(present, default=0.0) >= 1 else 0
    written = [number(value, max(0, FIGURES - digits)) for value in values]
    numbers = [text for text in written if text != NOTHING]
    while numbers and "." in numbers[0] and all(text.endswith(("0", ".")) for text in numbers):
        written = [text if text == NOTHING else text[:-1] for text in written]
        numbers = [text[:-1] for text in numbers]
    return written


def moment(time: datetime) -> str:
    """Return a time to the minute, or to the second where it has any."""
    return f"{time:%Y-%m-%d %H:%M:%S}" if time.second else f"{time:%Y-%m-%d %H:%M}"


def decimals(largest: float) -> int:
    """Return how many decimals show a column of percentages, given its largest fraction."""
    return 2 if largest >= 0.01 or largest == 0 else 3 if largest >= 0.001 else 4


def day(time: datetime) -> str:
    """Return the day of a time."""
    return f"{time:%Y-%m-%d}"


def plural(count: float, noun: str) -> str:
    """Return a count with its noun: "1 gap", "2 gaps"."""
    return f"{count:,.0f} {noun}{'' if count == 1 else 's'}"
