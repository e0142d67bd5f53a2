"""Bars that positions enter or leave inside: what is certain of them, and what is said of the rest."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from backtest import Book, Market, Venue, replay, sweep
from backtest.__main__ import main
from backtest.errors import DataError
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.study.liquidations import summary

DATA = Path(__file__).parents[2] / "shared" / "data"
EVENING = datetime(2023, 8, 17, 20, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
VENUE = Venue(
    name="v", title="V", contracts={"X": Contract(symbol="X", tables=(TierTable(name="t", rates=[0.004]),))}
)


def history() -> Market:
    prices = [(100, 100.2, 99.9, 100), (100, 100.5, 94.0, 94.89), (94.89, 96, 94.5, 95), (95, 96, 94, 95)]
    columns = dict(zip(("open", "high", "low", "close"), map(list, zip(*prices, strict=True)), strict=True))
    times = [EVENING + number * HOUR for number in range(4)]
    floats = dict.fromkeys(columns, pl.Float64)
    return Market(pl.DataFrame({"symbol": "X", "time": times, **columns}, schema_overrides=floats))


def trades(*minutes: tuple[float, float], **more: object) -> pl.DataFrame:
    """Return longs of 50x between two minutes after nine."""
    start = EVENING + HOUR
    return pl.DataFrame(
        {
            "position_id": range(len(minutes)),
            "symbol": "X",
            "side": "long",
            "entry_time": [start + entry * MINUTE for entry, _ in minutes],
            "exit_time": [start + exit_ * MINUTE for _, exit_ in minutes],
            "entry_price": 100.0,
            "quantity": 1.0,
            "leverage": 50.0,
            **more,
        }
    )


def test_sweep__a_trade_inside_one_bar_loses_its_margin_and_no_more():
    row = sweep(Book(trades((5, 45))), history(), VENUE).row(0, named=True)
    assert (row["outcome"], row["realised_pnl"], row["ambiguous"]) == ("liquidated", -2.0, True)
    assert (row["outcome_time"], row["outcome_until"]) == (EVENING + 2 * HOUR, EVENING + 3 * HOUR)
    assert (row["certainly_liquidated"], row["possibly_liquidated"]) == (False, True)
    assert row["shortfall"] == pytest.approx(3.11)


def test_sweep__a_trade_held_through_the_close_of_its_entry_bar_is_certainly_liquidated():
    row = sweep(Book(trades((5, 75))), history(), VENUE).row(0, named=True)
    assert (row["outcome"], row["outcome_time"], row["outcome_until"]) == (
        "liquidated", EVENING + HOUR, EVENING + 2 * HOUR,
    )  # fmt: skip
    assert (row["certainly_liquidated"], row["ambiguous"]) == (True, False)


def test_summary__gives_the_range():
    found = sweep(Book(trades((5, 45), (5, 75), (-30, 5), (-50, 0))), history(), VENUE)
    totals = summary(found).row(0, named=True)
    assert (totals["certainly_liquidated"], totals["liquidated"], totals["possibly_liquidated"]) == (1.0, 3.0, 3.0)


def test_sweep_command__says_the_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    history().bars.write_parquet(tmp_path / "bars.parquet")
    trades((5, 45), (5, 75), (-50, 0)).write_parquet(tmp_path / "positions.parquet")
    (tmp_path / "v.toml").write_text(
        'name="v"\ntitle="V"\nsettlement="USDT"\n[contracts.X]\n'
        '[[contracts.X.tables]]\nname="t"\nrows=[{floor=0,rate=0.004}]\n'
    )
    files = ["--bars", str(tmp_path / "bars.parquet"), "--positions", str(tmp_path / "positions.parquet")]
    assert main(["sweep", *files, "--venue", str(tmp_path / "v.toml"), "--out", str(tmp_path / "out")]) == 0
    assert "1 to 2 of 3 positions were liquidated" in " ".join(capsys.readouterr().out.split())
    counts = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert "exit_bar" in json.dumps(counts)


def test_sweep__a_recorded_exit_settles_the_money():
    found = sweep(Book(trades((5, 45), (5, 45), exit_price=[99.5, 90.0])), history(), VENUE)
    assert found["outcome"].to_list() == ["exited", "exited"]
    assert found["realised_pnl"].to_list() == [-0.5, -2.0]
    assert found["shortfall"].to_list() == [0.0, 8.0]
    assert found["outcome_time"].to_list() == [EVENING + HOUR] * 2


def test_book__an_exit_price_needs_an_exit_time():
    with pytest.raises(DataError, match="exit_price needs an exit_time: 1 of 1 rows"):
        Book(trades((5, 45), exit_price=90.0).drop("exit_time"))


@pytest.mark.parametrize("exit_bar", ["untested", "tested"])
@pytest.mark.parametrize("more", [{}, {"exit_price": 99.5}, {"exit_price": 90.0}])
def test_replay__ends_trades_inside_bars_as_the_sweep_does(exit_bar, more):
    book = Book(trades((5, 45), (5, 75), (-30, 5), (-50, 0), **more))
    alone = VENUE.with_(adl_trigger="never")
    swept, played = (do(book, history(), alone, exit_bar=exit_bar) for do in (sweep, replay))
    for name in ("outcome", "outcome_time", "fill_price", "shortfall", "ambiguous"):
        assert swept[name].to_list() == played.outcomes[name].to_list(), name
    assert swept["realised_pnl"].to_list() == pytest.approx(played.outcomes["realised_pnl"].to_list(), abs=1e-6)


def test_sweep__certain_chosen_and_possible_are_nested():
    rng = np.random.default_rng(5)
    moments = np.sort(rng.integers(-60, 150, (400, 2)), axis=1)
    moments[:, 1] += 1
    frame = trades(*moments.tolist()).with_columns(leverage=pl.Series(rng.uniform(5, 100, 400)))
    frame = frame.with_columns(pl.when(pl.Series(rng.random(400) < 0.5)).then("exit_time").alias("exit_time"))
    for entry_bar in ("untested", "tested"):
        for exit_bar in ("untested", "tested"):
            found = sweep(Book(frame), history(), VENUE, entry_bar=entry_bar, exit_bar=exit_bar)
            assert (found["liquidated"] | ~found["certainly_liquidated"]).all()
            assert (found["possibly_liquidated"] | ~found["liquidated"]).all()
            differ = found["certainly_liquidated"] != found["possibly_liquidated"]
            assert found.filter(differ)["ambiguous"].all()
            assert 0 < found["certainly_liquidated"].sum() < found["possibly_liquidated"].sum()


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "mark_1h.parquet").exists(), reason="the real history is not here")
def test_sweep__a_real_trade_inside_one_hour_of_a_crash_loses_its_margin():
    window = pl.col("time").is_between(EVENING, EVENING + 4 * HOUR)
    bars = pl.read_parquet(DATA / "mark_1h.parquet").filter(window, symbol="BTCUSDT")
    own = bars.filter(time=EVENING + HOUR)["open"].item()
    held = trades((5, 45)).with_columns(symbol=pl.lit("BTCUSDT"), entry_price=pl.lit(own), quantity=pl.lit(0.1))
    row = sweep(Book(held), Market(bars), Venue.load("binance"), tiers="nearest").row(0, named=True)
    assert (row["outcome"], row["possibly_liquidated"]) == ("liquidated", True)
    assert row["realised_pnl"] == pytest.approx(-own * 0.1 / 50)
    assert row["shortfall"] > 0


PARTLY = VENUE.with_(adl_trigger="never", step="fraction", step_fraction=0.4, last="market")


def traded(*rows: tuple[float, float, float, float], gap: int = 0) -> Market:
    """Return hours of last and mark prices; ``gap`` hours are missing after the second."""
    values = ([float(price) for price in own] for own in zip(*rows, strict=True))
    columns = dict(zip(("open", "high", "low", "close"), values, strict=True))
    times = [EVENING + (number + (gap if number > 1 else 0)) * HOUR for number in range(len(rows))]
    columns |= {f"last_{name}": values for name, values in columns.items()}
    return Market(
        pl.DataFrame({"symbol": "X", "time": times, **columns}).with_columns(pl.selectors.numeric().cast(float))
    )


def test_replay__what_a_recorded_price_liquidates_in_part_leaves_with_the_rest():
    history = traded(*[(100, 100, 100, 100)] * 4)
    book = Book(trades((-30, 30), exit_price=98.39, exit_time=[EVENING + HOUR + 30 * MINUTE]))
    row = replay(book, history, PARTLY, trigger_price="last").outcomes.row(0, named=True)
    assert row["outcome"] in ("exited", "liquidated")
    assert row["outcome_time"] == EVENING + HOUR
    assert row["filled_in_market"] > 0


def test_replay__of_what_a_gap_follows_nothing_is_known_after_a_part_was_closed():
    history = traded((100, 100, 100, 100), (100, 100, 97.9, 98), (98, 99, 97, 98), (98, 99, 97, 98), gap=30)
    book = Book(trades((5, 60)).drop("exit_time"))
    found = replay(book, history, PARTLY)
    row = found.outcomes.row(0, named=True)
    assert (row["outcome"], row["outcome_time"]) == ("unknown", EVENING + 32 * HOUR)
    assert found.ledger["cash"].sum() == 0


def test_additions__in_the_last_bar_before_an_exit_with_a_price_are_checked():
    table = TierTable(name="t", floors=[0, 150], rates=[0.004, 0.01], max_leverages=[100, 5], cap=250)
    venue = Venue(name="v", title="V", contracts={"X": Contract(symbol="X", tables=(table,))})
    history = traded(*[(100, 100, 100, 100)] * 3)
    rows = trades((-30, 90), exit_price=100.0)
    added = pl.DataFrame(
        {"position_id": [0], "time": [EVENING + 2 * HOUR + 10 * MINUTE], "quantity_change": [5.0]}
    )
    for book in (sweep, replay):
        with pytest.raises(DataError, match="size must be one its tiers cover"):
            book(Book(rows, added), history, venue)
