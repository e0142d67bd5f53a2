"""Books of whole accounts: Hyperliquid's public account states as accounts in cross margin and isolated positions.

A state is the answer ``clearinghouseState`` gives for one address. Its cross positions share the wallet: the
account value of the cross summary less the open results of its positions. Isolated positions have the margin
``rawUsd`` plus what they cost. Entries are at the moment of the state, at the stated average entry price:
positions are followed from there on, and what the state does not hold (orders, later deposits and trades) is not
known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from backtest.book.accounts import Accounts
from backtest.book.book import Book
from backtest.errors import DataError, quoted
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side, Time
from backtest.shown import shown
from backtest.trades.open_positions import read_positions

#: Names that the address of a state goes by, and those of the state beside it.
ADDRESSES, STATES = ("user", "address", "ethAddress"), ("state", "clearinghouseState", "data")


@dataclass(frozen=True, eq=False)
@shown()
class AccountStates:
    """Accounts and isolated positions at the moments of their states.

    ``positions`` has a row a position: ``account_id``, ``time``, and the columns of
    :func:`~backtest.trades.read_positions`.
    """

    positions: pl.DataFrame
    accounts: Accounts | None  #: in cross margin; None without any
    book: Book | None  #: isolated positions; None without any


@checked
def read_states(path_or_states: Any) -> AccountStates:
    """Return the accounts of Hyperliquid's account states.

    Parameters
    ----------
    path_or_states
        A JSON or JSON-lines file, or its contents: states by address, or a list of ``{"user": address, "state":
        state}`` or of states with ``user`` beside their own keys. A state is what ``clearinghouseState`` answers,
        with its ``time``.

    Returns
    -------
    Accounts with cross positions for ``sweep_accounts`` and a book of isolated positions for ``sweep``, entered
    at the moment of their state.

    Raises
    ------
    DataError
        For files that are no such states, states without a time or a cross summary, addresses given twice, and no
        open position at all.

    Examples
    --------
    >>> from backtest import trades
    >>> held = {"coin": "BTC", "szi": "-0.5", "entryPx": "40000.0", "positionValue": "20500.0", "unrealizedPnl":
    ...         "-250.0", "liquidationPx": "49000.0", "leverage": {"type": "cross", "value": 10}}
    >>> state = {"time": 1621425600000, "assetPositions": [{"position": held}],
    ...          "crossMarginSummary": {"accountValue": "4750.0"}}
    >>> states = trades.read_states({"0xabc": state})
    >>> states.accounts
    Accounts(1 accounts, 1 legs in BTC)
    >>> states.accounts.accounts["wallet"].item()
    5000.0
    """
    where = f"states file {path_or_states}" if isinstance(path_or_states, str | Path) else "states"
    found = path_or_states if not isinstance(path_or_states, str | Path) else _read(Path(path_or_states), where)
    rows, wallets, seen = [], [], set()
    for address, state in _states(found, where):
        if address in seen:
            raise DataError(f"{where}: the state of {quoted(address)} is given twice")
        seen.add(address)
        own, wallet = _account(address, state, where)
        rows += [] if own is None else [own]
        wallets.append((address, wallet))
    if not rows:
        raise DataError(f"{where} holds no open position in {len(seen):,} states")
    return _built(pl.concat(rows), dict(wallets), len(seen))


def _read(path: Path, where: str) -> Any:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{where} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    found = []
    for number, line in enumerate(filter(str.strip, text.splitlines()), start=1):
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} cannot be read as JSON: line {number:,}: {error}") from None
    return found


def _states(found: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each address with its state."""
    if isinstance(found, Mapping) and "assetPositions" not in found:
        found = [{"user": address, "state": state} for address, state in found.items()]
    for number, entry in enumerate(found if isinstance(found, list | tuple) else [found]):
        inner = entry if isinstance(entry, Mapping) else {}
        state = next((inner[name] for name in STATES if isinstance(inner.get(name), Mapping)), inner)
        if not isinstance(state.get("assetPositions"), list):
            raise DataError(f"{where}: entry {number:,} is no account state: it has no list assetPositions")
        address = next((inner[name] for name in ADDRESSES if inner.get(name)), f"account {number}")
        yield str(address), state


def _account(address: str, state: Mapping[str, Any], where: str) -> tuple[pl.DataFrame | None, float]:
    """Return the open positions of a state, and its wallet in cross margin."""
    time = state.get("time")
    if not isinstance(time, int) or isinstance(time, bool) or time <= 0:
        raise DataError(f"{where}: the state of {address} must have its time, in milliseconds, has {quoted(time)}")
    value = _number(state.get("crossMarginSummary"), "accountValue", address, where)
    held = [entry for entry in state["assetPositions"] if isinstance(entry, Mapping)]
    inner = [entry.get("position", entry) for entry in held]
    open_ones = [one for one in inner if isinstance(one, Mapping) and _size(one) != 0.0]
    results = sum(_number(one, "unrealizedPnl", address, where) for one in open_ones if _mode(one) == "cross")
    if not open_ones:
        return None, value - results
    try:
        found = read_positions([dict(one) for one in open_ones], source="hyperliquid-state")
    except DataError as error:
        raise DataError(f"{where}: the state of {address}: {error}") from None
    if found["symbol"].n_unique() < found.height:
        raise DataError(f"{where}: the state of {address} has a coin twice")
    moment = pl.lit(time).cast(pl.Int64).cast(Time)
    return found.select(pl.lit(address).alias("account_id"), moment.alias("time"), pl.all()), value - results


def _built(positions: pl.DataFrame, wallets: Mapping[str, float], states: int) -> AccountStates:
    first, last = positions.select(first=pl.col("time").min(), last=pl.col("time").max()).row(0)
    said = (
        f"{positions.height:,} open positions of {states:,} account states, {first:%Y-%m-%d %H:%M} to "
        f"{last:%Y-%m-%d %H:%M} UTC, followed from there on; their orders, deposits and trades are not known"
    )
    common = positions.select(
        pl.format("{} {}", "account_id", "symbol").alias("position_id"),
        "account_id", "symbol", pl.col("side").cast(Side), pl.col("time").alias("entry_time"), "entry_price",
        "quantity", "leverage", "margin", "margin_mode",
    )  # fmt: skip
    cross = common.filter(margin_mode="cross").rename({"position_id": "leg_id"}).drop("margin", "margin_mode")
    isolated = common.filter(margin_mode="isolated").drop("margin_mode")
    accounts = None
    if cross.height:
        ids = cross["account_id"].unique(maintain_order=True)
        accounts = Accounts(
            pl.DataFrame({"account_id": ids, "wallet": [wallets[one] for one in ids.to_list()]}), cross
        )
    book = Book(isolated, assumptions=(said,)) if isolated.height else None
    return AccountStates(positions, accounts, book)


def _size(position: Mapping[str, Any]) -> float:
    try:
        return float(position.get("szi") or 0.0)
    except (TypeError, ValueError):
        return 1.0  # no number: refused by the reader of positions, with its value


def _mode(position: Mapping[str, Any]) -> str:
    leverage = position.get("leverage")
    return str(leverage.get("type")) if isinstance(leverage, Mapping) else ""


def _number(given: Any, name: str, address: str, where: str) -> float:
    value = given.get(name) if isinstance(given, Mapping) else None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    if not abs(number) < float("inf"):
        raise DataError(f"{where}: the state of {address} must have a number {name}, has {quoted(value)}")
    return number
