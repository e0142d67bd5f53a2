"""Results of other tools, as they return them: of the tools themselves where they are installed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import trade_logs

from backtest import trades
from backtest.__main__ import main
from backtest.errors import DataError

BUNDLED = Path(__file__).parent.parent / "data" / "trades.json"


def prices() -> list[float]:
    return [100.0 + 10 * np.sin(n / 3) + 0.1 * n for n in range(60)]


def test_vectorbt__a_portfolio_is_read_by_its_records(tmp_path: Path) -> None:
    make, lacking = trade_logs.LOGS["vectorbt"]
    records = pl.read_csv(make(tmp_path), infer_schema=False)
    wanted = trades.read(records, **lacking).trades
    portfolio = SimpleNamespace(trades=SimpleNamespace(records_readable=records))
    assert trades.read(portfolio, **lacking).trades.equals(wanted)
    assert trades.read(portfolio.trades, **lacking).trades.equals(wanted)


def test_backtesting_py__statistics_are_read_by_their_trades(tmp_path: Path) -> None:
    make, lacking = trade_logs.LOGS["backtesting.py"]
    frame = pl.read_csv(make(tmp_path), infer_schema=False)

    class _Stats(dict):  # type: ignore[type-arg]
        """A look-alike of the statistics: a series by name."""

    stats = _Stats({"_trades": frame, "Return [%]": 1.0})
    assert trades.read(stats, **lacking).trades.equals(trades.read(frame, **lacking).trades)
    assert len(trades.read(SimpleNamespace(_results=stats), **lacking)) == frame.height


def test_freqtrade__a_folder_is_read_by_its_latest_result(tmp_path: Path) -> None:
    folder = tmp_path / "backtest_results"
    folder.mkdir()
    with pytest.raises(
        DataError, match=r"is a folder, not a file, and has no freqtrade result \(no \.last_result"
    ):
        trades.read(folder)
    (folder / ".last_result.json").write_text(json.dumps({"latest_backtest": "backtest-result-2.json"}))
    with pytest.raises(DataError, match=r"names backtest-result-2\.json as its latest result, which is not there"):
        trades.read(folder)
    (folder / "backtest-result-1.json").write_text("{}")
    (folder / "backtest-result-2.json").write_bytes(BUNDLED.read_bytes())
    assert trades.read(folder).trades.equals(trades.read(BUNDLED).trades)
    assert main(["check", str(folder), "--out", str(tmp_path / "out")]) == 0


def test_vectorbt__of_the_package_itself() -> None:
    vectorbt = pytest.importorskip("vectorbt")
    pandas = pytest.importorskip("pandas")
    index = pandas.date_range("2021-05-10", periods=60, freq="1h")
    close = pandas.Series(prices(), index=index, name="BTCUSDT")
    entries, exits = close.diff() > 0.5, close.diff() < -0.5
    portfolio = vectorbt.Portfolio.from_signals(close, entries, exits, size=1.0, init_cash=1e5, freq="1h")
    found = trades.read(portfolio, leverage=10)
    assert len(found) == portfolio.trades.count() > 2
    assert found.trades["entry_price"].to_list() == portfolio.trades.records_readable["Avg Entry Price"].to_list()


@pytest.mark.filterwarnings("ignore")
def test_backtesting_py__of_the_package_itself() -> None:
    backtesting = pytest.importorskip("backtesting")
    pandas = pytest.importorskip("pandas")
    close = np.array(prices())
    opens = np.append(close[0], close[:-1])
    columns = {"Open": opens, "High": np.maximum(opens, close), "Low": np.minimum(opens, close), "Close": close}
    bars = pandas.DataFrame(columns, index=pandas.date_range("2021-05-10", periods=60, freq="1h"))

    class Follow(backtesting.Strategy):  # type: ignore[name-defined,misc]
        """Long while the price rises."""

        def init(self) -> None:
            pass

        def next(self) -> None:
            rises = len(self.data.Close) > 1 and self.data.Close[-1] > self.data.Close[-2]
            if rises and not self.position:
                self.buy(size=10)
            elif not rises and self.position:
                self.position.close()

    run = backtesting.Backtest(bars, Follow, cash=1e5)
    stats = run.run()
    found = trades.read(stats, symbol="BTCUSDT", leverage=10)
    assert len(found) == len(stats["_trades"]) > 1
    assert trades.read(run, symbol="BTCUSDT", leverage=10).trades.equals(found.trades)
