"""Light and dark: the same chart on paper and on a dark screen.

Charts are drawn in the light look; :func:`recolour` changes the colours of what is there already, so a panel on the
caller's own axes can be dark as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.spines import Spine
from matplotlib.text import Text

from backtest.chart import theme


@dataclass(frozen=True, eq=False)
class Look:
    """The colours of one look."""

    ink: str
    muted: str
    faint: str
    paper: str
    sides: Mapping[str, str]
    heat: Colormap  #: from little to much; nothing at all is the background
    leverages: tuple[str, ...]  #: from low to high, six

    #: What each colour of the light look becomes.
    becomes: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        own = (self.ink, self.muted, self.faint, self.paper, *self.sides.values())
        light = (theme.INK, theme.MUTED, theme.FAINT, theme.PAPER, *theme.SIDE_COLOURS.values())
        pairs = {old.lower(): new for old, new in zip(light, own, strict=True)}
        object.__setattr__(self, "becomes", pairs)


def _part(name: str, low: float, high: float) -> Colormap:
    """Return a part of a colour map, its ends left out where they would merge with the background."""
    whole = colormaps[name]
    return ListedColormap([whole(low + (high - low) * step / 255) for step in range(256)])


#: Both maps rise evenly in lightness, which holds in every colour blindness and in grey.
LIGHT = Look(
    theme.INK,
    theme.MUTED,
    theme.FAINT,
    theme.PAPER,
    theme.SIDE_COLOURS,
    _part("magma_r", 0.03, 0.97),
    ("#DDD6EC", "#BFB2DC", "#9C8AC6", "#7861AC", "#543A8C", "#2F1860"),
)
DARK = Look(
    "#F2F4F7",
    "#A3ADBA",
    "#262B36",
    "#0D1017",
    {"long": "#FF8A50", "short": "#62AEFF"},
    _part("viridis", 0.04, 1.0),
    ("#41365F", "#5F4E8C", "#8069B5", "#A48FD3", "#C9BAEA", "#F1EBFF"),
)

LOOKS = {"light": LIGHT, "dark": DARK}


def recolour(ax: Axes, look: Look) -> Axes:
    """Give what axes were dressed in (words, ticks, lines of the grid, axes) the colours of a look."""
    ax.tick_params(labelcolor=look.muted)
    for artist in ax.findobj():
        _become(artist, look)
    ax.grid(color=look.faint)
    return ax


def recolour_figure(figure: Figure, look: Look) -> Figure:
    """Give a figure's paper, titles and notes the colours of a look."""
    figure.set_facecolor(look.paper)
    for text in figure.texts:
        _become(text, look)
    return figure


def _become(artist: Artist, look: Look) -> None:
    if isinstance(artist, Text | Line2D):
        artist.set_color(look.becomes.get(to_hex(artist.get_color()), artist.get_color()))
    elif isinstance(artist, Spine):
        edge = artist.get_edgecolor()
        artist.set_edgecolor(look.becomes.get(to_hex(edge), edge))
