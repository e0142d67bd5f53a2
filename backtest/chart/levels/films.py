"""Film of a liquidation heatmap: the mark price moves on and triggers levels.

Each picture shows the heatmap up to a time and, beside it, the levels open then. Pictures are drawn one at a time
and are not kept; :meth:`Film.gif` returns the bytes of a file, made with Pillow, which matplotlib depends on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from io import BytesIO
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import numpy as np
import polars as pl
from matplotlib.animation import FFMpegWriter
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from PIL import Image

from backtest import amounts
from backtest.chart.levels.cells import cells_of
from backtest.chart.levels.figures import heat_panels, shown_prices
from backtest.chart.levels.heatmaps import Scale
from backtest.chart.levels.marks import mark_line
from backtest.chart.levels.profiles import profile
from backtest.chart.style import theme
from backtest.chart.style.figure import Figure, new_figure
from backtest.chart.style.looks import DARK, Look, Size, recolour_figure
from backtest.chart.style.time_axis import days, zone_of
from backtest.errors import ArgumentError, BacktestError
from backtest.kernel.types import Bytes
from backtest.schemas.arguments import checked
from backtest.study.levels.grid import moment_of
from backtest.study.levels.levels import Levels

#: 960 x 600.
FILM = Size(8.0, 5.0, 120)

#: Shades of the heatmap in the palette of a picture.
HEAT_COLOURS = 112

PICTURES, A_SECOND, LAST_SECONDS = 60, 10.0, 2.0


@dataclass(eq=False)
class Film:
    """A figure, and the columns of the grid at which it is drawn in turn."""

    figure: Figure
    levels: Levels
    bars: pl.DataFrame
    columns: Sequence[int]
    currency: str | None
    look: Look
    main: Axes
    side: Axes
    shown: tuple[float, float]
    zone: tzinfo
    cells: np.ma.MaskedArray[tuple[int, int], np.dtype[np.float64]] = field(init=False)

    def __post_init__(self) -> None:
        held: Any = cells_of(self.main).get_array()
        self.cells = held.copy()

    def draw(self, number: int) -> Figure:
        """Draw one picture and return the figure."""
        column, look = self.columns[number], self.look
        seen = self.cells.copy()
        seen[:, column + 1 :] = np.ma.masked
        mesh = cells_of(self.main)
        mesh.set_array(seen)
        for drawn in [
            *self.main.lines,
            *(each for each in self.main.collections if each is not mesh),
            *self.main.texts,
        ]:
            drawn.remove()
        mark_line(self.bars[: column + 1], self.main, look=look)
        moment = moment_of(int(self.levels.grid.ends[column])).astimezone(self.zone)
        self.main.axvline(days(moment), color=look.muted, linewidth=0.8)
        self.main.annotate(
            amounts.moment(moment), (0.0, 0.0), xycoords="axes fraction", xytext=(6, 6),
            textcoords="offset points", fontsize=theme.TEXT, weight="bold", color=look.ink,
            bbox={"facecolor": look.paper, "edgecolor": "none", "alpha": 0.8, "pad": 2.0},
        )  # fmt: skip
        limits = self.side.get_xlim()
        self.side.clear()
        profile(
            self.levels, self.side, price=float(self.bars["close"][column]), column=column, prices=self.shown,
            currency=self.currency, scale="linear", look=look,
        )  # fmt: skip
        self.side.set_xlim(limits)
        self.main.set_ylim(*self.shown)
        return self.figure

    def pictures(self) -> Iterator[Image.Image]:
        """Yield the pictures in order, each drawn on demand."""
        canvas: Any = FigureCanvasAgg(self.figure)
        for number in range(len(self.columns)):
            self.draw(number)
            canvas.draw()
            yield Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")

    def gif(self, *, a_second: float = A_SECOND) -> bytes:
        """Return the film as the bytes of a GIF; the last picture stays for two seconds.

        Parameters
        ----------
        a_second : pictures a second, up to 50; GIF counts in hundredths of a second
        """
        if not 0 < a_second <= 50:
            raise ArgumentError(f"a GIF shows up to 50 pictures a second, more than 0: {a_second:g}")
        frames = [indexed(picture, self.look) for picture in self.pictures()]
        each = round(1000 / a_second)
        file = BytesIO()
        frames[0].save(
            file, format="GIF", save_all=True, append_images=frames[1:], loop=0, optimize=False,
            duration=[each] * (len(frames) - 1) + [max(each, round(1000 * LAST_SECONDS))],
        )  # fmt: skip
        return file.getvalue()

    def write_mp4(self, path: Path) -> None:
        """Write the film as an MP4 with the program ffmpeg; the last picture stays for two seconds.

        Raises
        ------
        BacktestError
            If ffmpeg fails, with the last line it printed.
        """
        writer = FFMpegWriter(fps=int(A_SECOND), codec="h264", extra_args=["-movflags", "+faststart"])
        try:
            with writer.saving(self.figure, str(path), self.figure.dpi):
                for number in range(len(self.columns)):
                    self.draw(number)
                    writer.grab_frame()
                for _ in range(int(A_SECOND * LAST_SECONDS)):
                    writer.grab_frame()
        except CalledProcessError as error:
            lines = error.stderr.strip().splitlines() or ["no reason given"]
            raise BacktestError(f"ffmpeg could not write {path.name}: {lines[-1]}") from None


@checked
def film(
    levels: Levels,
    bars: pl.DataFrame,
    *,
    title: str,
    subtitle: str = "",
    pictures: int = PICTURES,
    scale: Scale = "auto",
    maximum: float | None = None,
    threshold: float = 0.0,
    currency: str | None = "USDT",
    price_unit: str = "",
    notes: Sequence[str] = (),
    look: Look = DARK,
    size: Size = FILM,
    timezone: str = "UTC",
) -> Film:
    """Return a film of a level map.

    Parameters
    ----------
    levels, scale, maximum, threshold : as in ``heatmap``; all pictures share the colours of the full map
    bars : of the map's columns, as ``study.levels.column_bars`` returns them
    pictures : at most, evenly spaced; the last one is the end of the window

    Raises
    ------
    ArgumentError
        For less than one picture, or bars that do not match the map's columns.

    Examples
    --------
    >>> from backtest.chart.levels import film
    >>> from backtest.study.levels import column_bars
    >>> moving = film(open_levels, column_bars(market, grid), title="BTCUSDT", pictures=4)
    >>> moving.columns
    [0, 15, 30, 45]
    """
    if pictures < 1 or bars.height != levels.grid.columns:
        raise ArgumentError(
            f"a film needs 1 picture or more and a bar a column: {pictures} pictures, and {bars.height:,} bars "
            f"for {levels.grid.columns:,} columns"
        )
    figure = new_figure(size.inches, dpi=size.dpi, paper=look.paper)
    (frame,) = theme.stacked_panels(figure, heights=(1.0,), title=title, subtitle=subtitle, notes=notes)
    prices = shown_prices(levels, bars)
    main, side = heat_panels(
        frame, levels, prices, scale=scale, maximum=maximum, threshold=threshold, currency=currency,
        price_unit=price_unit, look=look, timezone=timezone,
    )  # fmt: skip
    side.set_xlim(0, _longest(levels))
    recolour_figure(figure, look)
    last = levels.grid.columns - 1
    columns = np.unique(np.linspace(0, last, min(pictures, last + 1)).round().astype(int))[::-1]
    return Film(
        figure, levels, bars, [int(column) for column in columns[::-1]], currency, look, main, side,
        prices, zone_of(timezone),
    )  # fmt: skip


def _longest(levels: Levels) -> float:
    """Return the end of the profile's x axis: 5 % beyond the 98 % quantile of the longest bar of each column."""
    longest = levels.amounts().max(axis=0)
    return float(np.quantile(longest, 0.98)) * 1.05 or 1.0


