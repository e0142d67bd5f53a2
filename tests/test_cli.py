"""The command line: what each command prints and writes, and how it refuses."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from backtest.__main__ import main
from backtest.amounts import amount, column
from backtest.cli.common import text
from backtest.cli.common.progress import Clock
from backtest.population import MixBySide, SideMix
from backtest.schemas.frames import OUTCOME_COLUMNS
from backtest.study.liquidations import tails

START = datetime(2021, 5, 18, tzinfo=UTC)
HOURS = 72


@pytest.fixture
def bars_file(tmp_path) -> Path:
    """Three days of hourly bars that fall by a third on the second day, the last price further."""
    hour = np.arange(HOURS)
    close = 45_000 - 15_000 / (1 + np.exp(-(hour - 36) / 2))
    opening = np.concatenate([[45_000.0], close[:-1]])
    prices = {"open": opening, "high": np.maximum(opening, close) * 1.001, "low": close * 0.995, "close": close}
    last = {f"last_{name}": values for name, values in prices.items()} | {"last_low": close * 0.95}
    frame = pl.DataFrame(
        {"symbol": "BTCUSDT", "time": [START + timedelta(hours=int(n)) for n in hour], **prices, **last}
    )
    path = tmp_path / "bars.parquet"
    frame.write_parquet(path)
    return path


@pytest.fixture
def positions_file(tmp_path) -> Path:
    """Two longs, of which 20 times is liquidated and 2 times is not, and a short."""
    frame = pl.DataFrame(
        {
            "position_id": [1, 2, 3],
            "symbol": ["BTCUSDT"] * 3,
            "side": ["long", "long", "short"],
            "entry_time": [START] * 3,
            "entry_price": [45_000.0] * 3,
            "quantity": [1.0, 1.0, 2.0],
            "leverage": [20.0, 2.0, 10.0],
        }
    )
    path = tmp_path / "positions.csv"
    frame.with_columns(pl.col("entry_time").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_csv(path)
    return path


def sweep_words(bars: Path, positions: Path, out: Path, *more: str) -> list[str]:
    return [
        "sweep", "--bars", str(bars), "--positions", str(positions), "--venue", "binance", "--out", str(out), *more
    ]  # fmt: skip


def refusal(capsys) -> str:
    """Return the one line on the error stream, which must be all there is."""
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1, printed.err
    assert printed.err.startswith("backtest: error: ")
    assert printed.out == ""
    return printed.err


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".partial")]


def test_sweep__writes_outcomes_and_summary(tmp_path, capsys, bars_file, positions_file):
    out = tmp_path / "deep" / "out"
    assert main(sweep_words(bars_file, positions_file, out)) == 0
    outcomes = pl.read_parquet(out / "outcomes.parquet")
    assert outcomes["outcome"].to_list() == ["liquidated", "open", "open"]
    assert list(outcomes.columns[-len(OUTCOME_COLUMNS) :]) == list(OUTCOME_COLUMNS)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["outcomes"] == {
        "liquidated": 1, "stopped": 0, "took_profit": 0, "exited": 0, "open": 2, "unknown": 0,
        "rejected": 0
    }  # fmt: skip
    assert summary["inputs"][str(bars_file)] == sha256(bars_file.read_bytes()).hexdigest()
    assert set(summary["inputs"]) == {str(bars_file), str(positions_file), "binance", "binance_tiers.parquet"}
    assert summary["tiers"]["used"][0]["in_force"]
    assert summary["totals"]["liquidated_notional"] == pytest.approx(outcomes["fill_notional"][0], abs=0.01)
    assert {"backtest", "python", "numpy", "polars", "numba"} <= set(summary["versions"])
    assert summary["arguments"]["leverage_limit"] == "error"
    assert summary["book"]["assumptions"] == ["positions as given in positions.csv"]
    assert hidden(tmp_path) == []
    printed = capsys.readouterr().out
    assert "liquidated           1  33.33" in printed
    assert "table 2021-03-18, in force" in printed


def test_sweep__writes_again_over_its_own_results(tmp_path, bars_file, positions_file):
    words = sweep_words(bars_file, positions_file, tmp_path / "out")
    assert main(words) == 0
    first = (tmp_path / "out" / "outcomes.parquet").read_bytes()
    assert main(words) == 0
    assert (tmp_path / "out" / "outcomes.parquet").read_bytes() == first


def test_run__of_own_files_prints_tables_whose_figures_are_those_of_the_outcomes(
    tmp_path, capsys, bars_file, positions_file
):
    out = tmp_path / "out"
    words = ["run", "--bars", str(bars_file), "--positions", str(positions_file), "--out", str(out)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    outcomes = pl.read_parquet(out / "outcomes.parquet")
    (amount,) = outcomes.filter("liquidated")["fill_notional"]
    assert f"Liquidated: ${amount / 1e3:.1f} k, 100.0 % of it longs; 25.00 %" in printed
    day = next(line.split() for line in printed.splitlines() if line.startswith("2021-05-19"))
    assert day == ["2021-05-19", f"{amount / 1e3:.1f}", "0.0", "1", "0", "25.00", "25.00", "0.00"]
    total = next(line.split() for line in printed.splitlines() if line.startswith("all "))
    assert total[1:] == day[1:]
    flow = pl.read_parquet(out / "flow.parquet")
    assert flow.height == HOURS
    assert flow["notional"].sum() == pytest.approx(amount, abs=0.01)
    (cascade,) = pl.read_parquet(out / "cascades.parquet").to_dicts()
    assert cascade["notional"] == pytest.approx(amount, abs=0.01)
    assert cascade["start"] == outcomes.filter("liquidated")["outcome_time"].item()
    assert (out / "cascade.png").read_bytes().startswith(b"\x89PNG")
    assert "synthetic" not in printed


def test_run__shows_the_book_under_mark_and_last_triggers(tmp_path, capsys, bars_file, positions_file):
    words = ["run", "--bars", str(bars_file), "--positions", str(positions_file), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines() if line.startswith(("mark price", "last price"))]
    assert [row[0] for row in rows] == ["mark", "last"]
    assert [row[2] for row in rows] == ["25.00", "25.00"]  # the last price is there an hour earlier or more
    assert rows[1][-2:] < rows[0][-2:]


def test_run__of_the_sample_declares_its_substitute_table_and_its_synthetic_book(tmp_path, capsys):
    out = tmp_path / "out"
    words = ["run", "--count", "2000", "--leverage-mix", "low", "--seed", "1", "--out", str(out)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "reconstruction" in printed
    assert "substitute table 2022-02-16, not in force" in printed
    assert "The book is synthetic" in " ".join(printed.split())
    summary = json.loads((out / "summary.json").read_text())
    assert summary["tiers"]["rule"] == {"ETHUSDT": "2022-02-16"}
    assert summary["book"]["seed"] == 1
    assert summary["book"]["leverage_mix"] == "low"
    assert pl.read_parquet(out / "outcomes.parquet").height == 2000
    assert set(pl.read_parquet(out / "flow.parquet")["symbol"]) == {"BTCUSDT", "ETHUSDT"}


def test_run__says_what_is_known_less_well(tmp_path, capsys, bars_file, positions_file):
    bars = pl.read_parquet(bars_file).filter(~pl.col("time").is_between(START, START + timedelta(hours=9)))
    first = pl.read_parquet(bars_file).head(1)
    pl.concat([first, bars]).write_parquet(bars_file)
    words = ["run", "--bars", str(bars_file), "--positions", str(positions_file), "--out", str(tmp_path / "out")]
    assert main([*words, "--gap-limit", "8.5"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 gap of 9 h from 2021-05-18 01:00 (BTCUSDT), 9 bars missing; 1 beyond the limit" in printed
    assert "3 positions ended unknown, across a long gap." in printed


def test_run__takes_a_window_and_one_symbol(tmp_path, bars_file):
    out = tmp_path / "out"
    words = ["run", "--bars", str(bars_file), "--count", "50", "--out", str(out), "--symbol", "BTCUSDT"]
    assert main([*words, "--from", "2021-05-19", "--until", "2021-05-20", "--every", "4h"]) == 0
    flow = pl.read_parquet(out / "flow.parquet")
    assert flow["time"].to_list() == [START + timedelta(hours=24 + 4 * n) for n in range(6)]


def test_run__draws_a_long_window_in_intervals_that_can_be_seen(tmp_path):
    days = [START + timedelta(days=n) for n in range(1_100)]
    price = pl.Series([50_000.0 + n for n in range(len(days))])
    bars = pl.DataFrame({"symbol": "BTCUSDT", "time": days})
    bars = bars.with_columns(price.alias(part) for part in ("open", "high", "low", "close"))
    for rows, step in ((bars, timedelta(weeks=1)), (bars.head(100), timedelta(days=1))):
        rows.write_parquet(tmp_path / "bars.parquet")
        words = f"run --bars {tmp_path}/bars.parquet --tiers nearest --count 50 --out {tmp_path}/out"
        assert main(words.split()) == 0
        found = pl.read_parquet(tmp_path / "out" / "flow.parquet")["time"]
        assert set(found.diff().drop_nulls()) == {step}


def test_run__says_where_one_position_makes_an_hour_heavy(tmp_path, capsys, bars_file):
    bars = pl.read_parquet(bars_file)
    first = bars.row(0, named=True)
    held = pl.DataFrame(
        {
            "position_id": [1, 2],
            "symbol": ["BTCUSDT"] * 2,
            "side": ["long"] * 2,
            "entry_time": [first["time"]] * 2,
            "entry_price": [first["open"]] * 2,
            "quantity": [0.3, 0.1],
            "leverage": [100.0] * 2,
        }
    )
    held.write_parquet(tmp_path / "held.parquet")
    words = ["run", "--bars", str(bars_file), "--positions", str(tmp_path / "held.parquet"), "--tiers", "nearest"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "In 1 of these 1 hour a single position is more than half of the amount" in " ".join(printed.split())
    assert " 75\n" in printed
    assert "Hour with the most positions liquidated: " in printed


def test_price__answers_the_example_of_the_document(capsys):
    words = "price --venue ascendex --side long --entry-price 50000 --quantity 1 --leverage 25 --margin 5000"
    assert main(words.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "liquidation  46,200       -7.60" in lines
    assert "bankruptcy   45,000      -10.00" in lines
    assert "takeover     45,738       -8.52" in lines
    assert "initial margin      2,000 USDT (4 %)" in lines
    assert "maintenance margin  1,200 USDT, whatever the mark price" in lines
    assert any(line.startswith("rate used           2.4 % of the entry notional") for line in lines)


@pytest.mark.parametrize(
    ("side", "entry", "rows"),
    [
        (
            "long",
            "0.5",
            [
                ("0.500", "0", "100", "4.00", "Healthy"),
                ("0.480", "-20", "80", "3.20", "Healthy"),
                ("0.450", "-50", "50", "2.00", "Caution"),
                ("0.430", "-70", "30", "1.20", "Warning"),
                ("0.425", "-75", "25", "1.00", "Liquidation"),
            ],
        ),
        (
            "short",
            "0.6",
            [
                ("0.600", "0", "100", "4.00", "Healthy"),
                ("0.630", "-30", "70", "2.80", "Healthy"),
                ("0.650", "-50", "50", "2.00", "Caution"),
                ("0.670", "-70", "30", "1.20", "Warning"),
                ("0.675", "-75", "25", "1.00", "Liquidation"),
            ],
        ),
    ],
)
def test_price__table_is_that_of_the_document(capsys, side, entry, rows):
    words = ["price", "--venue", "ascend", "--side", side, "--entry-price", entry, "--quantity", "1000"]
    assert main([*words, "--leverage", "10", "--table", *(row[0] for row in rows)]) == 0
    lines = [tuple(line.split()) for line in capsys.readouterr().out.splitlines()]
    kept = [(*line[:3], *line[4:]) for line in lines if len(line) == 6 and line[3] == "25"]
    assert kept == rows


def test_price__table_ends_at_the_liquidation_price_by_itself(capsys):
    words = (
        "price --venue ascendex --side short --entry-price 50000 --quantity 1 --leverage 25 --margin 5000 --table"
    )
    assert main(words.split()) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.endswith("Liquidation")]
    assert rows == [["53,800", "-3,800", "1,200", "1,200", "1.00", "Liquidation"]]


def test_price__counts_the_distance_in_days_of_volatility(capsys, bars_file):
    words = "price --venue ascendex --side long --entry-price 50000 --quantity 1 --leverage 25 --margin 5000"
    assert main([*words.split(), "--bars", str(bars_file), "--window", "2", "--at", "2021-05-20T12:00"]) == 0
    printed = capsys.readouterr().out
    closes = pl.read_parquet(bars_file)["close"].to_numpy()[11:60]  # closes from 18 May 12:00 to 20 May 12:00
    daily = np.diff(np.log(closes)).std(ddof=1) * np.sqrt(24)
    liquidation = next(line.split() for line in printed.splitlines() if line.startswith("liquidation"))
    assert liquidation[-1] == f"{abs(np.log(46_200 / 50_000)) / daily:.2f}"
    assert "48 log returns of closes, 2021-05-18 12:00 to 2021-05-20 12:00 UTC" in " ".join(printed.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--date 2021-05-19 --leverage 10", "2021-03-18, in force 2021-03-18 to 2021-06-22"),
        (
            "--date 2019-01-01 --tiers nearest --leverage 10",
            "2020-08-01, not in force on 2019-01-01: the nearest in time",
        ),
        (
            "--date 2025-06-15 --tiers later --leverage 10",
            "2025-07-02, not in force on 2025-06-15: chosen as the later",
        ),
        (
            "--date 2025-06-15 --tiers 2021-06-22 --leverage 10",
            "2021-06-22, not in force on 2025-06-15: taken by its name",
        ),
        ("--symbol XRPUSDT --date 2025-10-10 --leverage 10", "2025-08-14, seen 2025-08-14 to 2026-09-29"),
        ("--date 2021-05-19 --leverage 10", "125x at this size"),
        ("--date 2021-05-19 --leverage 200", "200x is above the limit: the venue would refuse it"),
        ("--date 2021-05-19 --margin 60000", "no positive price liquidates it"),
        ("--date 2021-05-19 --leverage 10 --margin 100", "could not be opened"),
        ("--date 2021-05-19 --leverage 10 --margin 100", "liquidated at its own entry price"),
    ],
)
def test_price__says_what_it_rests_on_and_what_speaks_against_it(capsys, words, said):
    start = "price --venue binance --side long --entry-price 43000 --quantity 1"
    assert main([*start.split(), *words.split()]) == 0
    assert said in " ".join(capsys.readouterr().out.split())


def test_venues__lists_every_bundled_venue(capsys):
    assert main(["venues"]) == 0
    printed = capsys.readouterr().out
    for name in ("ascend", "ascendex", "binance", "mexc", "primexbt"):
        assert f"\n{name} " in printed


@pytest.mark.parametrize("name", ["ascend", "ascendex", "ascendex-2021-09", "binance", "bitmex", "bybit", "mexc"])
def test_venues__tells_rules_sources_tables_and_unknowns(capsys, name):
    assert main(["venues", name]) == 0
    printed = capsys.readouterr().out
    for heading in ("Rules", "Tier tables", "Not known", "trigger"):
        assert f"\n{heading}" in printed or f"\n  {heading}" in printed


def test_venues__prints_every_tier_of_a_contract(capsys):
    assert main(["venues", "binance", "--symbol", "ETHUSDT"]) == 0
    printed = capsys.readouterr().out
    assert "ETHUSDT, table 2022-02-16, marginal, seen 2022-02-16 to 2022-07-30" in printed
    assert "100,000      500,000       1         365                50" in printed


REFUSALS = [
    ("", "the following arguments are required: COMMAND"),
    ("nonsense", "invalid choice: 'nonsense'"),
    ("run --cuont 5", "unrecognized arguments: --cuont 5, did you mean --count? (see backtest run --help)"),
    ("run --paint red", "unrecognized arguments: --paint red (see backtest run --help)"),
    ("run --count 0", "argument --count: must be at least 1, is '0'"),
    ("run --count many", "argument --count: must be a whole number, is 'many'"),
    ("run --seed -1", "argument --seed"),
    ("run --leverage-mix huge", "argument --leverage-mix: invalid choice: 'huge'"),
    ("run --gap-limit long", "argument --gap-limit: must be a number, is 'long'"),
    ("run --gap-limit=-1", "argument --gap-limit: must be hours"),
    ("run --from yesterday", "argument --from: must be a date or a time like 2021-05-19"),
    ("run --from 2022-01-01", "--from leaves no bars"),
    ("run --every 1x", "argument --every: must be like 15m, 1h, 1d or 1w"),
    ("run --venue nowhere", "venue 'nowhere' is neither a file nor one of"),
    ("run --funding f.parquet", "--funding needs bars"),
    ("run --adjustments a.parquet", "--adjustments needs positions"),
    ("run --positions p.parquet --count 5", "--count is for a synthetic book"),
    ("run --bars missing.parquet", "missing.parquet"),
    ("run --symbol XRPUSDT", "--symbol XRPUSDT is not in the bars, which hold BTCUSDT, ETHUSDT"),
    ("run --chart XRPUSDT", "--chart XRPUSDT is not in the bars"),
    (
        "run --tiers sometimes",
        "--tiers must be strict, earlier, later, strictest, nearest or the name of a table, is 'sometimes'",
    ),
    ("run --tiers strict --count 10", "ETHUSDT"),
    ("run --trigger-price last --count 10", "last"),
    ("run --fill-price last_close --count 10", "last"),
    ("sweep --bars b.parquet", "the following arguments are required: --venue"),
    ("price --venue binance --side up --entry-price 1 --quantity 1", "argument --side: invalid choice: 'up'"),
    ("price --venue binance --side long --entry-price -1 --quantity 1", "argument --entry-price"),
    ("price --venue binance --side long --entry-price nan --quantity 1", "must be a finite number above zero"),
    (
        "price --venue binance --side long --entry-price 1 --quantity 1",
        "needs --margin, --leverage, or both",
    ),
    ("price --venue binance --side long --entry-price 1 --quantity 1e12 --leverage 2", "is beyond table"),
    ("venues nowhere", "venue 'nowhere' is neither a file nor one of"),
]


@pytest.mark.parametrize(("words", "said"), REFUSALS)
def test_refusals__are_one_line_and_write_nothing(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    assert said in refusal(capsys)
    assert list(tmp_path.iterdir()) == []


def test_refusals__name_a_damaged_file(tmp_path, capsys, positions_file):
    damaged = tmp_path / "bars.parquet"
    damaged.write_bytes(b"PAR1 not at all")
    assert main(sweep_words(damaged, positions_file, tmp_path / "out")) == 2
    assert "bars.parquet" in refusal(capsys)
    assert not (tmp_path / "out").exists()


def test_refusals__name_an_output_that_is_a_file(tmp_path, capsys, bars_file, positions_file):
    (tmp_path / "out").write_text("mine")
    assert main(sweep_words(bars_file, positions_file, tmp_path / "out")) == 2
    assert "is a file" in refusal(capsys)
    assert (tmp_path / "out").read_text() == "mine"


def test_refusals__name_a_venue_file_that_is_a_folder(tmp_path, capsys):
    assert main(["venues", str(tmp_path)]) == 2
    assert "is neither a file nor one of" in refusal(capsys)


def test_help__imports_nothing_heavy():
    commands = ["run", "sweep", "replay", "levels", "policy", "fetch", "venues", "price", "warm"]
    heavy = ("numpy", "polars", "numba", "matplotlib", "json", "tomllib", "platformdirs", "filelock", "logging")
    assert imported_of(heavy, ["--help"], *([command, "--help"] for command in commands)) == "[]"


def imported_of(names: tuple[str, ...], *commands: list[str]) -> str:
    """Return which modules are imported once commands have run in a process of their own, as it prints them."""
    program = (
        f"import sys; from backtest.__main__ import main; [main(words) for words in {commands}]; "
        f"print([name for name in {names} if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return finished.stdout.splitlines()[-1]


def test_a_price__imports_no_charts_no_studies_and_no_engine():
    words = ["price", "--venue", "binance", "--side", "long", "--entry-price", "50000", "--quantity", "1"]
    heavy = ("matplotlib", *(f"backtest.{part}" for part in ("chart", "study", "scale", "population", "engine")))
    assert imported_of(heavy, [*words, "--leverage", "25"]) == "[]"


@pytest.mark.parametrize("command", ["run", "sweep", "venues", "price"])
def test_help__of_each_command_comes_without_running_it(capsys, command):
    assert main([command, "--help"]) == 0
    assert f"usage: backtest {command}" in capsys.readouterr().out


def test_version__is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("backtest ")


def test_a_reader_that_stops_early__is_no_error():
    program = "from backtest.__main__ import main; import sys; sys.exit(main(['venues', 'binance']))"
    pipe = f'{sys.executable} -c "{program}" | head -1; exit ${{PIPESTATUS[0]}}'
    finished = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, check=False)
    assert finished.returncode == 0
    assert finished.stderr == ""


def test_a_reader_that_stops_early__still_gets_the_files(tmp_path, bars_file, positions_file):
    words = ["run", "--bars", str(bars_file), "--positions", str(positions_file), "--out", str(tmp_path / "out")]
    program = f"from backtest.__main__ import main; main({words})"
    subprocess.run(["bash", "-c", f'{sys.executable} -c "{program}" | true'], check=True)
    assert (tmp_path / "out" / "cascade.png").is_file()


def test_clock__is_silent_where_nobody_watches(capsys):
    clock = Clock()
    with clock.stage("work"):
        pass
    assert capsys.readouterr().err == ""
    assert list(clock.seconds) == ["work"]


def test_clock__names_the_stage_on_a_terminal_and_takes_it_back(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Clock().stage("work"):
        pass
    assert capsys.readouterr().err == "work ...\r\x1b[K"


def test_table__aligns_names_left_and_numbers_right():
    lines = text.table(["name", "size\n$ m"], [["a", "1"], ["longer", "1,000"]]).splitlines()
    assert lines == ["         size", "name      $ m", "------  -----", "a           1", "longer  1,000"]


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([46_200.0, 45_000.0], ["46,200", "45,000"]),
        ([41_781.2, 43_000.0], ["41,781.2", "43,000.0"]),
        ([0.425, None], ["0.425", "-"]),
        ([0.0], ["0"]),
        ([float("nan")], ["-"]),
        ([100.0, -20.5], ["100.0", "-20.5"]),
        ([123_456_789.0], ["123,456,789"]),
    ],
)
def test_column__shows_seven_figures_and_no_idle_zeros(values, written):
    assert column(values) == written


def standing_bars(tmp_path: Path) -> Path:
    """Write two days of hourly bars with volume and open interest."""
    rng = np.random.default_rng(11)
    hours = 48
    close = 40_000 * np.exp(np.cumsum(rng.normal(0, 0.02, hours)))
    opening = np.concatenate([[40_000.0], close[:-1]])
    path = tmp_path / "standing.parquet"
    pl.DataFrame(
        {
            "symbol": ["BTCUSDT"] * hours,
            "time": [datetime(2021, 5, 18, tzinfo=UTC) + timedelta(hours=hour) for hour in range(hours)],
            "open": opening,
            "high": np.maximum(opening, close) * 1.01,
            "low": np.minimum(opening, close) * 0.99,
            "close": close,
            "volume": rng.exponential(1_000, hours),
            "open_interest": 20_000 * np.exp(np.cumsum(rng.normal(0, 0.05, hours))),
        }
    ).write_parquet(path)
    return path


def test_run__tells_how_heavy_the_tail_of_cascades_is(tmp_path, capsys):
    words = ["run", "--count", "30000", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    sizes = pl.read_parquet(tmp_path / "out" / "cascades.parquet")["notional"]
    tail = tails.fit(sizes)
    told = f"tail exponent {tail.exponent:.2f} ± {tail.standard_error:.2f} from"
    assert told in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("kind", ["open-interest", "volume"])
def test_run__estimates_a_book_and_leads_with_dollars(tmp_path, capsys, kind):
    words = ["run", "--bars", str(standing_bars(tmp_path)), "--population", kind, "--turnover", "0.1"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert f"estimated from {kind.replace('-', ' ')}, not positions: 0.1 of" in told
    assert "liquidated a day, of open interest at its beginning:" in " ".join(told.split())
    others = {"open-interest": "liquidated with other shares of the volume", "volume": "held 15 h: longs"}
    assert others[kind] in " ".join(told.split())
    assert "Largest cascades" in told
    assert "The book is synthetic" not in told
    outcomes = pl.read_parquet(tmp_path / "out" / "outcomes.parquet")
    lost = (
        outcomes.filter("liquidated").select((pl.col("fill_notional") * pl.col("surviving_weight")).sum()).item()
    )
    assert f"Liquidated: {amount(lost, 'USDT')}, " in told


def test_run__estimates_the_book_of_bars_with_volume_unless_another_is_asked_for(tmp_path, capsys):
    words = ["run", "--bars", str(standing_bars(tmp_path)), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert "estimated from volume, not positions: 0.05 of" in capsys.readouterr().out
    assert main([*words, "--count", "1000"]) == 0
    told = capsys.readouterr().out
    assert "synthetic book: 1,000 positions" in told
    assert "volume times the move" not in told


def test_run__ranks_days_by_volume_times_the_move_and_says_the_rank_in_an_estimated_book(tmp_path, capsys):
    path = standing_bars(tmp_path)
    assert main(["run", "--bars", str(path), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    lines = told[told.index("Heaviest days by volume times the move") :].splitlines()
    hours = pl.read_parquet(path).with_columns(day=pl.col("time").dt.date())
    fall = (1 - pl.col("low") / pl.col("open")) * pl.col("volume") * pl.col("close")
    days = hours.group_by("day").agg(product=fall.sum()).sort("product", descending=True)
    found = [line.split() for line in lines if line.startswith("longs")]
    assert [row[2] for row in found] == [f"{day:%Y-%m-%d}" for day in days["day"]]
    outcomes = pl.read_parquet(tmp_path / "out" / "outcomes.parquet").filter(pl.col("liquidated"), side="long")
    lost = outcomes.group_by(pl.col("outcome_time").dt.date()).agg(
        (pl.col("fill_notional") * pl.col("surviving_weight")).sum()
    )
    heaviest = lost.sort("fill_notional", descending=True)["outcome_time"][0]
    assert {row[2]: row[4] for row in found}[f"{heaviest:%Y-%m-%d}"] == "1"
    assert "Heaviest hours of the book" in told


def test_run__gives_shares_of_what_was_open_under_an_estimated_book(tmp_path, capsys):
    path = standing_bars(tmp_path)
    assert main(["run", "--bars", str(path), "--out", str(tmp_path / "out")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "% of open: of the notional of the side that was open when the day began; new:" in told
    assert "% of everything ever opened" in told
    assert "of book" not in told
    assert "the book's entry notional" not in told
    flow = pl.read_parquet(tmp_path / "out" / "flow.parquet")
    assert {"long_open", "long_share", "long_share_new"} <= set(flow.columns)
    assert flow["long_share"].drop_nulls().drop_nans().max() <= 1


def test_run__takes_the_settings_of_an_estimated_book(tmp_path, capsys):
    words = ["run", "--bars", str(standing_bars(tmp_path)), "--out", str(tmp_path / "out")]
    own = "--mean-holding 10 --reopening-damping 0 --bounded --long-leverage 12x:0.9 --short-leverage 6:0.7"
    assert main([*words, *own.split()]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "held 10 h on average, re-opening not damped after liquidations, at most the open interest of" in told
    assert "longs typically 12x, spread 0.9; shorts typically 6x, spread 0.7" in told
    mix = MixBySide.of(SideMix(12.0, 0.9), SideMix(6.0, 0.7), provenance="a guess of the test's")
    mix.save(tmp_path / "mix.toml")
    by_options = pl.read_parquet(tmp_path / "out" / "outcomes.parquet")
    assert "leverage_asked" in by_options.columns
    own = f"--mean-holding 10 --reopening-damping 0 --bounded --mix-file {tmp_path / 'mix.toml'}"
    assert main([*words, *own.split()]) == 0
    assert "leverage mix by side: a guess of the test's" in capsys.readouterr().out
    assert by_options.equals(pl.read_parquet(tmp_path / "out" / "outcomes.parquet"))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert str(tmp_path / "mix.toml") in summary["inputs"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--long-leverage 12:0.9", "--long-leverage needs --short-leverage beside it: both sides or neither"),
        ("--long-leverage 12", "argument --long-leverage: must be TYPICAL:SPREAD like 10x:0.8, is '12'"),
        ("--long-leverage 500:1 --short-leverage 5:1", "--long-leverage typical must lie from 1 to 125"),
        ("--long-leverage 5:1 --short-leverage 5:9", "--short-leverage spread must lie from 0 to 3 and above 0"),
        ("--mix-file none.toml", "none.toml is not a TOML file of leverage mixes: No such file or directory"),
        ("--mix-file none.toml --short-leverage 5:1", "--short-leverage is given by the mix file already"),
        ("--population open-interest --bounded", "--bounded is for a population of volume"),
        ("--population open-interest --mean-holding 3", "--mean-holding is for a population of volume"),
        (
            "--population synthetic --mean-holding 3",
            "--mean-holding is for a population of open-interest or volume",
        ),
        ("--mean-holding 0", "must be a finite number above zero, is '0'"),
    ],
)
def test_run__refuses_settings_that_an_estimated_book_cannot_have(tmp_path, capsys, words, said):
    bars = str(standing_bars(tmp_path))
    assert main(["run", "--bars", bars, *words.split(), "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--population open-interest", "bars need the columns open_interest, volume for this population"),
        ("--population volume --count 5", "--count is for a synthetic population"),
        ("--turnover 0.1", "--turnover is for a population of open-interest or volume"),
        ("--turnover 2", "must lie between 0 and 1, is '2'"),
    ],
)
def test_run__refuses_a_population_it_cannot_make(tmp_path, capsys, words, said):
    assert main(["run", *words.split(), "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
