"""A drawn figure in the colours of a look: what was drawn in the light one is recoloured, paper included.

Colours that a look has its own for are exchanged. Others are kept, or made lighter until they stand out from a
dark paper. Cells that are shaded by a colour map stay as they are, and so does text on them.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.figure import Figure as AnyFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.typing import ColorType

from backtest.chart.style import theme
from backtest.chart.style.looks import LIGHT, Look

F = TypeVar("F", bound=AnyFigure)

#: Least contrast with the paper, as the web's guidelines count it for lines and large text.
LEAST_CONTRAST = 3.2

#: Pale fills of the light look, and the part of a dark look's ink that takes their place.
PALE = {theme.MISSING.lower(): 0.13, "#aeb6c0": 0.30}

#: Text on shaded cells, whose colour follows from the cell's.
ON_CELLS = "on cells"


def restyled(figure: F, look: Look) -> F:
    """Give a figure that was drawn in the light look the colours of another: paper, text, axes and data.

    Examples
    --------
    >>> from backtest.chart.liquidations import cascade
    >>> from backtest.chart.style import DARK, restyled
    >>> from backtest.study.liquidations import flow
    >>> hourly = flow.by_interval(outcomes, start=bars["time"][0], end=bars["time"][-1])
    >>> figure = restyled(cascade(hourly, bars, title="BTCUSDT"), DARK)
    >>> figure.get_facecolor() == tuple(int(DARK.paper[place : place + 2], 16) / 255 for place in (1, 3, 5)) + (1,)
    True
    """
    if look is LIGHT:
        return figure
    figure.set_facecolor(look.paper)
    for ax in figure.axes:
        _restyle_axes(ax, look)
    for artist in figure.findobj(lambda found: found is not figure.patch and found is not figure):
        _restyle(artist, look)
    return figure


def _restyle_axes(ax: Axes, look: Look) -> None:
    """Recolour what axes draw later: labels of ticks and the grid."""
    for axis in (ax.xaxis, ax.yaxis):
        settings = axis.get_tick_params(which="major")
        own = [label.get_color() for label in axis.get_ticklabels()]
        changed = {name: _other(settings[name], look) for name in ("labelcolor", "grid_color") if name in settings}
        axis.set_tick_params(which="major", **changed)
        _keep(axis, own)


def _keep(axis: Axis, colours: list[ColorType]) -> None:
    for label, colour in zip(axis.get_ticklabels(), colours, strict=False):
        label.set_color(colour)


def _restyle(artist: Artist, look: Look) -> None:
    if isinstance(artist, Text):
        if artist.get_gid() != ON_CELLS:
            artist.set_color(_other(artist.get_color(), look))
        box = artist.get_bbox_patch()
        if box is not None:
            _restyle(box, look)
    elif isinstance(artist, Line2D):
        face, edge = artist.get_markerfacecolor(), artist.get_markeredgecolor()
        artist.set_color(_other(artist.get_color(), look))
        artist.set_markerfacecolor(_other(face, look))
        artist.set_markeredgecolor(_other(edge, look))
    elif isinstance(artist, Patch):
        face, edge = artist.get_facecolor(), artist.get_edgecolor()
        artist.set_facecolor(_other(face, look))
        artist.set_edgecolor(_other(edge, look))
    elif isinstance(artist, Collection) and artist.get_array() is None:
        for read, write in (
            (artist.get_facecolor, artist.set_facecolor),
            (artist.get_edgecolor, artist.set_edgecolor),
        ):
            colours: Any = read()
            if len(colours):
                write([_other(colour, look) for colour in colours])


def _other(colour: Any, look: Look) -> Any:
    """Return the colour of a look for one of the light look, with its transparency."""
    if isinstance(colour, str) and colour in ("none", "auto"):
        return colour
    *_, alpha = to_rgba(colour)
    if not alpha:
        return "none"
    plain = to_hex(colour)
    if plain in look.translation:
        found = look.translation[plain]
    elif plain in own_colours(look):
        return colour
    elif plain in PALE:
        found = plain if _luminance(look.paper) > 0.5 else _mixed(look.paper, look.ink, PALE[plain])
    else:
        found = _standing_out(plain, look)
    return (*to_rgb(found), alpha)


def own_colours(look: Look) -> set[str]:
    """Return the colours that a look has, which stay as they are."""
    return {colour.lower() for colour in (*look.translation.values(), *look.leverages)}


def _standing_out(colour: str, look: Look) -> str:
    """Return a colour, mixed with the ink of a dark look until it is seen on its paper."""
    if _luminance(look.paper) > 0.5:
        return colour
    parts = (0.0, *np.arange(0.1, 1.0, 0.1))
    return next(
        (
            mixed
            for part in parts
            if _contrast(mixed := _mixed(colour, look.ink, part), look.paper) >= LEAST_CONTRAST
        ),
        look.ink,
    )


def _mixed(one: str, other: str, part: float) -> str:
    first, second = np.array(to_rgb(one)), np.array(to_rgb(other))
    return to_hex((first + (second - first) * part).tolist())


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = np.array(to_rgb(colour))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
