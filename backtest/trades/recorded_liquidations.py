"""Recorded liquidations of the two complete public records, as events with time, price, notional and side.

Hyperliquid's fills name the user that a fill liquidated; both parties of it have a row, and only the liquidated
one's is counted. Bybit pushes every liquidation since February 2025 on its topic ``allLiquidation``: a file of
the messages, one a line, as any websocket client writes them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from backtest.errors import DataError, quoted
from backtest.market import sources
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side, Time

TOPIC = "allLiquidation."

#: The side of the position in Bybit's messages, and that of one whose liquidation sold or bought.
BYBIT_SIDES, CLOSED = {"Buy": "long", "Sell": "short"}, {"sell": "long", "buy": "short"}

EVENTS: dict[str, Any] = {
    "symbol": pl.String,
    "time": Time,
    "side": Side,
    "price": pl.Float64,
    "notional": pl.Float64,
}


@checked
def read_liquidations(path: str | Path) -> pl.DataFrame:
    """Return the liquidations in a file of Hyperliquid's fills or of Bybit's messages.

    Parameters
    ----------
    path
        Fills as Hyperliquid's nodes write them, or as ``userFills`` answers (of one user: liquidated where its
        own order crossed and closed); or messages of Bybit's ``allLiquidation``, one a line, others among them
        ignored.

    Returns
    -------
    ``symbol, time, side`` (of the position that was liquidated), ``price``, ``notional``, in order of time: the
    form that ``levels --recorded`` and ``evaluation.recorded_events`` take.

    Raises
    ------
    DataError
        For files that are neither.

    Examples
    --------
    >>> import json
    >>> from backtest import trades
    >>> event = {"T": 1760130000000, "s": "BTCUSDT", "S": "Buy", "v": "0.5", "p": "60000.0"}
    >>> path = folder / "messages.jsonl"
    >>> _ = path.write_text(json.dumps({"topic": "allLiquidation.BTCUSDT", "data": [event]}))
    >>> trades.read_liquidations(path).select("symbol", "side", "notional").rows()
    [('BTCUSDT', 'long', 30000.0)]
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(4_096)
    except OSError as error:
        raise DataError(f"liquidations file {path} cannot be read: {error.strerror}") from None
    is_messages = any(mark in start for mark in (b'"topic"', b'"op"', b'"ret_msg"'))
    found = _of_messages(path) if is_messages else _of_fills(sources.read(path, "hyperliquid_fills").rows)
    return found.sort("time", maintain_order=True)


def _of_fills(fills: pl.DataFrame) -> pl.DataFrame:
    named, user = pl.col("liquidated_user"), pl.col("user").str.to_lowercase()
    own = pl.col("crossed") & pl.col("direction").fill_null("").str.contains("^(Close|Liquidat)")
    rows = fills.filter(
        named.is_not_null(), pl.when(user.is_null()).then(own).otherwise(user == named.str.to_lowercase())
    )
    return rows.select(
        "symbol",
        "time",
        pl.col("side").replace_strict(CLOSED, return_dtype=pl.String).cast(Side).alias("side"),
        "price",
        notional=pl.col("price") * pl.col("quantity"),
    )


def _of_messages(path: Path) -> pl.DataFrame:
    rows = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                message = json.loads(line)
                if str(message.get("topic", "")).startswith(TOPIC):
                    rows += [_event(event) for event in message["data"]]
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                reason = f"no {error}" if isinstance(error, KeyError) else error
                raise DataError(
                    f"liquidations file {path}: line {number:,} is no message of {TOPIC}SYMBOL: {reason}, is "
                    f"{quoted(line.strip())}"
                ) from None
    return pl.DataFrame(rows, schema=EVENTS, orient="row")


def _event(event: dict[str, Any]) -> tuple[Any, ...]:
    """Return an event of Bybit; sizes of inverse contracts (BTCUSD) are dollars."""
    price, size, symbol = float(event["p"]), float(event["v"]), str(event["s"])
    if not (0 < price < float("inf") and 0 < size < float("inf")):
        raise ValueError("p and v must be above zero")
    notional = size if symbol.endswith("USD") else size * price
    return (symbol, int(event["T"]), BYBIT_SIDES[event["S"]], price, notional)
