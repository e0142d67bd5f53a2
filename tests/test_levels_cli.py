"""``backtest levels``: what it prints and writes in every format, and how it refuses."""

import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import polars.testing
import pytest
from PIL import Image

from backtest.__main__ import main
from backtest.cli.common import types
from backtest.study.levels.clusters import Crowding

START = datetime(2021, 5, 10, tzinfo=UTC)
HOURS = 300


@pytest.fixture
def bars_file(tmp_path) -> Path:
    """Hourly bars with volume and open interest."""
    rng = np.random.default_rng(3)
    close = 45_000 * np.exp(np.cumsum(rng.normal(0, 0.008, HOURS)))
    opening = np.concatenate([[45_000.0], close[:-1]])
    columns = {
        "open": opening,
        "high": np.maximum(opening, close) * 1.003,
        "low": np.minimum(opening, close) * 0.997,
        "close": close,
        "volume": rng.exponential(2_000, HOURS),
        "open_interest": 50_000 * np.exp(np.cumsum(rng.normal(0, 0.02, HOURS))),
    }
    times = [START + timedelta(hours=hour) for hour in range(HOURS)]
    path = tmp_path / "bars.parquet"
    pl.DataFrame({"symbol": "BTCUSDT", "time": times, **columns}).write_parquet(path)
    return path


@pytest.fixture
def recorded_file(tmp_path) -> Path:
    """Liquidations that somebody recorded."""
    rng = np.random.default_rng(5)
    times = [START + timedelta(hours=int(hour)) for hour in np.sort(rng.integers(200, HOURS, 400))]
    path = tmp_path / "recorded.parquet"
    pl.DataFrame({"time": times, "price": rng.uniform(38_000, 52_000, 400), "notional": 1e5}).write_parquet(path)
    return path


def words(bars: Path, out: Path, *more: str) -> list[str]:
    return ["levels", "--bars", str(bars), "--venue", "binance", "--out", str(out), *more]


def test_every_file__is_written_and_holds_what_it_says(tmp_path, capsys, bars_file, recorded_file):
    out = tmp_path / "out"
    more = [
        "--since",
        "2021-05-18",
        "--recorded",
        str(recorded_file),
        "--formats",
        "png",
        "svg",
        "json",
        "parquet",
    ]
    assert main(words(bars_file, out, *more, "--caption", "mine", "--look", "dark", "--size", "slide")) == 0
    pictures = {
        f"{name}.{kind}"
        for name in ("levels", "map", "clusters", "cluster_outcomes", "score")
        for kind in ("png", "svg")
    }
    frames = {
        f"{name}.parquet"
        for name in ("levels", "map", "clusters", "tracks", "cluster_outcomes", "magnet", "score")
    }
    assert {path.name for path in out.glob("[!.]*")} == pictures | frames | {
        *("levels.json", "map.json", "series.json", "levels.schema.json", "map.schema.json", "summary.json"),
    }
    with Image.open(out / "levels.png") as picture:
        assert picture.size == (1920, 1080)
    told = json.loads((out / "levels.json").read_text())
    cells = pl.read_parquet(out / "levels.parquet")
    both = cells.group_by("time", "price_low").agg(pl.sum("notional"))
    assert len(told["liquidation_leverage_data"]) == both.height
    total = sum(amount for *_, amount in told["liquidation_leverage_data"])
    assert total == pytest.approx(cells["notional"].sum(), rel=1e-6)
    entries = [entry for own in json.loads((out / "map.json").read_text()).values() for entry in own]
    assert sum(entry[1] for entry in entries) == pytest.approx(
        pl.read_parquet(out / "map.parquet")["notional"].sum()
    )
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["inputs"]) == {str(bars_file), str(recorded_file), "binance", "binance_tiers.parquet"}
    assert summary["arguments"]["caption"] == "mine"
    printed = capsys.readouterr().out
    for part in (
        "estimated from volume",
        "Clusters within 25 % of the price, 2021-05-22",
        "and their outcome",
        "Magnet test",
        "Score of",
    ):
        assert part in printed


def test_at_and_window__decide_what_is_seen(tmp_path, bars_file):
    out = tmp_path / "out"
    more = ["--at", "2021-05-15T12:00", "--window", "2d", "--formats", "json", "parquet"]
    assert main(words(bars_file, out, *more)) == 0
    told = json.loads((out / "levels.json").read_text())
    seconds = [row[0] for row in told["price_candlesticks"]]
    assert seconds[0] == int(datetime(2021, 5, 13, 12, tzinfo=UTC).timestamp())
    assert told["update_time"] == int(datetime(2021, 5, 15, 12, tzinfo=UTC).timestamp())
    assert len(seconds) == 48


