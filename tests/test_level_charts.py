"""Charts of levels: true to what they are given, on the caller's axes, whole at every size and in both looks."""

from __future__ import annotations

from datetime import timedelta
from io import BytesIO
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from level_cases import HOUR, START, market, positions, venue, waiting_only
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize, PowerNorm, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from PIL import Image

from backtest import Book, Market
from backtest.amounts import amount, significant
from backtest.chart.levels.clusters import cluster_figure, cluster_table
from backtest.chart.levels.figures import Panel, level_heatmap, shown_prices, small_multiples
from backtest.chart.levels.films import film, indexed
from backtest.chart.levels.heatmaps import colour_bar, fullest, heatmap, norm_of, price_axis, scale_of
from backtest.chart.levels.level_map import liquidation_map
from backtest.chart.levels.map_figures import before_after, map_figure
from backtest.chart.levels.marks import mark_line
from backtest.chart.levels.profiles import profile
from backtest.chart.levels.score import magnet_differences, score_figure, scores
from backtest.chart.style import theme
from backtest.chart.style.looks import DARK, LIGHT, LOOKS, SIZES, Size
from backtest.errors import ArgumentError
from backtest.study.levels.clusters import Crowding, clusters_at
from backtest.study.levels.grid import LevelGrid, column_bars, level_grid
from backtest.study.levels.level_maps import level_map
from backtest.study.levels.levels import Levels, levels_of, without_drift
from backtest.study.levels.past_clusters import cluster_outcomes

HISTORY = market()
BOOK = Book(positions(HISTORY, count=3_000))
LEVELS = levels_of(BOOK, HISTORY, venue(), level_grid(HISTORY, "A", bins=80, columns=120))
BARS = column_bars(HISTORY, LEVELS.grid)
OUTCOMES = without_drift(BOOK, HISTORY, venue())
MAP = level_map(OUTCOMES, HISTORY, "A", START + timedelta(hours=200))
CLUSTERS = clusters_at(LEVELS, HISTORY, rule=Crowding(times=1.5), outcomes=OUTCOMES)
SMALL = Size(5.0, 3.6, 80)


def axes(size: tuple[float, float] = theme.SIZE):
    return Figure(figsize=size, dpi=80).add_subplot()


def mesh_of(ax) -> QuadMesh:
    return next(found for found in ax.collections if isinstance(found, QuadMesh))


def case(**market_settings):
    """Return a map and its bars of another market."""
    history = market(**market_settings)
    end = history.bars["time"][-1]
    book = Book(waiting_only(positions(history, count=300)).filter(pl.col("entry_time") <= end))
    levels = levels_of(book, history, venue(), level_grid(history, "A", bins=60))
    return history, book, levels, column_bars(history, levels.grid)


def drawn(figure: Figure) -> np.ndarray:
    """Return a figure as pixels."""
    file = BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("RGB"))


