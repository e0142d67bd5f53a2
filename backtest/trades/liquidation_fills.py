"""Recorded liquidations of Hyperliquid's public fills, as events with time, price, notional and side.

A fill that liquidated someone has an object ``liquidation`` with ``liquidatedUser``, in the answers ``userFills``
and in the files of all fills that nodes write. Both parties of it have the object: only the liquidated one's is
counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from backtest.errors import DataError, quoted
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side, Time

EVENTS: dict[str, Any] = {
    "symbol": pl.String,
    "time": Time,
    "side": Side,
    "price": pl.Float64,
    "notional": pl.Float64,
}


@checked
def read_liquidations(path: str | Path) -> pl.DataFrame:
    """Return the liquidations in a file of Hyperliquid's fills.

    Parameters
    ----------
    path
        JSON lines, as nodes write fills: a pair of address and fill a line, or a block a line with such pairs in
        ``events``; or JSON as ``userFills`` answers (of one address, which is then the liquidated one where its
        own order crossed).

    Returns
    -------
    ``symbol, time, side`` (of the position that was closed), ``price``, ``notional``, in order of time: the form
    that ``levels --recorded`` and ``evaluation.recorded_events`` take.

    Raises
    ------
    DataError
        For files that are no such fills, and fills without coin, price, size or time.

    Examples
    --------
    >>> import json
    >>> from backtest import trades
    >>> fill = {"coin": "BTC", "px": "60000.0", "sz": "0.5", "side": "A", "time": 1760130000000,
    ...         "dir": "Close Long", "liquidation": {"liquidatedUser": "0xabc", "method": "market"}}
    >>> path = folder / "fills.json"
    >>> _ = path.write_text(json.dumps([["0xabc", fill], ["0xdef", fill | {"side": "B", "dir": "Open Long"}]]))
    >>> trades.read_liquidations(path).select("symbol", "side", "notional").rows()
    [('BTC', 'long', 30000.0)]
    """
    where = f"fills file {path}"
    rows = [_event(fill, where) for fill in _fills(Path(path), where)]
    return pl.DataFrame(rows, schema=EVENTS, orient="row").sort("time", maintain_order=True)


def _fills(path: Path, where: str) -> Iterator[Mapping[str, Any]]:
    """Yield the fills that liquidated their own user."""
    for number, entry in _entries(path, where):
        pairs = entry.get("events") if isinstance(entry, Mapping) and "events" in entry else [entry]
        if not isinstance(pairs, list):
            raise DataError(f"{where}: line {number:,} must have a list of events, has {quoted(pairs)}")
        for pair in pairs:
            user, fill = (pair[0], pair[1]) if isinstance(pair, list) and len(pair) == 2 else (None, pair)
            if not (isinstance(fill, Mapping) and "coin" in fill):
                raise DataError(f"{where}: line {number:,} is no fill or pair of address and fill: {quoted(pair)}")
            about = fill.get("liquidation")
            if isinstance(about, Mapping) and _is_own(user or fill.get("user"), fill, about):
                yield fill


def _is_own(user: object, fill: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    if user is not None:
        return str(user).lower() == str(about.get("liquidatedUser", "")).lower()
    return bool(fill.get("crossed")) and str(fill.get("dir", "")).startswith(("Close", "Liquidat"))


def _entries(path: Path, where: str) -> Iterator[tuple[int, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            start = file.read(1)
            file.seek(0)
            whole = file.read() if start == "[" else None
            lines = [] if whole is None else whole.splitlines()
            if whole is not None and not (len(lines) > 1 and lines[0].rstrip().endswith("]")):
                found = json.loads(whole)
                is_pair = len(found) == 2 and isinstance(found[0], str)
                yield from enumerate([found] if is_pair else found, start=1)
                return
            for number, line in enumerate(lines if whole is not None else file, start=1):
                if line.strip():
                    yield number, json.loads(line)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{where} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} cannot be read as JSON: {error}") from None


def _event(fill: Mapping[str, Any], where: str) -> tuple[Any, ...]:
    try:
        price, size, time = float(fill["px"]), float(fill["sz"]), int(fill["time"])
        side = {"A": "long", "B": "short"}[str(fill["side"])]  # a sale closed a long
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{where}: a fill must have side A or B, px, sz and time: {quoted(dict(fill))}") from None
    if not (0 < price < float("inf") and 0 < size < float("inf")):
        raise DataError(f"{where}: a fill must have px and sz above zero: {quoted(dict(fill))}")
    return (str(fill["coin"]), time, side, price, price * size)
