"""Charts of a command as its options ask for them: their look, size and time zone, and their files."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from backtest.cli.common.appearance import PICTURES
from backtest.cli.common.outputs import Outputs


def look_of(options: Namespace) -> Any:
    """Return the look of the charts."""
    from backtest.chart.style.looks import COLOURS

    return COLOURS[options.colours][options.look]


def dress(options: Namespace, *, timed: bool = True, fixed: bool = True) -> dict[str, Any]:
    """Return the arguments of a figure.

    Parameters
    ----------
    timed : whether it has a time axis
    fixed : whether it has one size by default; if not, the usual size is its own
    """
    from backtest.chart.style.looks import SIZES

    own = not fixed and options.size == "screen"
    return {
        "look": look_of(options),
        **({} if own else {"size": SIZES[options.size]}),
        **({"timezone": options.timezone} if timed else {}),
    }


def in_zone(options: Namespace, time: datetime) -> datetime:
    """Return a time in the zone of the charts."""
    return time.astimezone(ZoneInfo(options.timezone))


def notes(options: Namespace, texts: Sequence[str]) -> list[str]:
    """Return the notes of a chart and the caller's caption."""
    return [*texts, *([options.caption.strip()] if options.caption.strip() else [])]


def paged(page: Any, options: Namespace) -> Any:
    """Return a page with its brand and watermark, for a frame in another where that is asked for."""
    marked = page.branded(options.brand, options.watermark)
    return marked.embedded() if options.embed else marked


def save(files: Outputs, name: str, draw: Callable[[], Any], options: Namespace, *, keep: bool = False) -> bytes:
    """Draw a chart once, and write it in every format of pictures that the options name.

    Returns
    -------
    The chart as PNG, for a page, where it is to be kept; else nothing.
    """
    kinds = [kind for kind in options.formats if kind in PICTURES]
    if not kinds and not keep:
        return b""
    from backtest.chart.style.branding import branded
    from backtest.chart.style.files import as_bytes

    figure = branded(draw(), options.brand, options.watermark)
    drawn = {kind: as_bytes(figure, kind) for kind in dict.fromkeys([*kinds, *(["png"] if keep else [])])}
    for kind in kinds:
        files.path(f"{name}.{kind}").write_bytes(drawn[kind])
    figure.clear()
    return drawn["png"] if keep else b""
