"""Layout of text for a terminal: aligned tables, lists of named facts, paragraphs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from shutil import get_terminal_size

WIDEST = 110

#: Keeps a figure and its sign on one line.
HARD_SPACE = "\N{NO-BREAK SPACE}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Return rows as aligned columns under a header, whose lines may be several and carry the units.

    Parameters
    ----------
    header : one per column
    rows : cells as text
    left : how many columns, from the first, are aligned to the left; numbers to the right
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
    """Return the width of a line."""
    return min(get_terminal_size((100, 24)).columns, WIDEST)
