"""A self-contained page: its head, its style on screen and in print, its blocks."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

#: Size of a page in the output of a cell.
FRAME = "width: 100%; height: 54rem; border: 0"


class Page(str):
    """A page in one file: text that a notebook shows as a page."""

    __slots__ = ()

    def branded(self, brand: str = "", watermark: str = "") -> Page:
        """Return the page with a name in its corner and a faint one across it."""
        marks = f'<p class="brand">{escape(brand)}</p>' if brand else ""
        marks += f'<p class="watermark" aria-hidden="true">{escape(watermark)}</p>' if watermark else ""
        return Page(self.replace("</main>", f"{marks}</main>", 1))

    def embedded(self) -> Page:
        """Return the page for a frame in another: the chart and its controls, without title, tables and notes."""
        return Page(self.replace("<body>", '<body class="embed">', 1))

    def _repr_html_(self) -> str:
        """Return a frame with the page inside, for the output of a cell."""
        return f'<iframe srcdoc="{escape(self, quote=True)}" style="{FRAME}"></iframe>'


def page(title: str, body: str, *, scripts: Sequence[str] = (), styles: Sequence[str] = ()) -> Page:
    """Return a page with its style and scripts inside.

    Parameters
    ----------
    title
        In plain text.
    body
        HTML.
    scripts, styles
        Names of scripts and further styles of this package, without their ending.
    """
    dress = "".join(_file(f"{name}.css") for name in ("page", *styles))
    code = "".join(f"<script>{_file(f'{name}.js')}</script>" for name in scripts)
    return Page(
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{dress}</style></head><body>{body}{code}</body></html>\n"
    )


def block(name: str) -> str:
    """Return a block of HTML that a script of the same name fills."""
    return _file(f"{name}.html")


def section(name: str, title: str, content: str) -> str:
    """Return a section with an anchor."""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{content}</section>'


def sentences(texts: Iterable[str]) -> str:
    """Return sentences as a list."""
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


def picture(png: bytes, caption: str) -> str:
    """Return a PNG as a figure; its caption is also its text for screen readers."""
    data, text = b64encode(png).decode(), escape(caption, quote=True)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    left: int = 1,
    sort_by: Iterable[Sequence[float | str | None]] | None = None,
    names: Iterable[str] | None = None,
) -> str:
    """Return rows as a table.

    Parameters
    ----------
    caption, header, rows
        In plain text; lines of a cell are separated by line feeds.
    left
        How many columns, from the first, are words and aligned to the left.
    sort_by
        The value of each cell that its column is sorted by; None: the table cannot be sorted.
    names
        A name for each row, which a chart shows when the row is chosen.
    """
    keys = None if sort_by is None else list(sort_by)
    labels = None if names is None else list(names)
    lines, before = [], None
    for number, row in enumerate(rows):
        apart = keys is None and before is not None and row[0] != before
        before = row[0]
        mark = ' class="apart"' if apart else ""
        mark += f' data-name="{escape(labels[number], quote=True)}" tabindex="0"' if labels is not None else ""
        lines.append(f"<tr{mark}>{_cells('td', row, left, None if keys is None else keys[number])}</tr>")
    kind = "" if keys is None else ' class="sortable"'
    return (
        f'<div class="wide"><table{kind}><caption>{escape(caption)}</caption><thead><tr>'
        f"{_cells('th', header, left, None)}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cells(kind: str, texts: Sequence[str], left: int, keys: Sequence[float | str | None] | None) -> str:
    """Return cells; the first columns are words, aligned to the left."""
    cells = []
    for place, text in enumerate(texts):
        mark = ' class="word"' if place < left else ""
        if keys is not None:
            key = keys[place]
            mark += f' data-key="{escape("" if key is None else str(key), quote=True)}"'
        cells.append(f"<{kind}{mark}>{escape(text).replace(chr(10), '<br>')}</{kind}>")
    return "".join(cells)


def _file(name: str) -> str:
    return (resources.files("backtest.chart.page") / name).read_text("utf-8")
