"""Charts as files: PNG, SVG whose text stays text, PDF; all with a title and a description.

The same chart gives the same bytes: files hold no date.
"""

from __future__ import annotations

from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure as AnyFigure

from backtest.chart.style.figure import Figure, Heading
from backtest.errors import ArgumentError

FORMATS = ("png", "svg", "pdf")

#: Text of vector files stays text; names inside an SVG follow from its contents.
VECTOR: Any = {"svg.fonttype": "none", "svg.hashsalt": "backtest", "pdf.fonttype": 42}


def save(figure: AnyFigure, path: str | Path) -> None:
    """Write a chart to a file, in the format of its ending: png, svg or pdf.

    An SVG keeps its text as text, and begins with the chart's title and a description for screen readers; PNG and
    PDF hold both in their properties.

    Raises
    ------
    ArgumentError
        For another ending.

    Examples
    --------
    >>> from backtest.chart.levels import map_figure
    >>> from backtest.chart.style import save
    >>> from backtest.study.levels import level_map
    >>> import backtest
    >>> unfunded = backtest.sweep(book, market.without_funding(), venue)
    >>> save(map_figure(level_map(unfunded, market, "BTCUSDT", noon), title="BTCUSDT"), folder / "map.svg")
    """
    target = Path(path)
    kind = target.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise ArgumentError(f"must end with .png, .svg or .pdf, is {target.name!r}", argument="path")
    target.write_bytes(as_bytes(figure, kind))


def as_bytes(figure: AnyFigure, kind: str) -> bytes:
    """Return a chart as the bytes of a file of one of the formats."""
    heading = figure.heading if isinstance(figure, Figure) else Heading()
    file = BytesIO()
    with rc_context(VECTOR):
        figure.savefig(file, format=kind, metadata=_metadata(heading, kind))
    return file.getvalue() if kind != "svg" else _described(file.getvalue().decode(), heading).encode()


def _metadata(heading: Heading, kind: str) -> dict[str, Any]:
    """Return title and description under the names that a format has for them, without a date."""
    title, description = heading.title or None, heading.description or None
    if kind == "png":
        return {name: text for name, text in (("Title", title), ("Description", description)) if text}
    if kind == "pdf":
        return {"Title": title, "Subject": description, "CreationDate": None}
    return {"Date": None}


def _described(svg: str, heading: Heading) -> str:
    """Return an SVG that begins with its title and description, and is an image to screen readers."""
    if not heading.title:
        return svg
    start = svg.index("<svg ")
    end = svg.index(">", start)
    words = (
        f'<title id="title">{escape(heading.title)}</title>\n <desc id="desc">{escape(heading.description)}</desc>'
    )
    return f'{svg[:end]} role="img" aria-labelledby="title desc">\n {words}{svg[end + 1 :]}'
