"""Score of a level map against its baselines, and the magnet test of its clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from backtest import amounts
from backtest.chart.style import theme
from backtest.chart.style.figure import LEAST, Figure, new_figure
from backtest.chart.style.looks import LIGHT, SIZES, Look, Size, recolour, recolour_figure
from backtest.chart.style.words import below
from backtest.schemas.arguments import checked

TITLES = {"all": "Every bin within reach", "touched": "Bins the price reached"}
NAMES = {"mirror": "placebo on other side", "other_times": "placebo at other times"}

#: Inches: room for the names of rows, gap between panels, height of a row.
NAMED, BETWEEN, ROW, LEAST_ROW = 1.55, 0.35, 0.36, 0.22


@checked
def scores(found: pl.DataFrame, ax: Axes, *, bins: str = "all", look: Look = LIGHT) -> Axes:
    """Draw the score of each predictor: the share of bins it ranks below that of a liquidated dollar, with bands.

    Parameters
    ----------
    found : as ``study.levels.evaluation.score`` returns it
    bins : ``all`` within reach, or those the price reached (``touched``)
    """
    own = found.filter(pl.col("bins") == bins)
    names = own["predictor"].to_list()
    strong = [name.startswith("map") for name in names]
    _dots(ax, own.select("area_low", "area", "area_high"), strong, look)
    ax.axvline(0.5, color=look.muted, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    theme.dress(ax, TITLES.get(bins, bins))
    drawn = np.append(own.select("area_low", "area", "area_high").to_numpy().ravel(), 0.5)
    ax.set_xlim(min(0.4, np.nanmin(drawn) - 0.05), max(0.6, np.nanmax(drawn) + 0.05))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: amounts.percent(round(value, 6))))
    below(ax, "bins ranked below a liquidated dollar's", size=theme.SMALL, pad=2)
    return _rows(ax, names, look)


@checked
def magnet_differences(found: pl.DataFrame, ax: Axes, *, look: Look = LIGHT) -> Axes:
    """Draw the share of clusters reached less that of their placebos, with bands.

    Parameters
    ----------
    found : as ``study.levels.evaluation.magnet`` returns it
    """
    names = [f"{row['prices']} prices, {NAMES[row['placebo']]}" for row in found.iter_rows(named=True)]
    bands = found.select("difference_low", "difference", "difference_high")
    _dots(ax, bands, [name.startswith("all") for name in names], look)
    ax.axvline(0.0, color=look.muted, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    theme.dress(ax, "Clusters less placebos, share reached")
    ax.margins(x=0.12)
    below(ax, "difference, points", size=theme.SMALL, pad=2)
    ax.xaxis.set_major_formatter(FuncFormatter(_points))
    return _rows(ax, names, look)


@checked
def score_figure(
    score: pl.DataFrame | None,
    magnet: pl.DataFrame | None,
    *,
    title: str,
    subtitle: str = "",
    notes: Sequence[str] = (),
    look: Look = LIGHT,
    size: Size = SIZES["screen"],
) -> Figure:
    """Return the score of a map above its magnet test; either may be None.

    Examples
    --------
    >>> from backtest.chart.levels import score_figure
    >>> from backtest.study.levels.evaluation import Pull, magnet
    >>> pull = Pull(every=timedelta(hours=9))
    >>> found = magnet(open_levels, market, pull=pull, seed=1, draws=99)
    >>> figure = score_figure(None, found, title="Magnet test of BTCUSDT")
    >>> figure.axes[0].get_title(loc="left")
    'Clusters less placebos, share reached'
    """
    rows = (0 if score is None else 6) + (0 if magnet is None else 6)
    around = 2.1 + (0.7 if rows > 6 else 0.0)
    size = Size(size.width, min(size.height, around + ROW * rows), size.dpi)
    least = LEAST[0], around + LEAST_ROW * rows
    figure = new_figure(size.inches, dpi=size.dpi, paper=look.paper, least=least)
    panels = [1.0] * ((score is not None) + (magnet is not None))
    axes = theme.stacked_panels(figure, heights=panels or [1.0], title=title, subtitle=subtitle, notes=notes)
    places = [ax.get_position() for ax in axes]
    for ax in axes:
        ax.remove()
    width, height = figure.get_size_inches()
    left = NAMED / width
    if score is not None:
        place = places.pop(0)
        wide = (place.x1 - left - BETWEEN / width) / 2
        under = 0.5 / height if magnet is not None else 0.0
        pair = []
        for number, bins in enumerate(TITLES):
            x = left + number * (wide + BETWEEN / width)
            pair.append(figure.add_axes((x, place.y0 + under, wide, place.height - under)))
            scores(score, pair[-1], bins=bins, look=look)
        pair[1].tick_params(labelleft=False)
        limits = [end for ax in pair for end in ax.get_xlim()]
        for ax in pair:
            ax.set_xlim(min(limits), max(limits))
    if magnet is not None:
        place, left = places.pop(0), 2.75 / width
        ax = figure.add_axes((left, place.y0, place.x1 - left, place.height))
        magnet_differences(magnet, ax, look=look)
    return recolour_figure(figure, look)


def _dots(ax: Axes, bands: pl.DataFrame, strong: Sequence[bool], look: Look) -> None:
    for place, (row, own) in enumerate(zip(bands.iter_rows(), strong, strict=True)):
        low, middle, high = row
        colour = look.sides["long"] if own else look.muted
        ax.plot([low, high], [place, place], color=colour, linewidth=2.4, solid_capstyle="round")
        ax.plot(middle, place, marker="o", markersize=6, color=colour)


def _rows(ax: Axes, names: Sequence[str], look: Look) -> Axes:
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.xaxis.set_major_locator(MaxNLocator(max(2, int(theme.width(ax) / 40))))
    ax.tick_params(length=0, labelsize=theme.TEXT, labelcolor=theme.MUTED)
    ax.grid(visible=False, axis="y")
    recolour(ax, look)
    ax.grid(visible=False, axis="y")
    return ax


def _points(value: float, _: int | None) -> str:
    sign = "+" if value > 1e-9 else amounts.MINUS if value < -1e-9 else ""
    return f"{sign}{amounts.three_figures(abs(100 * value)) if abs(value) > 1e-9 else 0}"
