"""Results as other tools return them: vectorbt's portfolio, backtesting.py's statistics, freqtrade's folder.

None of these tools is imported: their results are known by what they hold.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from backtest.errors import DataError

#: freqtrade's name of its latest result, in ``user_data/backtest_results``.
LATEST = ".last_result.json"


def rows_of(given: Any) -> Any:
    """Return the trades that a tool's result holds; what is no such result as it is."""
    records = getattr(getattr(given, "trades", given), "records_readable", None)
    if records is not None:  # vectorbt: a portfolio, or its trades
        return records
    statistics = getattr(given, "_results", given)  # backtesting.py: a Backtest that has run, or what it returned
    if type(statistics).__name__ == "_Stats":
        return statistics["_trades"]
    return given


def latest_of(folder: Path, where: str) -> Path:
    """Return the latest backtest result in a folder of freqtrade's.

    Raises
    ------
    DataError
        For a folder that is none, and one whose latest result is not there.
    """
    try:
        name = json.loads((folder / LATEST).read_bytes())["latest_backtest"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{where} is a folder, not a file, and has no freqtrade result (no {LATEST})") from None
    found = folder / str(name)
    if not found.is_file():
        raise DataError(f"{where} names {name} as its latest result, which is not there")
    return found