def inside_of(figure: Figure) -> None:
    """Assert that no text reaches beyond the picture."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    for ax in [None, *figure.axes]:
        for text in figure.texts if ax is None else [*ax.texts, ax.title, ax.xaxis.label, ax.yaxis.label]:
            if text.get_text() and text.get_visible():
                box = text.get_window_extent()
                assert box.x0 >= -2, text.get_text()
                assert box.x1 <= width + 2, text.get_text()
                assert box.y0 >= -2, text.get_text()
                assert box.y1 <= height + 2, text.get_text()


def test_heatmap__shows_each_cell_and_leaves_empty_ones_to_the_background() -> None:
    ax = axes()
    assert heatmap(LEVELS, ax) is ax
    held = mesh_of(ax).get_array()
    np.testing.assert_array_equal(held.mask, LEVELS.amounts() == 0)
    np.testing.assert_allclose(held.compressed(), LEVELS.amounts()[LEVELS.amounts() > 0])
    corners = mesh_of(ax).get_coordinates()
    np.testing.assert_allclose(corners[:, 0, 1], LEVELS.grid.price_edges)


def crowded(bins: int, columns: int) -> tuple[Levels, np.ndarray]:
    """Return levels of many more cells than pixels, of which a few are full, and the places of these."""
    grid = LevelGrid("A", np.linspace(80.0, 120.0, bins + 1), False, 0, HOUR, 1, columns)
    rng = np.random.default_rng(3)
    cells = np.zeros((bins, columns), np.int64)
    places = np.stack([rng.integers(0, bins, 60), rng.integers(0, columns, 60)])
    cells[tuple(places)] = 100_000
    none = {side: np.zeros(columns, np.int64) for side in ("long", "short")}
    return Levels(grid, cells, np.zeros_like(cells), none, none), places


@pytest.mark.parametrize(("bins", "columns"), [(2_000, 3_000), (900, 40), (30, 5_000), (333, 777)])
@pytest.mark.parametrize("size", [(3.0, 2.0), (7.31, 4.17)])
def test_full_cells__are_seen_where_cells_outnumber_pixels(bins: int, columns: int, size) -> None:
    levels, (rows, at) = crowded(bins, columns)
    figure = Figure(figsize=size, dpi=80)
    ax = heatmap(levels, figure.add_axes((0.013, 0.017, 0.97, 0.96)), maximum=1_000.0)
    ax.set_axis_off()
    strongest = np.round(255 * np.array(LIGHT.heat(1.0)[:3]))
    full = np.abs(drawn(figure).astype(float) - strongest).max(axis=-1) < 2
    edges, times = levels.grid.price_edges, np.arange(columns + 1) / 24
    for row, column in zip(rows, at, strict=True):
        x, y = ax.transData.transform((times[column], edges[row]))
        right, top = ax.transData.transform((times[column + 1], edges[row + 1]))
        height = full.shape[0]
        around = full[max(int(height - top) - 1, 0) : int(height - y) + 2, max(int(x) - 1, 0) : int(right) + 2]
        assert around.any(), (row, column)


def test_one_side__is_drawn_alone() -> None:
    held = mesh_of(heatmap(LEVELS, axes(), side="long")).get_array()
    np.testing.assert_allclose(held.filled(0.0), LEVELS.amounts("long"))


@pytest.mark.parametrize(("scale", "kind"), [("root", PowerNorm), ("log", LogNorm), ("linear", Normalize)])
def test_scales_and_maxima__are_those_asked_for(scale, kind) -> None:
    first, second = (heatmap(LEVELS, axes(), scale=scale, maximum=12_345.0) for _ in range(2))
    assert type(mesh_of(first).norm) is kind
    assert mesh_of(first).norm.vmax == mesh_of(second).norm.vmax == 12_345.0
    free = mesh_of(heatmap(LEVELS, axes(), scale=scale)).norm.vmax
    held = LEVELS.amounts()[LEVELS.amounts() > 0]
    assert (held > free).mean() <= 0.005 + 1 / held.size


def test_scale__is_linear_by_itself_where_most_cells_hold_much() -> None:
    rng = np.random.default_rng(1)
    even, uneven = rng.uniform(0.2, 1.0, (40, 40)), rng.pareto(0.6, (40, 40))
    assert type(norm_of(even, "auto", None)) is Normalize
    assert type(norm_of(uneven, "auto", None)) is PowerNorm
    for scale in ("root", "linear", "log"):
        assert scale_of(norm_of(even, scale, 3.0)) == scale
    assert norm_of(np.zeros((2, 2)), "auto", None).vmax == 1.0


def test_colour_bar__ends_with_the_maximum_and_says_its_scale_and_what_exceeds_it() -> None:
    ax, bar, again, other = Figure(figsize=theme.SIZE).subplots(1, 4)
    heatmap(LEVELS, ax, scale="root", maximum=1_000.0)
    colour_bar(bar, ax, currency="USDT", width="0.25 %")
    labels = [bar.yaxis.get_major_formatter()(tick, None) for tick in bar.get_yticks()]
    assert labels[-1] == "$1 k +"
    assert labels[0] == "0"
    assert "root scale" in bar.get_ylabel()
    assert "0.25 %" in bar.get_ylabel()
    heatmap(LEVELS, again, maximum=fullest(ax) * 2)
    colour_bar(other, again)
    assert not other.yaxis.get_major_formatter()(other.get_yticks()[-1], None).endswith("+")


def test_mark_line__draws_every_wick_and_breaks_at_gaps() -> None:
    ax = axes()
    heatmap(LEVELS, ax)
    holes = BARS.filter(~pl.int_range(pl.len()).is_between(40, 49))
    mark_line(holes, ax)
    wicks = next(found for found in ax.collections if found.get_gid() == "wicks")
    segments = np.array(wicks.get_segments())
    np.testing.assert_allclose(segments[:, 0, 1], holes["low"])
    np.testing.assert_allclose(segments[:, 1, 1], holes["high"])
    line = next(found for found in ax.lines if found.get_gid() == "mark price")
    assert np.isnan(line.get_ydata()).sum() == 1
    gap = BARS.with_columns(covered=~pl.int_range(pl.len()).is_between(40, 49))
    again = mark_line(gap, heatmap(LEVELS, axes()))
    same = next(found for found in again.lines if found.get_gid() == "mark price")
    np.testing.assert_array_equal(same.get_ydata(), line.get_ydata())


def test_profile__is_the_last_column_on_each_side() -> None:
    ax = profile(LEVELS, axes(), price=float(BARS["close"][-1]), clusters=CLUSTERS)
    for side in ("long", "short"):
        steps = next(artist for artist in ax.patches if artist.get_gid() == side)
        np.testing.assert_allclose(steps.get_data().values, LEVELS.amounts(side)[:, -1])
        assert to_hex(steps.get_facecolor()) == LIGHT.sides[side].lower()
    labels = [text.get_text() for text in ax.texts]
    assert labels
    assert amount(CLUSTERS["notional"][0]) in labels[0]


def test_profile_labels__do_not_lie_on_one_another() -> None:
    figure = level_heatmap(LEVELS, BARS, title="A", clusters=CLUSTERS)
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for ax in figure.axes for text in ax.texts if text.get_gid() == "cluster"]
    assert len(boxes) >= 2
    spans = sorted((box.y0, box.y1) for box in boxes)
    assert all(after[0] >= before[1] - 2 for before, after in pairwise(spans))


def test_profile_labels__lie_on_their_clusters_side_of_the_price() -> None:
    mark = float(BARS["close"][-1])
    for centre in mark * (1 + np.linspace(-0.03, 0.03, 25)):
        one = CLUSTERS.head(1).with_columns(centre=pl.lit(centre), distance=pl.lit(centre / mark - 1))
        figure = level_heatmap(LEVELS, BARS, title="A", clusters=one)
        ax = figure.axes[1]
        labels = [text for text in ax.texts if text.get_gid() == "cluster"]
        for text in labels:
            middle = ax.transAxes.transform((0.0, text.xyann[1]))[1]
            assert (middle > ax.transData.transform((0.0, mark))[1]) == (centre > mark)
        assert labels or centre < mark * 1.01  # the price is near the lower end of the axis


@pytest.mark.parametrize("look", LOOKS)
def test_leverage_shades__stand_out_from_the_paper_the_lowest_too(look: str) -> None:
    def luminance(colour: str) -> float:
        return float(np.dot(np.power(to_rgb(colour), 2.2), (0.2126, 0.7152, 0.0722)))

    shades = np.array([luminance(colour) for colour in LOOKS[look].leverages])
    paper = luminance(LOOKS[look].paper)
    assert (np.diff(shades) > 0).all() if look == "dark" else (np.diff(shades) < 0).all()
    contrast = (max(shades[0], paper) + 0.05) / (min(shades[0], paper) + 0.05)
    assert contrast > 2.4


def test_liquidation_map__stacks_every_bucket_and_its_lines_are_zero_at_the_price() -> None:
    ax = axes()
    assert liquidation_map(MAP, ax) is ax
    tops: dict[float, float] = {}
    for bars in ax.collections:
        for path in bars.get_paths():
            low, high = path.vertices[:, 1].min(), path.vertices[:, 1].max()
            middle = round(float(path.vertices[:, 0].min() + path.vertices[:, 0].max()) / 2, 6)
            assert low == pytest.approx(tops.get(middle, 0.0))
            tops[middle] = high
    sums = MAP.bars.group_by("price_low").agg(pl.sum("notional"))["notional"]
    assert sorted(tops.values()) == pytest.approx(sorted(sums))
    twin = next(other for other in ax.figure.axes if other is not ax)
    for line, side in zip(twin.lines, ("long", "short"), strict=True):
        prices, amounts = line.get_xdata(), line.get_ydata()
        assert amounts[-1 if side == "long" else 0] == 0.0
        assert (
            (prices <= MAP.mark_price + 1e-9).all() if side == "long" else (prices >= MAP.mark_price - 1e-9).all()
        )
    assert any("mark" in text.get_text() for text in ax.texts)


def test_before_and_after__share_their_axes() -> None:
    after = level_map(OUTCOMES, HISTORY, "A")
    figure = before_after(MAP, after, title="Before and after", size=SIZES["screen"])
    panels = [ax for ax in figure.axes if ax.get_xlabel() is not None and ax.collections][:2]
    bars = [ax for ax in figure.axes if any(text.get_text().startswith("mark") for text in ax.texts)]
    assert len(bars) == 2
    assert bars[0].get_ylim() == pytest.approx(bars[1].get_ylim())
    assert bars[0].get_xlim() == bars[1].get_xlim()
    assert panels
    inside_of(figure)


def test_small_multiples__have_one_scale_of_colours() -> None:
    half = levels_of(Book(BOOK.positions.head(500)), HISTORY, venue(), LEVELS.grid)
    figure = small_multiples([Panel("all", LEVELS, [BARS]), Panel("some", half, [BARS, BARS])], title="Two")
    meshes = [mesh_of(ax) for ax in figure.axes if any(isinstance(each, QuadMesh) for each in ax.collections)]
    tops = {mesh.norm.vmax for mesh in meshes}
    assert len(tops) == 1
    fixed = small_multiples([Panel("all", LEVELS, [])] * 5, title="Five", maximum=777.0, across=3)
    inside_of(fixed)
    assert 777.0 in {mesh_of(ax).norm.vmax for ax in fixed.axes if ax.collections}


def test_cluster_table__writes_each_cluster_with_its_leverage_and_outcome() -> None:
    former = clusters_at(
        LEVELS, HISTORY, START + timedelta(hours=120), rule=Crowding(times=1.5), outcomes=OUTCOMES
    )
    past = cluster_outcomes(former, OUTCOMES, "A", START + timedelta(hours=240))
    ax = axes((10, 4))
    assert cluster_table(past, ax) is ax
    labels = [text.get_text() for text in ax.texts]
    for row in past.iter_rows(named=True):
        assert amount(row["notional"]) in labels
        assert f"{round(100 * row['triggered']):g} %" in labels
    width = max(patch.get_x() + patch.get_width() for patch in ax.patches)
    assert width <= ax.get_xlim()[1] + 1e-9
    buckets = [name for name in past.columns if name.endswith(("x", "more"))]
    keys = {
        text.get_text(): to_hex(patch.get_facecolor(), keep_alpha=True)
        for legend in ax.findobj(Legend)
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }
    assert list(keys) == [*buckets, "triggered by the mark", "closed by holders", "still open"]
    drawn = {to_hex(patch.get_facecolor(), keep_alpha=True) for patch in ax.patches}
    assert {keys["triggered by the mark"], keys["closed by holders"], keys["10x to 20x"]} <= drawn
    assert "prices" in labels
    named = cluster_table(past, axes((10, 4)), price_unit="USDT")
    assert "prices,\nUSDT" in [text.get_text() for text in named.texts]
    alone = cluster_table(CLUSTERS.head(1).select(CLUSTERS.columns[:11]), axes())
    assert not any("leverage" in text.get_text() for text in alone.texts)
    empty = cluster_table(CLUSTERS.clear(), axes())
    assert [text.get_text() for text in empty.texts] == ["no cluster within reach"]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("size", SIZES)
def test_figures__hold_their_words_at_every_size_and_in_both_looks(look: str, size: str) -> None:
    settings = {"title": "Liquidation levels of A", "subtitle": "Open levels", "notes": ["a note"] * 5}
    settings |= {"look": LOOKS[look], "size": SIZES[size]}
    for figure in (
        level_heatmap(LEVELS, BARS, clusters=CLUSTERS, price_unit="USDT", **settings),
        map_figure(MAP, price_unit="USDT", **settings),
        cluster_figure(CLUSTERS, **settings),
    ):
        inside_of(figure)
        assert to_hex(figure.get_facecolor()) == LOOKS[look].paper.lower()
        assert figure.canvas.get_width_height()[0] == SIZES[size].width * SIZES[size].dpi


def test_dark_look__leaves_no_light_colour_behind() -> None:
    figure = level_heatmap(
        LEVELS, BARS, title="Dark", subtitle="all of it", notes=["a note"], look=DARK, size=SMALL
    )
    FigureCanvasAgg(figure).draw()
    light = {to_hex(colour) for colour in (theme.INK, theme.MUTED)}
    texts = [
        text
        for ax in figure.axes
        for text in (*ax.texts, ax._left_title, *ax.get_xticklabels(), *ax.get_yticklabels())
    ]
    assert not {to_hex(text.get_color()) for text in [*figure.texts, *texts] if text.get_text()} & light


@pytest.mark.parametrize("look", LOOKS)
def test_colours__rise_evenly_in_lightness_and_are_never_the_background(look: str) -> None:
    shades = [LOOKS[look].heat(place)[:3] for place in np.linspace(0, 1, 64)]
    lightness = np.array(
        [0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in np.power(shades, 2.2)]
    )
    ground = float(np.dot(np.power(to_rgb(LOOKS[look].paper), 2.2), (0.2126, 0.7152, 0.0722)))
    steps = np.diff(lightness)
    assert (steps > 0).all() if look == "dark" else (steps < 0).all()
    assert np.abs(lightness - ground).min() > 0.003
    sides = [np.array(to_rgb(colour)) for colour in LOOKS[look].sides.values()]
    assert np.abs(sides[0] - sides[1]).sum() > 0.8


@pytest.mark.parametrize(
    "settings",
    [{"level": 1e-7}, {"level": 60_000.0, "daily": 0.08}, {"bars": 1}, {"bars": 2, "level": 50_000.0}],
    ids=["tiny price", "moves of more than half", "one bar", "two bars"],
)
def test_odd_histories__draw(settings) -> None:
    history, book, levels, bars = case(**settings)
    outcomes = without_drift(book, history, venue())
    figures = [
        level_heatmap(
            levels, bars, title="A", clusters=clusters_at(levels, history, outcomes=outcomes), size=SMALL
        ),
        map_figure(level_map(outcomes, history, "A"), title="A", size=SMALL),
        film(levels, bars, title="A", pictures=2, size=SMALL).draw(0),
    ]
    for figure in figures:
        assert len(np.unique(drawn(figure).reshape(-1, 3), axis=0)) > 10
    low, high = shown_prices(levels, bars)
    assert low <= bars["low"].min()
    assert bars["high"].max() <= high


def test_empty_sides_and_empty_maps__draw() -> None:
    shorts = Book(waiting_only(positions(HISTORY)).filter(pl.col("side") == "short"))
    later = waiting_only(positions(HISTORY)).with_columns(
        entry_time=pl.lit(HISTORY.bars["time"][-1]), entry_price=pl.lit(float(HISTORY.bars["open"][-1]))
    )
    for book in (shorts, Book(later.head(1))):
        levels = levels_of(book, HISTORY, venue(), LEVELS.grid)
        drawn(level_heatmap(levels, BARS, title="A", size=SMALL))
        drawn(map_figure(level_map(without_drift(book, HISTORY, venue()), HISTORY, "A"), title="A", size=SMALL))
    nothing = level_map(OUTCOMES.clear(), HISTORY, "A")
    figure = map_figure(nothing, title="A", size=SMALL)
    assert any("no open levels" in text.get_text() for ax in figure.axes for text in ax.texts)
    drawn(figure)


def test_round_prices__are_labelled_and_ties_on_edges_drawn() -> None:
    history = Market(HISTORY.bars.with_columns(pl.col("open", "high", "low", "close") * 400))
    levels = levels_of(Book(positions(history)), history, venue(), level_grid(history, "A", bins=60))
    ax = heatmap(levels, axes())
    labels = [ax.yaxis.get_major_formatter()(tick, None) for tick in ax.get_yticks()]
    assert "40,000" in labels


def test_film__shows_more_and_more_and_ends_with_all_levels() -> None:
    moving = film(LEVELS, BARS, title="Film", pictures=5, size=SMALL)
    shown = []
    for number in range(len(moving.columns)):
        moving.draw(number)
        shown.append(np.ma.count(mesh_of(moving.main).get_array()))
    assert shown == sorted(shown)
    assert shown[-1] == np.count_nonzero(LEVELS.amounts())
    assert moving.columns[-1] == LEVELS.grid.columns - 1
    picture = Image.open(BytesIO(moving.gif(a_second=5)))
    assert (picture.n_frames, picture.size) == (5, (400, 288))
    durations = []
    for number in range(5):
        picture.seek(number)
        durations.append(picture.info["duration"])
    assert durations == [200, 200, 200, 200, 2000]
    with pytest.raises(ArgumentError, match="50 pictures"):
        moving.gif(a_second=80)
    with pytest.raises(ArgumentError, match="bar a column"):
        film(LEVELS, BARS.head(3), title="A")


def test_indexed_pictures__keep_the_paper_and_come_near_every_other_colour() -> None:
    pixels = drawn(level_heatmap(LEVELS, BARS, title="A", look=DARK, size=SMALL))
    reduced = np.asarray(indexed(Image.fromarray(pixels), DARK).convert("RGB")).astype(int)
    ground = (pixels == np.rint(np.array(to_rgb(DARK.paper)) * 255).astype(np.uint8)).all(axis=-1)
    assert (reduced[ground] == pixels[ground]).all()
    assert np.abs(reduced - pixels).mean() < 4


def test_svg__is_written_with_the_cells_as_one_picture() -> None:
    file = BytesIO()
    level_heatmap(LEVELS, BARS, title="A", size=SMALL).savefig(file, format="svg")
    text = file.getvalue().decode()
    assert "<image" in text
    assert len(text) < 2_000_000


def score_frames() -> tuple[pl.DataFrame, pl.DataFrame]:
    names = ["map", "map x volatility", "uniform", "volatility", "round", "shifted"]
    area = np.linspace(0.8, 0.3, 12)
    scored = pl.DataFrame({"predictor": names * 2, "bins": ["all"] * 6 + ["touched"] * 6, "area": area,
                           "area_low": area - 0.05, "area_high": area + 0.05})  # fmt: skip
    pull = np.linspace(-0.1, 0.1, 6)
    bands = {"difference": pull, "difference_low": pull - 0.05, "difference_high": pull + 0.05}
    which = {"placebo": ["mirror"] * 3 + ["other_times"] * 3, "prices": ["all", "round", "other"] * 2}
    tested = pl.DataFrame(which | bands)
    return scored, tested.with_columns(
        pl.when(pl.col("prices") != "round").then("difference_low").otherwise(np.nan)
    )


def test_score__draws_every_estimate_with_its_band() -> None:
    scored, tested = score_frames()
    ax = scores(scored, axes(), bins="touched")
    middles = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    assert middles == pytest.approx(scored["area"][6:].to_list())
    bands = [tuple(line.get_xdata()) for line in ax.lines if line.get_marker() != "o"][:6]
    np.testing.assert_allclose(bands, scored.select("area_low", "area_high")[6:].to_numpy())
    assert [label.get_text() for label in ax.get_yticklabels()] == scored["predictor"][6:].to_list()
    other = magnet_differences(tested, axes())
    assert [line.get_xdata()[0] for line in other.lines if line.get_marker() == "o"] == pytest.approx(
        tested["difference"]
    )
    for given in ((scored, tested), (scored, None), (None, tested)):
        for look in LOOKS.values():
            inside_of(score_figure(*given, title="Score", subtitle="so far", notes=["a note"], look=look))


def test_score_axis__shows_every_estimate_where_bands_are_unknown() -> None:
    scored, _ = score_frames()
    unknown = scored.with_columns(area_low=pl.lit(np.nan), area_high=pl.lit(np.nan), area=pl.col("area") + 0.2)
    for bins in ("all", "touched"):
        ax = scores(unknown, axes(), bins=bins)
        low, high = ax.get_xlim()
        own = unknown.filter(bins=bins)["area"]
        assert low < own.min()
        assert own.max() < high


def test_dollars_in_words__are_money_not_mathematics() -> None:
    words = "$1 bn open, $2 bn triggered"
    figure = small_multiples([Panel(words, LEVELS, [])], title=words, subtitle=words, notes=[words], size=SMALL)
    assert len(np.unique(drawn(figure))) > 10


def test_drawing__changes_no_global_setting() -> None:
    before = dict(rcParams)
    drawn(level_heatmap(LEVELS, BARS, title="A", look=DARK, size=SMALL))
    assert dict(rcParams) == before


@pytest.mark.parametrize(
    ("low", "high"), [(6.5e-6, 1.3e-5), (27_000.0, 68_000.0), (0.03, 0.6), (1.0, 5_000.0), (99.0, 101.0)]
)
@pytest.mark.parametrize("size", [(10.0, 6.25), (5.0, 2.5)])
def test_price_labels_on_a_log_scale__are_round_readable_and_without_exponents(low, high, size) -> None:
    ax = axes(size)
    price_axis(ax, low, high, logarithmic=True)
    ticks = np.array(ax.get_yticks())
    assert 2 <= ticks.size <= 13
    assert (np.diff(np.log(ticks)) * theme.height(ax) / np.log(high / low) >= 1.9 * theme.TEXT).all()
    labels = [ax.yaxis.get_major_formatter()(tick, None) for tick in ticks]
    assert not any("e" in label for label in labels)
    assert [float(label.replace(",", "")) for label in labels] == pytest.approx(ticks.tolist())


def test_significant__writes_prices_without_exponents() -> None:
    assert [significant(price) for price in (43_556.2, 1.23456, 0.0000123456, 0.0)] == [
        "43,560", "1.235", "0.00001235", "0",
    ]  # fmt: skip
