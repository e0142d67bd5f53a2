"""Loss of a fitted leverage mix, which shows what the records leave open."""

from __future__ import annotations

from typing import Literal

import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from backtest import amounts
from backtest.chart.style import theme
from backtest.schemas.arguments import checked

TITLES = {
    "typical": "Loss of the best mix of each typical leverage",
    "spread": "Loss of the best mix of each spread",
}
BELOW = {"typical": "typical leverage", "spread": "spread of the logarithm of leverage"}

#: Ticks of typical leverage.
LEVERAGES = (1, 2, 3, 5, 10, 20, 50, 100)

#: Losses beyond this many times the least are left out: they say no more.
HIGHEST = 30.0


@checked
def fit_loss(
    profile: pl.DataFrame, bands: pl.DataFrame, ax: Axes, *, parameter: Literal["typical", "spread"] = "typical"
) -> Axes:
    """Draw the loss of a fit against one parameter, a line a side, with the 95 % bands of the redrawn histories.

    A line that is flat over a wide range is a parameter that the records do not identify.

    Parameters
    ----------
    profile, bands : of a ``study.calibration.Fit``
    parameter : drawn parameter; the loss is the least over the other one

    Examples
    --------
    >>> from backtest.chart.liquidations import fit_loss
    >>> found = {"side": ["long"] * 3 + ["short"] * 3, "parameter": "typical"}
    >>> losses = pl.DataFrame({**found, "value": [1.0, 10.0, 100.0] * 2, "loss": [2.0, 0.1, 1.0, 0.2, 0.3, 3.0]})
    >>> rows = {"side": ["long", "short"], "parameter": "typical", "estimate": [9.0, 1.0], "low": [5.0, 1.0]}
    >>> ax = fit_loss(losses, pl.DataFrame({**rows, "high": [20.0, 2.0], "at_edge": [False, True]}), ax)
    >>> ax.get_title(loc="left")
    'Loss of the best mix of each typical leverage'
    """
    own = profile.filter(pl.col("parameter") == parameter)
    highest = HIGHEST * float(own["loss"].min() or 0.0)  # type: ignore[arg-type]
    for side, colour in theme.SIDE_COLOURS.items():
        line = own.filter(pl.col("side") == side).sort("value")
        ax.plot(line["value"], line["loss"].clip(upper_bound=highest), color=colour, linewidth=1.8)
        for band in bands.filter(pl.col("side") == side, pl.col("parameter") == parameter).iter_rows(named=True):
            ax.axvspan(band["low"], band["high"], color=colour, alpha=0.15, linewidth=0)
            ax.axvline(band["estimate"], color=colour, linewidth=1.0, linestyle=(0, (3, 2)))
    theme.dress(ax, TITLES[parameter])
    theme.below(ax, f"{BELOW[parameter]}; shaded: 95 % of redrawn histories")
    theme.side_names(ax)
    ax.set_yscale("log")
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: amounts.plain(value, 3)))
    if parameter == "typical":
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        ax.xaxis.set_major_locator(FixedLocator([tick for tick in LEVERAGES if low <= tick <= high]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    return ax
