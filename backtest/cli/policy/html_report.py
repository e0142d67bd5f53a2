"""Report on a grid of policies in one HTML file."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from backtest.cli.policy.results import Table

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1B1F24; background: #fff;
  max-width: 60rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .2rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; padding-top: .6rem; border-top: 1px solid #E3E6EA; }
p.lead { color: #5B6470; margin: 0 0 1rem; }
ul { padding-left: 1.2rem; } li { margin: .35rem 0; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .2rem 1rem; margin: .5rem 0; }
dt { color: #5B6470; } dd { margin: 0; }
figure { margin: 1.2rem 0; } img { max-width: 100%; height: auto; }
figcaption { color: #5B6470; font-size: .9rem; }
div.wide { overflow-x: auto; margin: 1rem 0 1.6rem; }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; white-space: normal; }
th, td { padding: .22rem 0 .22rem .8rem; text-align: right; vertical-align: bottom; }
th { color: #5B6470; font-weight: 500; border-bottom: 1px solid #5B6470; }
td.word, th.word { text-align: left; padding-left: 0; padding-right: .4rem; }
tbody tr:nth-child(even) { background: #F7F8F9; }
tbody tr.apart td { border-top: 1px solid #E3E6EA; }
nav a { margin-right: 1rem; color: #2468B4; } footer { margin-top: 2.5rem; color: #5B6470; font-size: .85rem; }
@media print { body { margin: 0; max-width: none; font-size: 11pt; } nav { display: none; }
  table { font-size: 8pt; } figure, table { break-inside: avoid; } div.wide { overflow: visible; } }
"""


#: Explanations that apply to replays only.
REPLAYED = (
    "Triggered: equity fell to the maintenance margin. Restored: the procedure closed a part and left the rest "
    "to its holder. The liquidated shares in the tables by cap count every triggered position as fully closed.",
    "Losses of the liquidated: margins paid in, less what was paid back or is still held at the last mark, fees "
    "included.",
    "ADL notional: positions of counterparties in profit, closed because neither market, fund nor backstop took "
    "the liquidated ones. Profit given up: what they received below the mark at the worst price of that bar.",
    "Clawed back: taken from others' unrealised profits. Lost by the backstop: a gain is negative, and what it "
    "holds is valued at the last mark. What the fund, the backstop and others pay adds up to the losses beyond "
    "margins.",
)


@dataclass(frozen=True)
class Picture:
    """A chart file with its caption, which is also its text for screen readers."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Report:
    """Contents of the report, in order."""

    question: str
    answer: Sequence[str]
    assumed: Mapping[str, Sequence[tuple[str, str]]]  #: named facts by history and book
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    changes: Sequence[str]  #: what would change the conclusion
    settlement: str
    footer: str
    replayed: bool = False  #: whether amounts are of replays

    def html(self) -> str:
        """Return the report as a page with its style and pictures inside."""
        sections = (
            ("answer", "Findings", _list(self.answer)),
            ("assumed", "Assumptions", self._assumed()),
            ("tables", "Tables", "".join(_table(table) for table in self.tables)),
            ("charts", "Charts", "".join(_picture(picture) for picture in self.pictures)),
            ("changes", "What would change the conclusion", _list(self.changes)),
            ("words", "How to read it", _list(self._words())),
        )
        links = "".join(f'<a href="#{name}">{escape(title)}</a>' for name, title, _ in sections)
        body = "".join(
            f'<section id="{name}"><h2>{escape(title)}</h2>{content}</section>'
            for name, title, content in sections
        )
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.question)}</title><style>{STYLE}</style></head><body><main>"
            f'<h1>{escape(self.question)}</h1><p class="lead">A backtest on the books and histories below, '
            f"not a forecast: {escape(self.settlement)}.</p><nav>{links}</nav>{body}</main>"
            f"<footer>{escape(self.footer)}</footer></body></html>\n"
        )

    def _assumed(self) -> str:
        parts = []
        for name, named in self.assumed.items():
            rows = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in named)
            parts.append(f"<h3>{escape(name)}</h3><dl>{rows}</dl>")
        return "".join(parts)

    def _words(self) -> list[str]:
        return [
            "Freedom: the share of the intended notional that is opened, divided by how many times the intended "
            "margin is required for it. 100 % is what traders intended.",
            "Traders' response to a cap is not known. Same size: they post more margin. Same margin: they open a "
            "smaller position. Not opened: they do not trade. The truth lies between.",
            "Shortfall: losses of liquidated positions beyond their margin, which the fund or counterparties "
            "hit by "
            "ADL pay. Per million of the notional that traders intended.",
            "Fills at the liquidation price are the best case of every fund, fills at the worst price of the "
            "bar the "
            "worst. A cell with two figures shows these two.",
            "Dominated: another cap leaves as much freedom for less shortfall, or more freedom for no more "
            "shortfall, under the same rates, terms and other rules.",
            *(REPLAYED if self.replayed else ()),
        ]


def _list(sentences: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "</ul>"


def _picture(picture: Picture) -> str:
    data = b64encode(picture.path.read_bytes()).decode()
    text = escape(picture.caption, quote=True)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _table(table: Table) -> str:
    heads = _cells("th", table.header, table.left)
    rows, before = [], None
    for row in table.rows:
        apart = ' class="apart"' if before is not None and row[0] != before else ""
        before = row[0]
        rows.append(f"<tr{apart}>{_cells('td', row, table.left)}</tr>")
    return (
        f'<div class="wide"><table><caption>{escape(table.caption)}</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cells(kind: str, texts: Sequence[str], left: int) -> str:
    """Return cells; the first columns are words, aligned to the left."""
    marks = [' class="word"' if place < left else "" for place in range(len(texts))]
    lines = [escape(text).replace("\n", "<br>") for text in texts]
    return "".join(f"<{kind}{mark}>{line}</{kind}>" for mark, line in zip(marks, lines, strict=True))
