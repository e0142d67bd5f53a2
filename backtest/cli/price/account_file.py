"""Account file of ``backtest price --account``: wallet, legs, collateral and mark prices in TOML.

::

    wallet = 2_000
    legs = [
      { symbol = "BTCUSDT", side = "long", quantity = 1, entry_price = 40_000 },
      { symbol = "ETHUSDT", side = "short", quantity = 10, entry_price = 3_000, leverage = 20 },
    ]
    collateral = [{ symbol = "BNBUSDT", quantity = 2 }]
    prices = { BNBUSDT = 300 }
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backtest.errors import DataError, kind_of
from backtest.rules.toml_text import settings_of
from backtest.schemas.conversion import meant

TOP = ("wallet", "legs", "collateral", "prices")
LEG = {"symbol": str, "side": str, "quantity": float, "entry_price": float}
OPTIONAL = {"leverage": float}
COIN = {"symbol": str, "quantity": float}


@dataclass(frozen=True)
class AccountFile:
    """Contents of an account file."""

    wallet: float | None = None
    legs: list[dict[str, Any]] = field(default_factory=list)
    collateral: list[dict[str, Any]] = field(default_factory=list)
    prices: Mapping[str, float] = field(default_factory=dict)


def read_account(path: Path) -> AccountFile:
    """Read an account file.

    Raises
    ------
    DataError
        For a file that is absent or not TOML, and for fields that are unknown, missing or of another kind.
    """
    file = f"account file {path}"
    try:
        given = settings_of(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{file} is not valid TOML: {error}") from None
    _require_known(given, TOP, file)
    prices = given.get("prices", {})
    if not isinstance(prices, dict):
        raise DataError(f"{file}: prices must be a table of symbols, is {kind_of(prices)}")
    return AccountFile(
        None if "wallet" not in given else _number(given["wallet"], f"{file}: wallet"),
        _rows(given, "legs", LEG, OPTIONAL, file),
        _rows(given, "collateral", COIN, {}, file),
        {name: _number(value, f"{file}: prices.{name}") for name, value in prices.items()},
    )


def _rows(
    given: dict[str, Any], name: str, needed: Mapping[str, type], optional: Mapping[str, type], file: str
) -> list[dict[str, Any]]:
    """Return the rows of a list of tables."""
    rows = given.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{file}: {name} must be a list of tables, is {kind_of(rows)}")
    for number, row in enumerate(rows):
        path = f"{file}: {name}[{number}]"
        missing = [field for field in needed if field not in row]
        if missing:
            raise DataError(f"{path} must have {', '.join(needed)}: it lacks {', '.join(missing)}")
        _require_known(row, (*needed, *optional), path)
        for field_name, kind in {**needed, **optional}.items():
            if field_name in row and kind is float:
                row[field_name] = _number(row[field_name], f"{path}.{field_name}")
            elif field_name in row and not isinstance(row[field_name], str):
                raise DataError(f"{path}.{field_name} must be text, is {kind_of(row[field_name])}")
    return rows


def _require_known(given: Mapping[str, Any], known: tuple[str, ...], path: str) -> None:
    for name in given:
        if name not in known:
            raise DataError(
                f"{path}: there is no field {name!r}{meant(name, known)}: there are {', '.join(known)}"
            )


def _number(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{path} must be a number, is {kind_of(value)}")
    return float(value)
