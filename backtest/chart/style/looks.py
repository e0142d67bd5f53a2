"""Looks (light, dark; our colours, or the vendors') and sizes of figures: a screen, a slide, paper, a phone.

Charts are drawn in the light look; :func:`recolour` then changes the colours, so that a panel on the caller's own
axes can be dark as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, to_hex, to_rgba
from matplotlib.lines import Line2D
from matplotlib.spines import Spine
from matplotlib.text import Text

from backtest.chart.style import theme
from backtest.chart.style.figure import UPRIGHT, Figure
from backtest.errors import ArgumentError


class Size(NamedTuple):
    """A figure's width and height in inches, and its dots an inch."""

    width: float
    height: float
    dpi: float = theme.DPI

    @property
    def inches(self) -> tuple[float, float]:
        """Width and height."""
        return self.width, self.height

    @classmethod
    def from_given(cls, value: Any, name: str) -> Size:
        """Return a size from one, from its name, or from inches."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str) and value in SIZES:
            return SIZES[value]
        numbers = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
        if len(numbers) in (2, 3) and all(
            isinstance(part, int | float) and 0 < part < math.inf for part in numbers
        ):
            return cls(*map(float, numbers))
        known = ", ".join(SIZES)
        raise ArgumentError(
            f"must be one of {known}, or width and height in inches (and dots an inch), is {value!r}",
            argument=name,
        )


#: 1600 x 1000; 1920 x 1080; two columns of print at 300 dots an inch; 1080 x 1080; an upright phone, 1080 x 1920.
SIZES = {
    "screen": Size(*theme.SIZE, theme.DPI),
    "slide": Size(10.0, 5.625, 192),
    "print": Size(7.0, 4.6, 300),
    "square": Size(7.5, 7.5, 144),
    "portrait": Size(5.0, 8.89, 216),
}


def is_upright(size: tuple[float, ...] | None) -> bool:
    """Return whether a figure is higher than wide, as a phone is held."""
    return size is not None and size[1] > UPRIGHT * size[0]


@dataclass(frozen=True, eq=False)
class Look:
    """The colours of one look."""

    ink: str
    muted: str
    faint: str
    paper: str
    sides: Mapping[str, str]
    heat: Colormap  #: from low to high; empty cells are the background
    leverages: tuple[
        str, ...
    ]  #: from low to high, six; the lowest, mostly the largest bars, stand out from the paper
    edge: str  #: around the mark price, so that it is seen on every colour
    ground: str = ""  #: behind the cells of a heatmap; the paper unless given
    mark: str = ""  #: the mark price over the cells; the ink unless given

    #: From each colour of the light look to that of this look.
    translation: Mapping[str, str] = field(init=False, repr=False)

    @classmethod
    def from_given(cls, value: Any, name: str) -> Look:
        """Return a look from one, or from its name."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str) and value in LOOKS:
            return LOOKS[value]
        raise ArgumentError(f"must be a Look or one of {', '.join(LOOKS)}, is {value!r}", argument=name)

    def __post_init__(self) -> None:
        own = (self.ink, self.muted, self.faint, self.paper, *self.sides.values())
        light = (theme.INK, theme.MUTED, theme.FAINT, theme.PAPER, *theme.SIDE_COLOURS.values())
        pairs = {old.lower(): new for old, new in zip(light, own, strict=True)}
        object.__setattr__(self, "translation", pairs)
        object.__setattr__(self, "ground", self.ground or self.paper)
        object.__setattr__(self, "mark", self.mark or self.ink)


def _rising_from(paper: str, name: str, low: float) -> Colormap:
    """Return a part of a colour map whose first shades blend into the background: small amounts stay faint."""
    shades_of, ground = colormaps[name], np.array(to_rgba(paper))
    steps = np.linspace(0.0, 1.0, 256)
    shades = np.array([shades_of(low + (1.0 - low) * step) for step in steps])
    mixed = np.clip(FAINTEST + (1 - FAINTEST) * steps / OUT_OF_PAPER, 0.0, 1.0)[:, None]
    return ListedColormap((ground + (shades - ground) * mixed).tolist())