@pytest.mark.parametrize(
    ("at", "window", "columns"),
    [("2021-05-15T13:00", "2d", 7), ("2021-05-19T07:20", "5d", 9), ("now", "100h", 11), ("2021-05-17", "30d", 13)],
)
def test_map_clusters_and_heatmap__end_at_one_moment_and_price(
    tmp_path, monkeypatch, bars_file, at, window, columns
):
    studies = []
    monkeypatch.setattr("backtest.cli.levels.command._write", lambda study, *_: studies.append(study))
    more = ["--at", at, "--window", window, "--columns", str(columns)]
    assert main(words(bars_file, tmp_path / "out", *more)) == 0
    (study,) = studies
    end = min(datetime.max if at == "now" else datetime.fromisoformat(at), datetime(2021, 5, 22, 12))
    moment = end.replace(minute=0, tzinfo=UTC)
    closes = pl.read_parquet(bars_file).filter(pl.col("time") < moment)["close"]
    assert study.map.mark_price == closes[-1] == study.bars["close"][-1]
    assert study.clusters["mark_price"].unique().to_list() == [closes[-1]]
    assert study.map.moment == study.levels.grid.window[1] == study.clusters["time"][0] == moment


def test_at__uses_nothing_that_comes_after_it(tmp_path, monkeypatch, bars_file):
    studies = []
    monkeypatch.setattr("backtest.cli.levels.command._write", lambda study, *_: studies.append(study))
    shorter = tmp_path / "shorter.parquet"
    pl.read_parquet(bars_file).filter(pl.col("time") < datetime(2021, 5, 20, 7, tzinfo=UTC)).write_parquet(shorter)
    more = ["--at", "2021-05-20T07:00", "--since", "2021-05-18", "--columns", "110"]
    for bars in (bars_file, shorter):
        assert main(words(bars, tmp_path / "out", *more)) == 0
    whole, cut = studies
    for name in ("clusters", "cluster_outcomes", "magnet", "bars"):
        pl.testing.assert_frame_equal(getattr(whole, name), getattr(cut, name))
    np.testing.assert_array_equal(whole.levels.amounts(), cut.levels.amounts())


def test_window__is_told_as_far_as_the_bars_go(tmp_path, capsys, monkeypatch, bars_file):
    titles = []
    film = SimpleNamespace(gif=bytes)
    monkeypatch.setattr("backtest.chart.levels.films.film", lambda *_, title, **__: titles.append(title) or film)
    for window, days in (("40d", "10 to 14 May 2021"), ("2d", "13 to 14 May 2021")):
        more = ["--at", "2021-05-15", "--window", window, "--formats", "gif"]
        assert main(words(bars_file, tmp_path / "out", *more)) == 0
        assert titles.pop() == f"Liquidation levels of BTCUSDT, {days}"
        assert f"BTCUSDT, {days}," in capsys.readouterr().out


@pytest.mark.parametrize(
    ("window", "sentence"),
    [
        ("4d", "Magnet test left out: fewer than 30 pairs, or pairs on fewer than 5 days."),
        ("7d", "comparisons are left out: fewer than 30 pairs, or pairs on fewer than 5 days."),
    ],
)
def test_magnet_test__of_few_pairs_is_left_out(tmp_path, capsys, bars_file, window, sentence):
    out = tmp_path / "out"
    assert main(words(bars_file, out, "--window", window, "--formats", "parquet", "png")) == 0
    found = pl.read_parquet(out / "magnet.parquet")
    enough = found.filter(pl.col("pairs") >= 30, pl.col("blocks_held") >= 5)
    assert enough.height < found.height
    assert (out / "score.png").exists() == (enough.height > 0) == (window == "7d")
    printed = capsys.readouterr().out
    assert sentence in " ".join(printed.split())
    rows = [line for line in printed.splitlines() if line.startswith(("mirror ", "other_times "))]
    assert [line.split()[:3] for line in rows] == [
        [row["placebo"], row["prices"], f"{row['pairs']:,}"] for row in enough.iter_rows(named=True)
    ]


@pytest.mark.parametrize("reach", [None, 0.1, 0.35])
def test_reach__is_one_for_map_clusters_and_their_lives(tmp_path, capsys, bars_file, reach):
    out = tmp_path / "out"
    more = [] if reach is None else ["--reach", str(reach)]
    assert main(words(bars_file, out, "--formats", "parquet", *more)) == 0
    part = reach or Crowding().reach
    price = pl.read_parquet(bars_file)["close"][-1]
    for name in ("map", "clusters"):
        told = pl.read_parquet(out / f"{name}.parquet")
        furthest = max(1 - told["price_low"].min() / price, told["price_high"].max() / price - 1)
        assert 0.5 * part < furthest <= part + 1e-9
    assert f"Clusters within {part:.0%}".replace("%", " %") in capsys.readouterr().out


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_price_scale__decides_the_bins(tmp_path, bars_file, scale):
    out = tmp_path / "out"
    more = ["--price-scale", scale, "--bins", "50", "--columns", "40", "--formats", "json"]
    assert main(words(bars_file, out, *more)) == 0
    prices = np.array(json.loads((out / "levels.json").read_text())["y_axis"])
    steps = np.diff(prices) if scale == "linear" else np.diff(np.log(prices))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


