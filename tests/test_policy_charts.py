"""Charts of survival, margins and policies: true to their frames, one panel, whole at every size."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from matplotlib import rcParams
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from backtest.chart.liquidations import survival_curves as survival
from backtest.chart.style import theme
from backtest.chart.venues import margin_charts as margins
from backtest.chart.venues import policy
from backtest.chart.venues.procedures import MEASURES, brackets, side_by_side
from backtest.schemas.frames import Side

START = datetime(2021, 5, 19, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SIZES = [(10.0, 6.25), (6.0, 7.0), (16.0, 9.0)]
RESPONSES = tuple(policy.RESPONSE_WORDS)


def axes(size=theme.SIZE):
    figure = Figure(figsize=size, dpi=theme.DPI)
    return theme.stacked_panels(figure, heights=(1.0,), title="Title", notes=("a note",))[0]


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def assert_whole(ax) -> None:
    """Every word that is shown lies inside the figure."""
    figure = ax.figure
    figure.canvas.draw()
    edge = figure.bbox
    ticks = [(tick.label1, tick.get_loc(), ax.get_xlim()) for tick in ax.xaxis.get_major_ticks()]
    ticks += [(tick.label1, tick.get_loc(), ax.get_ylim()) for tick in ax.yaxis.get_major_ticks()]
    drawn = [label for label, at, (low, high) in ticks if low <= at <= high]
    for text in (*ax.texts, *drawn, ax.title, ax.xaxis.label):
        if text.get_text() and text.get_visible():
            box = text.get_window_extent()
            assert edge.x0 - 1 <= box.x0, text.get_text()
            assert box.x1 <= edge.x1 + 1, text.get_text()


def curves() -> pl.DataFrame:
    hours = np.geomspace(1, 400, 60)
    parts = [
        pl.DataFrame(
            {
                "leverage": [name] * hours.size,
                "duration": [timedelta(hours=float(hour)) for hour in hours],
                "survival": np.exp(-hours / scale),
            }
        )
        for name, scale in (("5x", 900.0), ("20x", 100.0), ("100x", 10.0))
    ]
    return pl.concat(parts)


def surface() -> pl.DataFrame:
    rows = [
        {
            "side": side,
            "leverage": leverage,
            "horizon": HOUR * hours,
            "probability": min(leverage / 100 * hours**0.5 / 4, 1.0) if leverage < 100 else float("nan"),
        }
        for side in ("long", "short")
        for hours in (1, 8, 24, 168)
        for leverage in (2.0, 5.0, 20.0, 50.0, 100.0)
    ]
    return pl.DataFrame(rows).cast({"side": Side})


def rolling() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {
            "side": side,
            "method": method,
            "time": START + DAY * day,
            "margin": margin,
            "move": (move := float(rng.exponential(0.03))),
            "exceeded": move > margin,
        }
        for method, margin in (("peaks", 0.12), ("normal", 0.07))
        for side in ("long", "short")
        for day in range(200)
    ]
    return pl.DataFrame(rows).cast({"side": Side, "time": pl.Datetime("ms", "UTC")})


def adequacy() -> pl.DataFrame:
    rows = [
        {
            "tier": tier,
            "side": side,
            "condition": condition,
            "size": 10.0 ** (4 + tier),
            "rate": 0.005 * tier,
            "max_leverage": leverage,
            "time_to_close": timedelta(minutes=10**tier),
            "required_99": 0.01 * tier * extra,
            "required_99.9": 0.03 * tier * extra,
        }
        for tier, leverage in ((1, 100.0), (2, 20.0), (3, float("inf")))
        for side in ("long", "short")
        for condition, extra in (("every opening", 1.0), ("after liquidation", 1.6))
    ]
    return pl.DataFrame(rows)


def policies(histories=("one", "two"), caps=(None, 50.0, 20.0, 5.0)) -> pl.DataFrame:
    rows = []
    for history in histories:
        for response, weight in zip(RESPONSES, (1.0, 0.9, 0.7), strict=True):
            for place, cap in enumerate(caps):
                share = 0.4 * weight / (place + 1)
                rows.append(
                    {
                        "history": history,
                        "cap": cap,
                        "response": response,
                        "freedom": 1 - 0.1 * place / weight,
                        "liquidated_share": share,
                        "liquidated_share_low": share * 0.8,
                        "liquidated_share_high": share * 1.5,
                        "notional_share": share / 2,
                        "shortfall_per_million": 90 * weight / (place + 1) * (2 if history == "two" else 1),
                        "losses_per_million": 9_000 * weight,
                        "dominated": place == 2,
                    }
                )
    return pl.DataFrame(rows, schema_overrides={"cap": pl.Float64})


def test_survival__draws_each_group_from_its_curve_with_its_name():
    frame, ax = curves(), axes()
    bands = frame.with_columns(low=pl.col("survival") * 0.9, high=pl.col("survival").clip(0, 0.9) * 1.1)
    assert survival.survival(frame, ax, by="leverage", bands=bands) is ax
    lines = [line for line in ax.lines if len(line.get_xdata()) == 60]
    for line, name in zip(lines, ("5x", "20x", "100x"), strict=True):
        own = frame.filter(leverage=name)
        assert line.get_ydata() == pytest.approx(own["survival"].to_numpy())
        assert line.get_xdata() == pytest.approx([lasted / DAY for lasted in own["duration"]])
    assert texts(ax) == ["5x", "20x", "100x"]
    assert len(ax.collections) == 3


def test_shades__are_in_order_of_darkness():
    brightness = [0.3 * r + 0.6 * g + 0.1 * b for r, g, b, _ in survival.shades(6)]
    assert brightness == sorted(brightness, reverse=True)


def test_names_beside_lines__do_not_touch():
    ax = axes()
    ax.set_ylim(0, 1)
    found = survival.spread_out([0.5, 0.501, 0.02, 0.999, 0.998], ax)
    gap = 1.35 * theme.TEXT / theme.height(ax)
    ordered = sorted(found)
    assert (np.diff(ordered) >= gap - 1e-12).all()
    assert ordered[-1] <= 1 - gap / 2 + 1e-12
    assert survival.spread_out([0.2, 0.8], ax) == [0.2, 0.8]


def test_the_surface__is_the_probabilities_with_paper_at_zero_and_hollow_where_there_is_none():
    frame, ax = surface(), axes()
    assert survival.probability_surface(frame, ax, side="long") is ax
    mesh = ax.collections[0]
    chance = mesh.get_array()
    assert chance.shape == (5, 4)
    assert chance.mask[4].all()
    expected = frame.filter(side="long", leverage=20.0).sort("horizon")["probability"].to_list()
    assert chance[2].tolist() == expected
    assert to_rgba(survival.RISK(0.0)) == to_rgba(theme.PAPER)
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["1 h", "4 h", "8 h", "1 d", "2 d", "3 d", "1 w", "2 w"]


def test_edges__lie_between_neighbours_in_logarithms():
    found = survival.edges(np.array([1.0, 4.0, 16.0]))
    assert found == pytest.approx([0.5, 2.0, 8.0, 32.0])
    assert survival.edges(np.array([3.0])).size == 2


def test_margins__draw_moves_margins_and_what_went_beyond():
    frame, ax = rolling(), axes()
    assert margins.margins(frame, ax) is ax
    marks = [line for line in ax.lines if line.get_marker() == "o"]
    counted = frame.filter(method="peaks", exceeded=True)
    for line, side, sign in zip(marks, ("long", "short"), (-1, 1), strict=True):
        own = counted.filter(pl.col("side") == side)["move"].to_numpy()
        assert line.get_ydata() == pytest.approx(sign * own)
    assert texts(ax) == ["peaks", "normal", f"{counted.height} of 400 moves beyond peaks"]
    low, high = ax.get_ylim()
    assert low < -frame.filter(side="long")["move"].max()
    assert high > frame.filter(side="short")["move"].max()


def test_the_margin_table__draws_rates_and_what_is_required():
    frame, ax = adequacy(), axes((10, 5))
    assert margins.margin_table(frame, ax) is ax
    strokes = [line.get_xdata()[0] for line in ax.lines if line.get_color() == theme.INK]
    assert strokes == [0.005, 0.01, 0.015]
    bars = [tuple(line.get_xdata()) for line in ax.lines if line.get_color() != theme.INK]
    assert bars == [(row["required_99"], row["required_99.9"]) for row in frame.iter_rows(named=True)]
    assert texts(ax)[0] == "to 100 k, 100x\nclosed in 10 min"
    assert "leverage unknown" in texts(ax)[2]


def test_by_cap__goes_from_no_cap_to_the_lowest():
    frame, ax = policies(("one",)), axes()
    measure = policy.MEASURES[0]
    assert policy.by_cap(frame, ax, measure=measure) is ax
    assert [label.get_text() for label in ax.get_xticklabels()] == ["none", "50x", "20x", "5x"]
    for line, response in zip(ax.lines, RESPONSES, strict=True):
        own = frame.filter(response=response)
        assert line.get_ydata().tolist() == own["liquidated_share"].to_list()
    assert ax.get_ylim()[1] > frame["liquidated_share_high"].max()


def test_small_multiples__share_their_scale_along_a_row():
    figure = policy.small_multiples(policies(), title="Caps", notes=("a note",))
    panels = np.array(figure.axes).reshape(4, 2)
    for left, right in panels:
        assert left.get_ylim() == right.get_ylim()
    highest = policies()["shortfall_per_million"].max()
    assert panels[2, 0].get_ylim()[1] > highest
    assert "same size, more margin" in texts(panels[0, 1])


def test_the_frontier__joins_what_no_other_policy_beats():
    frame, ax = policies(("one",)), axes()
    assert policy.frontier(frame, ax) is ax
    kept = frame.filter(~pl.col("dominated"))
    joined = [line for line in ax.lines if line.get_linestyle() == "-"]
    for line, response in zip(joined, RESPONSES, strict=True):
        own = kept.filter(response=response).sort("freedom")
        assert line.get_xdata().tolist() == own["freedom"].to_list()
        assert line.get_ydata().tolist() == own["shortfall_per_million"].to_list()
    assert "none" in texts(ax)


def test_the_frontier__joins_what_stands_under_the_same_rates_only():
    one = policies(("one",)).with_columns(rate_scale=pl.lit(1.0), change=pl.lit("current rules"))
    two = one.with_columns(rate_scale=pl.lit(2.0), shortfall_per_million=pl.col("shortfall_per_million") / 2)
    ax = policy.frontier(pl.concat([one, two]), axes())
    joined = [line for line in ax.lines if line.get_marker() == "None"]
    assert [line.get_linestyle() for line in joined] == ["-", "--"] * len(RESPONSES)
    for solid, dashed in zip(joined[::2], joined[1::2], strict=True):
        np.testing.assert_allclose(2 * np.array(dashed.get_ydata()), np.array(solid.get_ydata()))


def test_caps_that_would_cover_one_another__are_named_once():
    near = policies(("one",), caps=(None, 100.0, 99.0, 2.0)).with_columns(
        freedom=pl.when(pl.col("cap") == 2).then(0.3).otherwise(1.0 - pl.int_range(pl.len()) * 1e-6),
        shortfall_per_million=pl.lit(50.0),
        dominated=pl.lit(False),
    )
    ax = policy.frontier(near, axes())
    assert [text for text in texts(ax) if text in ("none", "100x", "99x", "2x")] == ["none", "2x"]


@pytest.mark.parametrize("size", SIZES)
def test_charts__keep_their_words_inside_at_every_size(size):
    drawn = (
        lambda ax: survival.survival(curves(), ax, by="leverage"),
        lambda ax: survival.probability_surface(surface(), ax, side="short"),
        lambda ax: margins.margins(rolling(), ax),
        lambda ax: margins.margin_table(adequacy(), ax),
        lambda ax: policy.by_cap(policies(("one",)), ax, measure=policy.MEASURES[3]),
        lambda ax: policy.frontier(policies(("one",)), ax),
    )
    for draw in drawn:
        before = dict(rcParams)
        ax = axes(size)
        draw(ax)
        assert_whole(ax)
        assert dict(rcParams) == before
        assert len(ax.figure.axes) == 1


def procedures() -> pl.DataFrame:
    rows = [
        {
            "history": history, "procedure": name, "fill": fill, "losses_per_million": 30_000.0 + place,
            "shortfall_per_million": 10.0 * place + 5.0 * worst, "adl_per_million": 0.001 * worst,
            "adl_notional_per_million": 0.0,
        }
        for history in ("May", "October")
        for place, name in enumerate(("returned", "mexc", "a procedure with a long name"))
        for worst, fill in enumerate(("liquidation_price", "worst_price"))
    ]  # fmt: skip
    return pl.DataFrame(rows)


def test_brackets__reach_from_one_fill_to_the_other_and_say_both() -> None:
    ax = axes()
    measure = MEASURES[1]
    assert brackets(procedures().filter(history="May"), ax, measure=measure) is ax
    spans = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2]
    assert [tuple(span) for span in spans] == [(0.0, 5.0), (10.0, 15.0), (20.0, 25.0)]
    marks = [line for line in ax.lines if len(line.get_xdata()) == 1]
    hollow = [float(line.get_xdata()[0]) for line in marks if line.get_markerfacecolor() == theme.PAPER]
    assert hollow == [0.0, 10.0, 20.0]
    assert texts(ax) == ["0 to 5", "10 to 15", "20 to 25"]
    assert ax.get_ylim() == (2.5, -0.5)  # the first on top


def test_procedures_side_by_side__leave_out_measures_of_zero_and_lie_inside_the_figure() -> None:
    figure = side_by_side(procedures(), title="Title", subtitle="what", notes=["a note"])
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert len(figure.axes) == 2 * 3
    assert not any("closed by ADL" in title for title in titles)
    assert titles[0].startswith("May\n")
    for ax in figure.axes:
        assert_whole(ax)
    assert figure.axes[0].get_yticklabels()[0].get_text() == "fully closed, rest returned"


@pytest.mark.parametrize("histories", [("small", "large"), ("large", "small")])
def test_frontiers__show_the_losses_of_every_history_on_the_axis_they_share(histories):
    times = pl.when(history="large").then(1_000.0).otherwise(1.0)
    frame = policies(histories).with_columns(pl.col("shortfall_per_million") * times)
    figure = policy.frontiers(frame, title="Frontiers")
    highest = frame["shortfall_per_million"].max()
    for ax in figure.axes:
        assert ax.get_ylim()[1] > highest
        labels = [text for text in ax.texts if text.get_text() in ("none", "50x", "20x", "5x")]
        assert labels


def test_margins__are_within_the_axis_where_no_move_comes_near_them():
    calm = rolling().with_columns(pl.col("move") / 100, exceeded=pl.lit(False))
    ax = margins.margins(calm, axes())
    low, high = ax.get_ylim()
    assert low <= -calm["margin"].max()
    assert high >= calm["margin"].max()