#: Share of the faintest shade's own colour, and the part of the scale from which shades are not blended.
FAINTEST, OUT_OF_PAPER = 0.35, 0.3

#: Both colour maps change evenly in lightness, so that they read in every colour blindness and in grey.
LIGHT = Look(
    ink=theme.INK,
    muted=theme.MUTED,
    faint=theme.FAINT,
    paper=theme.PAPER,
    sides=theme.SIDE_COLOURS,
    heat=_rising_from(theme.PAPER, "YlGnBu", 0.2),
    leverages=("#A99AD6", "#8F7DC4", "#7562B0", "#5B4898", "#402E78", "#22104A"),
    edge="#FFFFFF",
)
DARK = Look(
    ink="#F2F4F7",
    muted="#A3ADBA",
    faint="#262B36",
    paper="#0D1017",
    sides={"long": "#FF8A50", "short": "#62AEFF"},
    heat=_rising_from("#0D1017", "viridis", 0.08),
    leverages=("#5F5091", "#7863AE", "#937DC8", "#B09CDF", "#D0C2F1", "#F3EEFF"),
    edge="#0D1017",
)


def leverage_shades(look: Look, count: int) -> list[str]:
    """Return a colour for each of so many leverage buckets, from low to high."""
    last = len(look.leverages) - 1
    return [look.leverages[round(place * last / max(count - 1, 1))] for place in range(count)]


#: The colours of the charts that vendors publish: cells from purple to yellow on purple, longs red, shorts green.
_PURPLE_TO_YELLOW = ListedColormap(
    LinearSegmentedColormap.from_list(
        "levels", ["#5A2A78", "#3F3871", "#26828C", "#4C9886", "#A9C83C", "#F0DA18"]
    )(np.linspace(0.0, 1.0, 256)).tolist()
)
_VENDOR: dict[str, Any] = {
    "heat": _PURPLE_TO_YELLOW,
    "ground": "#2B0A3D",
    "mark": "#FFFFFF",
    "edge": "#2B0A3D",
}
VENDOR_LIGHT = replace(
    LIGHT, sides={"long": "#D2304A", "short": "#1B8A5A"}, **_VENDOR,
    leverages=("#5DC8C8", "#3FA3C9", "#3F7FD0", "#F0A23A", "#E9783C", "#D94A74"),
)  # fmt: skip
VENDOR_DARK = replace(
    DARK, sides={"long": "#FF6478", "short": "#3DD68C"}, **_VENDOR,
    leverages=("#5DD3D3", "#6BA3FF", "#4A90E2", "#FFC061", "#FF9F40", "#FF6384"),
)  # fmt: skip

#: Looks by their colours and by light or dark.
COLOURS = {"ours": {"light": LIGHT, "dark": DARK}, "vendor": {"light": VENDOR_LIGHT, "dark": VENDOR_DARK}}
LOOKS = COLOURS["ours"]


def recolour(ax: Axes, look: Look) -> Axes:
    """Give the text, ticks, grid and spines of axes the colours of a look."""
    ax.tick_params(labelcolor=look.muted)
    for artist in ax.findobj():
        _translate(artist, look)
    ax.grid(color=look.faint)
    return ax


def recolour_figure(figure: Figure, look: Look) -> Figure:
    """Give a figure's paper, titles and notes the colours of a look."""
    figure.set_facecolor(look.paper)
    for text in figure.texts:
        _translate(text, look)
    return figure


def _translate(artist: Artist, look: Look) -> None:
    if isinstance(artist, Text | Line2D):
        artist.set_color(look.translation.get(to_hex(artist.get_color()), artist.get_color()))
    elif isinstance(artist, Spine):
        edge = artist.get_edgecolor()
        artist.set_edgecolor(look.translation.get(to_hex(edge), edge))
