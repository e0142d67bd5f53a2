"""Tables of margin tiers in a venue's file."""

from __future__ import annotations

from datetime import datetime
from typing import Any

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
    "source": str,
    "confidence": str,
    "note": str,
    "rows": list,
}
ROW_FIELDS = {"floor": float, "rate": float, "amount": float, "max_leverage": float}


def tier_table(reader: Settings, path: str, settings: Any) -> TierTable | None:
    """Return a table of tiers, or None where it breaks a rule."""
    settings = reader.table(path, settings)
    before = len(reader.problems.found)
    reader.refuse_unknown(path, settings, tuple(TABLE_FIELDS))
    if "name" not in settings:
        reader.problems.add(f"{path}.name", "is missing")
    read = {
        name: reader.of_type(f"{path}.{name}", settings[name], kind)
        for name, kind in TABLE_FIELDS.items()
        if name in settings
    }
    columns = _rows(reader, path, read.pop("rows", None) or [], str(read.get("model", "marginal")))
    if len(reader.problems.found) > before:
        return None
    for name, given in (("start", "from"), ("end", "until")):
        if given in read:
            read[name] = read.pop(given)
    try:
        return TierTable(**read, **columns)
    except RulesError as error:
        reader.problems.add_all(path, error)
        return None


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
            columns[target] = [row.get(name, float("nan")) for row in read]
    if any("max_leverage" in row for row in read):
        columns["max_leverages"] = [row.get("max_leverage", float("inf")) for row in read]
    return columns
