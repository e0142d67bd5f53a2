"""Options of every command that draws: look, colours, size, formats and time zone of its charts.

Nothing but argparse is imported here: ``--help`` must come at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from backtest.cli.common import types

PICTURES = ("png", "svg", "pdf")


class Formats(argparse.Action):
    """Formats, separated by commas or spaces."""

    def __init__(self, *settings: Any, known: Sequence[str], **more: Any) -> None:
        super().__init__(*settings, **more)
        self.known = known

    def __call__(self, _: Any, namespace: argparse.Namespace, values: Any, *__: Any) -> None:
        """Keep the formats, each once; refuse others."""
        given = dict.fromkeys(name for text in values for name in text.split(",") if name)
        for name in given:
            if name not in self.known:
                choices = ", ".join(map(repr, self.known))
                raise argparse.ArgumentError(self, f"invalid choice: {name!r} (choose from {choices})")
        if not given:
            raise argparse.ArgumentError(self, f"must name at least one of {', '.join(self.known)}")
        setattr(namespace, self.dest, list(given))


def add_appearance(
    parser: argparse.ArgumentParser, *, more: Sequence[str] = (), default: Sequence[str] = ("png",)
) -> Any:
    """Add the options of charts, and return their group.

    Parameters
    ----------
    more : formats of this command beside those of pictures
    default : formats that are written where none are named
    """
    group = parser.add_argument_group("charts")
    known = (*PICTURES, *more)
    group.add_argument(
        "--formats", nargs="+", action=Formats, known=known, default=list(default), metavar="FORMAT",
        help=f"any of {', '.join(known)} (default: {' '.join(default)}); svg keeps its text as text",
    )  # fmt: skip
    group.add_argument(
        "--look", choices=("light", "dark"), default="light", help="on a light or dark background (default: light)"
    )
    group.add_argument(
        "--colours", choices=("ours", "vendor"), default="ours",
        help="ours, readable in grey and with every colour blindness (default), or vendor: purple to yellow, "
        "longs red, shorts green",
    )  # fmt: skip
    group.add_argument(
        "--size", choices=("screen", "slide", "print", "square", "portrait"), default="screen",
        help="1600 x 1000 (default), 1920 x 1080, 7 inches at 300 dots, 1080 x 1080, or a phone held upright, "
        "1080 x 1920",
    )  # fmt: skip
    group.add_argument(
        "--timezone", type=types.timezone, default="UTC", metavar="ZONE",
        help="zone of the charts' times, like Europe/Berlin (default: UTC)",
    )  # fmt: skip
    group.add_argument(
        "--caption", type=str, default="", metavar="TEXT", help="text for the footer of every chart"
    )
    if "html" in more:
        group.add_argument(
            "--embed", action="store_true", help="pages for a frame in another: without title, tables and notes"
        )
    group.add_argument("--brand", type=str, default="", metavar="TEXT", help="name in the corner of every chart")
    group.add_argument("--watermark", type=str, default="", metavar="TEXT", help="faint text across every chart")
    return group
