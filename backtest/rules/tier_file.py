"""Tables of margin tiers in a venue's file."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from backtest.amounts import plain
from backtest.errors import RulesError
from backtest.rules.settings import Settings
from backtest.rules.tiers import MODELS, TierTable

TABLE_FIELDS = {
    "name": str,
    "model": str,
    "cap": float,
    "size": str,
    "contract_size": float,
    "boundary": str,
    "rate_factor": float,
    "from": datetime,
    "until": datetime,
    "in_force": str,
    "source": str,
    "confidence": str,
    "note": str,
    "rows": list,
}
DAY = timedelta(days=1)

#: Two margins that differ by less, as a part, are equal.
ROUNDING = 1e-9
ROW_FIELDS = {"floor": float, "rate": float, "amount": float, "max_leverage": float}


def tier_table(reader: Settings, path: str, settings: Any) -> TierTable | None:
    """Return a table of tiers, or None where it breaks a rule."""
    settings = reader.table(path, settings)
    before = len(reader.problems.found)
    reader.refuse_unknown(path, settings, (*TABLE_FIELDS, "seen"))
    if "name" not in settings:
        reader.problems.add(f"{path}.name", "is missing")
    read = {
        name: reader.of_type(f"{path}.{name}", settings[name], kind)
        for name, kind in TABLE_FIELDS.items()
        if name in settings
    }
    columns = _rows(reader, path, read.pop("rows", None) or [], str(read.get("model", "marginal")))
    seen = _seen(reader, f"{path}.seen", settings.get("seen", []))
    dates: dict[str, Any] = {name: read.pop(name) for name in ("from", "until", "in_force") if name in read}
    if "in_force" in dates and (seen or len(dates) > 1 or dates["in_force"] != "always"):
        reader.problems.add(f"{path}.in_force", "is 'always', without from, until and seen, or is left out")
    if len(reader.problems.found) > before:
        return None
    try:
        table = TierTable(**read, **columns, **_period(dates, seen))
    except RulesError as error:
        reader.problems.add_all(path, error)
        return None
    _require_openable(reader, path, table)
    return table


def _require_openable(reader: Settings, path: str, table: TierTable) -> None:
    """Note tiers in which a position at the highest leverage could be liquidated as it is opened."""
    if not table.by_size or table.amounts is None:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        least = table.rates - np.where(table.floors > 0, table.amounts / table.floors, 0.0)  # at the tier's floor
    known = np.isfinite(table.max_leverages)
    for tier in np.flatnonzero(known & (1 / table.max_leverages < least * (1 - ROUNDING))):
        initial = f"initial margin {plain(100 / table.max_leverages[tier], 4)} %"
        reader.problems.add(
            f"{path}.rows[{tier}].max_leverage",
            f"{plain(table.max_leverages[tier])} would open positions below their maintenance margin: {initial}, "
            f"maintenance {plain(100 * least[tier], 4)} %",
        )


def _seen(reader: Settings, path: str, given: Any) -> list[datetime]:
    """Return the days that copies of the table are of; one day needs no list."""
    days = given if isinstance(given, list) else [given]
    read = [reader.of_type(path, day, datetime) for day in days]
    return sorted(day.replace(hour=0, minute=0, second=0, microsecond=0) for day in read if day is not None)


def _period(dates: dict[str, Any], seen: list[datetime]) -> dict[str, Any]:
    """Return the period a table was in force; announced dates replace those it was seen on."""
    if "in_force" in dates:
        return {"dated": "always"}
    period = {name: dates[given] for name, given in (("start", "from"), ("end", "until")) if given in dates}
    if not seen:
        return period | ({"dated": "announced"} if period else {})
    return {"start": seen[0], "end": seen[-1] + DAY, "dated": "seen"} | period


def _rows(reader: Settings, path: str, rows: list[Any], model: str) -> dict[str, Any]:
    required = MODELS.get(model, ())
    if not rows and required:
        reader.problems.add(f"{path}.rows", "there must be at least one")
    read: list[dict[str, float]] = []
    for number, row in enumerate(rows):
        where = f"{path}.rows[{number}]"
        if reader.of_type(where, row, dict) is None:
            continue
        reader.refuse_unknown(where, row, tuple(ROW_FIELDS))
        for name in required:
            if name not in row:
                reader.problems.add(f"{where}.{name}", "is missing")
        read.append({name: reader.of_type(f"{where}.{name}", row[name], float) for name in row})
    columns: dict[str, Any] = {}
    for name, target in (("floor", "floors"), ("rate", "rates"), ("amount", "amounts")):
        if any(name in row for row in read):
            missing = [0.0 if name == "amount" and not number else float("nan") for number in range(len(read))]
            columns[target] = [row.get(name, other) for row, other in zip(read, missing, strict=True)]
    if any("max_leverage" in row for row in read):
        columns["max_leverages"] = [row.get("max_leverage", float("inf")) for row in read]
    return columns