def indexed(picture: Image.Image, look: Look) -> Image.Image:
    """Return a picture in the palette of a look: a third of the file size.

    Each colour becomes the nearest of 250; the colours of paper, text and sides stay exact.
    """
    palette = _palette(look)
    red, green, blue = (np.asarray(picture.convert("RGB"))[..., part].astype(np.int64) for part in range(3))
    colours, places = np.unique(red << 16 | green << 8 | blue, return_inverse=True)
    distances = sum(
        ((colours >> shift & 255)[:, None] - palette[:, part].astype(np.int64)) ** 2
        for part, shift in enumerate((16, 8, 0))
    )
    nearest = np.argmin(np.asarray(distances), axis=1).astype(np.uint8)
    found = Image.fromarray(nearest[places].reshape(red.shape))
    found.putpalette(palette.tobytes())
    return found


def _palette(look: Look) -> Bytes:
    """Return the palette of a look, (colours, 3), the paper first."""
    ground = np.array(to_rgb(look.paper))
    shades = [np.array(look.heat(place)[:3]) for place in np.linspace(0, 1, HEAT_COLOURS)]
    for colour, steps in (
        (look.ink, 28), (look.muted, 12), (look.faint, 4), *((side, 14) for side in look.sides.values()),
        *((leverage, 9) for leverage in look.leverages),
    ):  # fmt: skip
        shades += [ground + (np.array(to_rgb(colour)) - ground) * step / steps for step in range(1, steps + 1)]
    return np.asarray(np.rint(255 * np.array([ground, *shades])).astype(np.uint8))
