"""Report on a grid of policies in one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from backtest.chart.page.page import page, picture, section, sentences, table
from backtest.cli.policy.results import Table

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
    """A chart as PNG, with its caption, which is also its text for screen readers."""

    png: bytes
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
            ("answer", "Findings", sentences(self.answer)),
            ("assumed", "Assumptions", self._assumed()),
            (
                "tables",
                "Tables",
                "".join(table(own.caption, own.header, own.rows, left=own.left) for own in self.tables),
            ),
            ("charts", "Charts", "".join(picture(own.png, own.caption) for own in self.pictures)),
            ("changes", "What would change the conclusion", sentences(self.changes)),
            ("words", "How to read it", sentences(self._words())),
        )
        links = "".join(f'<a href="#{name}">{escape(title)}</a>' for name, title, _ in sections)
        body = "".join(section(name, title, content) for name, title, content in sections)
        return page(
            self.question,
            f'<main><h1>{escape(self.question)}</h1><p class="lead">A backtest on the books and histories below, '
            f"not a forecast: {escape(self.settlement)}.</p><nav>{links}</nav>{body}</main>"
            f"<footer>{escape(self.footer)}</footer>",
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
            "Fills at the liquidation price flatter every fund; fills at the worst price of the bar are worse the "
            "longer the bars are. Fills after the delay mostly lie between; where the delay reaches into the next "
            "bar, or orders have impact, they may cost more. Cells with several figures show the delay's, and "
            "these two behind it.",
            "Dominated: another cap leaves as much freedom for less shortfall, or more freedom for no more "
            "shortfall, under the same rates, terms and other rules.",
            *(REPLAYED if self.replayed else ()),
        ]