def test_now__is_the_end_of_the_bars(tmp_path, bars_file):
    for name, more in (("one", []), ("two", ["--at", "now"])):
        assert main(words(bars_file, tmp_path / name, "--formats", "json", *more)) == 0
    one, two = ((tmp_path / name / "map.json").read_text() for name in ("one", "two"))
    assert one == two


def test_drift_and_half_life__change_the_map_and_say_so(tmp_path, capsys, bars_file):
    funding = tmp_path / "funding.parquet"
    times = [START + timedelta(hours=hour) for hour in range(0, HOURS, 8)]
    pl.DataFrame({"symbol": "BTCUSDT", "time": times, "rate": 0.003}).write_parquet(funding)
    found = {}
    for name, more in (("still", []), ("drift", ["--drift"]), ("fading", ["--half-life", "12h"])):
        out = tmp_path / name
        assert main(words(bars_file, out, "--funding", str(funding), "--formats", "json", *more)) == 0
        found[name] = json.loads((out / "levels.json").read_text())
        capsys.readouterr()
    assert found["still"]["liquidation_leverage_data"] != found["drift"]["liquidation_leverage_data"]
    totals = {name: sum(row[2] for row in told["liquidation_leverage_data"]) for name, told in found.items()}
    assert totals["fading"] < 0.9 * totals["still"]
    assert "levels moved by funding and holders" in found["drift"]["assumptions"]


def test_positions__are_drawn_as_given(tmp_path, capsys, bars_file):
    frame = pl.DataFrame(
        {"position_id": [1, 2], "symbol": ["BTCUSDT"] * 2, "side": ["long", "short"], "entry_time": [START] * 2,
         "entry_price": [45_000.0] * 2, "quantity": [1.0, 1.0], "leverage": [2.0, 2.0]}
    )  # fmt: skip
    path = tmp_path / "positions.parquet"
    frame.write_parquet(path)
    out = tmp_path / "out"
    assert (
        main(words(bars_file, out, "--positions", str(path), "--reach", "0.9", "--formats", "parquet", "png")) == 0
    )
    assert pl.read_parquet(out / "map.parquet")["notional"].len() == 2
    assert "positions as given in positions.parquet" in capsys.readouterr().out


def test_film__is_a_gif_with_a_picture_a_column(tmp_path, bars_file):
    out = tmp_path / "out"
    assert main(words(bars_file, out, "--window", "6h", "--bins", "60", "--formats", "gif")) == 0
    with Image.open(out / "levels.gif") as told:
        assert told.n_frames == 6
    assert {path.name for path in out.glob("[!.]*")} == {"levels.gif", "summary.json"}


def pretended(folder: Path, script: str) -> str:
    """Return a PATH on which ffmpeg is a script."""
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_mp4__is_handed_to_ffmpeg_picture_by_picture(tmp_path, bars_file, monkeypatch):
    monkeypatch.setenv("PATH", pretended(tmp_path / "bin", 'for last; do :; done; cat | wc -c > "$last"'))
    out = tmp_path / "out"
    assert main(words(bars_file, out, "--window", "3h", "--bins", "40", "--formats", "mp4")) == 0
    assert int((out / "levels.mp4").read_text()) == (3 + 20) * 960 * 600 * 4


def test_mp4__says_why_it_cannot_be_made(tmp_path, capsys, bars_file, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert main(words(bars_file, tmp_path / "out", "--formats", "mp4")) == 2
    assert "ffmpeg" in capsys.readouterr().err
    monkeypatch.setenv("PATH", pretended(tmp_path / "bin", 'echo "no such codec" >&2; exit 1'))
    assert main(words(bars_file, tmp_path / "out", "--window", "3h", "--bins", "40", "--formats", "mp4")) == 2
    assert "no such codec" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--at", "2020-01-01"], "no bar of BTCUSDT has ended"),
        (["--at", "2021-05-22T12:01"], "after the end of the bars of BTCUSDT, 2021-05-22 12:00"),
        (["--at", "2021-05-14", "--since", "2021-05-15"], "after the time of the map, 2021-05-14 00:00"),
        (["--window", "7"], "must be like 12h"),
        (["--reach", "2"], "between 0 and 1"),
        (["--formats", "bmp"], "bmp"),
        (["--chart", "DOGEUSDT"], "not in the bars"),
        (["--recorded", "nowhere.parquet"], "is not a file"),
        (["--recorded", "a", "--hidden-truth"], "not allowed with"),
        (["--since", "2020-01-01"], "before the end of the first column"),
        (["--at", "yesterday"], "must be a date"),
        (["--adjustments", "x.csv"], "needs positions"),
    ],
)
def test_wrong_options__are_refused_in_one_line(tmp_path, capsys, bars_file, more, part):
    assert main(words(bars_file, tmp_path / "out", *more)) == 2
    told = capsys.readouterr()
    assert part in told.err
    assert told.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_spans_and_moments__are_read():
    assert types.span("12h") == timedelta(hours=12)
    assert types.span("4w") == timedelta(weeks=4)
    assert types.time_or_now("now") is None
    assert types.time_or_now("2021-05-19") == datetime(2021, 5, 19, tzinfo=UTC)
