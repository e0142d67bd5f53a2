"""However long what a user hands over is, a message stays readable."""

from __future__ import annotations

import json

import polars as pl
import pytest

from backtest.__main__ import main
from backtest.errors import LONGEST_MESSAGE, ArgumentError, BacktestError, DataError, quoted, shortened
from backtest.market.sources import read
from backtest.schemas.frames import POSITIONS
from backtest.schemas.validation import conform

LONG = "x" * 1_000_000


def test_shortened__keeps_both_ends_and_says_what_is_left_out():
    text = shortened("a" * 500 + "b" * 500, 100)
    assert len(text) == 100
    assert text.startswith("aaa")
    assert text.endswith("bbb")
    assert " ... (900 characters) ... " in text
    assert shortened("short", 100) == "short"


def test_values__are_quoted_up_to_a_length():
    assert quoted("BTC") == "'BTC'"
    assert len(quoted(LONG)) == 200


@pytest.mark.parametrize(
    "error", [BacktestError(LONG), ArgumentError("is wrong", argument="a", remedies=[(LONG, LONG)])]
)
def test_every_error__is_bounded(error):
    assert len(str(error)) <= LONGEST_MESSAGE
    assert len(error.message()) <= LONGEST_MESSAGE
    assert len(error.sentence) <= LONGEST_MESSAGE


def test_frames__of_long_names_and_values():
    with pytest.raises(DataError) as error:
        conform(pl.DataFrame({f"{LONG}{n}": [1] for n in range(3)}), POSITIONS)
    assert len(str(error.value)) <= LONGEST_MESSAGE
    with pytest.raises(DataError) as error:
        conform(pl.DataFrame({"side": [LONG]}), POSITIONS.__class__("s", POSITIONS.columns[2:3]))
    assert len(str(error.value)) < 400


def test_tables__of_json_say_so_in_a_line(tmp_path):
    candles = [{"t": 1_621_425_600_000 + n, "o": "1", "h": "1", "l": "1", "c": "1"} for n in range(5_000)]
    (tmp_path / "candles.json").write_text(json.dumps(candles))
    columns = {"time": "t", "open": "o", "high": "h", "low": "l", "close": "c"}
    with pytest.raises(DataError, match=r"must be CSV, Parquet or feather, is JSON") as error:
        read(tmp_path / "candles.json", "table", symbol="BTC", columns=columns)
    assert len(str(error.value)) < 300
    (tmp_path / "wide.csv").write_text(",".join(f"column{n}" for n in range(100_000)) + "\n1\n")
    with pytest.raises(DataError) as error:
        read(tmp_path / "wide.csv", "table", symbol="BTC", columns=columns)
    assert len(str(error.value)) <= LONGEST_MESSAGE


def test_names_and_options__of_any_length(capsys):
    assert main(["price", "--venue", LONG]) == 2
    assert len(capsys.readouterr().err) <= LONGEST_MESSAGE + 100
