"""Pictures of docs/levels.md, docs/gallery.md and the README.

``python docs/gallery.py`` draws them anew into docs/images, with ``--out DIR`` into another folder, to compare.
They show the bundled reconstruction of May 2021 and a book estimated from a volume that is assumed: in proportion
to the range of each quarter of an hour. Amounts are shares; the same prices give the same pictures.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path

import polars as pl
from matplotlib.figure import Figure
from PIL import Image

from backtest import Market, Venue, amounts, market, population
from backtest.chart.levels import (
    Panel,
    before_after,
    cluster_figure,
    film,
    level_heatmap,
    map_figure,
    score_figure,
    small_multiples,
)
from backtest.chart.levels.films import indexed
from backtest.chart.style import DARK, LIGHT, SIZES, Look, Size
from backtest.study.levels import (
    Crowding,
    cluster_outcomes,
    clusters_at,
    column_bars,
    level_grid,
    level_map,
    levels_of,
    without_drift,
)
from backtest.study.levels.combine import combined, relative_grids
from backtest.study.levels.evaluation import (
    FEWEST_BLOCKS,
    FEWEST_PAIRS,
    conclusive,
    hidden_events,
    magnet,
    score,
)

IMAGES = Path(__file__).parent / "images"
TIERS = {"ETHUSDT": "2022-02-16"}
WINDOW = datetime(2021, 5, 12, tzinfo=UTC), datetime(2021, 5, 22, tzinfo=UTC)
BEFORE, AFTER = datetime(2021, 5, 18, 12, tzinfo=UTC), datetime(2021, 5, 20, tzinfo=UTC)
#: Mean volume of a quarter of an hour, base units.
VOLUME = 20_000.0
#: Reach of maps and clusters around the price: after the fall the shorts were far away.
REACH = 0.28
NOTES = (
    "prices: bundled reconstruction between published figures",
    "rules: Binance USD-M futures, table 2021-03-18, in force",
    "book estimated from volume, which is assumed in proportion to the range of each 15 minutes",
    "levels at the entry, without funding",
    "no gaps",
)
NAME = "The fall of 19 May triggered the longs below the price and left the shorts far above it"


def folder(words: Sequence[str] | None = None) -> Path:
    """Return the folder that a command line names; it is made if missing."""
    parser = ArgumentParser(description="Make the pictures of docs/levels.md and the README.")
    parser.add_argument("--out", type=Path, default=IMAGES, metavar="DIR", help="(default: docs/images)")
    out: Path = parser.parse_args(words).out
    out.mkdir(parents=True, exist_ok=True)
    return out


def with_volume() -> Market:
    """Return the sample in quarters of an hour, with a volume in proportion to their range."""
    bars = market.sample().resample("15m").bars
    span = pl.col("high") / pl.col("low") - 1
    return Market(bars.with_columns(volume=VOLUME * span / span.mean().over("symbol")), description=NOTES[0])


def write(out: Path, figure: Figure, name: str, look: Look = LIGHT) -> None:
    """Write a figure as a PNG with a palette, a third of the size."""
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    indexed(Image.open(drawn), look).save(out / f"{name}.png", optimize=True)


def main(out: Path) -> None:
    """Draw everything into a folder."""
    save = partial(write, out)
    history, venue = with_volume(), Venue.load("binance")
    book = population.from_volume(history, venue, tiers=TIERS).book
    left = {"survival": book.survival}
    grid = level_grid(history, "BTCUSDT", window=WINDOW, bins=400)
    levels, bars = levels_of(book, history, venue, grid, tiers=TIERS), column_bars(history, grid)
    outcomes = without_drift(book, history, venue, tiers=TIERS)
    clusters = clusters_at(levels, history, rule=Crowding(reach=REACH))
    subtitle = "Open liquidation levels of BTCUSDT, 12 to 21 May 2021. A level ends where the mark reached it."
    common = {"price_unit": "USDT", "notes": NOTES, "currency": None}
    for look, name in ((DARK, "levels_dark"), (LIGHT, "levels_light")):
        figure = level_heatmap(levels, bars, title=NAME, subtitle=subtitle, clusters=clusters, look=look, **common)
        save(figure, name, look)
    before, after = (level_map(outcomes, history, "BTCUSDT", at, reach=REACH, **left) for at in (BEFORE, AFTER))
    title = "On the day before the fall, longs were open from 5 % below the price on"
    subtitle = f"Liquidation map of BTCUSDT, {amounts.moment(BEFORE)}. Lines: what a move so far triggers"
    save(
        map_figure(before, title=title, subtitle=subtitle, look=DARK, **common),
        "map_dark",
        DARK,
    )
    title = "The fall of 19 May took most longs, and the lower price left the shorts far away"
    save(before_after(before, after, title=title, **common), "map_before_after")
    former = clusters_at(levels, history, BEFORE, rule=Crowding(reach=REACH), outcomes=outcomes, **left)
    past = cluster_outcomes(former, outcomes, "BTCUSDT", AFTER, **left)
    title = f"Clusters of BTCUSDT, and their outcomes by {amounts.moment(AFTER)}"
    subtitle = f"Within {100 * REACH:g} % of the price, {amounts.moment(BEFORE)}"
    save(cluster_figure(past, title=title, subtitle=subtitle, most=10, **common), "clusters")
    mix = population.LeverageMix(((3, 10, 0.4), (10, 30, 0.6)))
    truth = population.synthetic(history, venue, count=300_000, seed=7, tiers=TIERS, leverage_mix=mix)
    labels = hidden_events(truth, history, venue, "BTCUSDT", tiers=TIERS)
    tests = score(levels, history, labels, seed=1), conclusive(magnet(levels, history, seed=1))
    subtitle = "Against the liquidations of a hidden book of another mix and seed; bands over days, 95 %"
    title = "Score of the levels of BTCUSDT, 12 to 21 May 2021"
    few = f"clusters compared on {FEWEST_PAIRS} pairs and {FEWEST_BLOCKS} days or more"
    save(score_figure(*tests, title=title, subtitle=subtitle, notes=(*NOTES, few)), "score")
    panels, maps, lines = [], [], []
    grids = relative_grids(history, window=WINDOW, bins=300)
    for symbol, (own, price) in grids.items():
        maps.append(levels_of(book, history, venue, own, tiers=TIERS))
        panels.append(Panel(symbol, maps[-1], [column_bars(history, own)]))
        lines.append(
            panels[-1].bars[0].with_columns(panels[-1].bars[0].select("high", "low", "close") * (100 / price))
        )
    together = combined(maps, symbol="all", references=[price for _, price in grids.values()])
    panels.append(Panel("together, % of the first price", together, lines))
    size = Size(10.0, 4.6, 144)
    title = "Two symbols and their sum, on one colour scale"
    save(
        small_multiples(panels, title=title, across=3, notes=NOTES, currency=None, look=DARK, size=size),
        "levels_multiples",
        DARK,
    )
    window = datetime(2021, 5, 17, tzinfo=UTC), datetime(2021, 5, 20, tzinfo=UTC)
    short = level_grid(history, "BTCUSDT", window=window, prices=(28_000, 48_000), bins=200, columns=288)
    moving = film(
        levels_of(book, history, venue, short, tiers=TIERS),
        column_bars(history, short),
        title="17 to 19 May 2021: liquidation levels of BTCUSDT",
        pictures=40,
        notes=NOTES[:3],
        size=Size(8.0, 5.0, 90),
        price_unit="USDT",
        currency=None,
    )
    (out / "levels.gif").write_bytes(moving.gif())


if __name__ == "__main__":
    images = folder()
    main(images)
    for path in sorted(images.iterdir()):
        print(f"{path.stat().st_size:>9,}  {path.name}")
    print(f"slides and print: {', '.join(f'{name} {size.inches}' for name, size in SIZES.items())}")
