"""Checks of a grid file: every mistake noted by its path."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from backtest.cli.common.inputs import ESTIMATED, LEVERAGE_MIXES
from backtest.errors import quoted
from backtest.rules.problems import Problems

AXES = (
    "caps", "rate_scales", "liquidation_fees", "funds", "procedures", "fills", "responses",
)  # fmt: skip
#: The word for an axis' value that is no number.
ABSENT = {"caps": "none", "liquidation_fees": "current rules"}
HISTORY_SETTINGS = {
    "name": str, "sample": bool, "bars": str, "funding": str, "symbols": list, "from": date, "until": date,
    "gap_limit_hours": float, "tiers": object, "price_venue": str,
}  # fmt: skip
BOOK_SETTINGS = {
    "name": str, "leverage_mix": str, "count": int, "seed": int, "positions": str, "adjustments": str,
    "population": str, "turnover": float, "mix_file": str,
}  # fmt: skip
DELAY_SETTINGS = {"seconds": float, "participation": float, "linear": float, "square_root": float, "draws": int}
TOLERANCE_SETTINGS = dict.fromkeys(("shortfall_per_million", "adl_per_million", "liquidated_share"), float)
BAND_SETTINGS = {"block_days": float, "draws": int, "seed": int, "confidence": float}
#: The least and the greatest value of a setting, where the annotation of what takes it does not say so.
RANGES: dict[str, tuple[float, float]] = {
    "gap_limit_hours": (0, 10**9), "turnover": (0, 1), "count": (1, 10**10), "seed": (0, 2**63),
    "shortfall_per_million": (0, 10**6), "adl_per_million": (0, 10**6), "liquidated_share": (0, 1),
    "draws": (1, 10**6), "block_days": (0.001, 100_000), "confidence": (0, 1),
}  # fmt: skip
WORDS = {
    str: "text",
    bool: "true or false",
    list: "a list",
    date: "a date or a time",
    float: "a number",
    int: "a whole number",
}
KNOWN = (
    "question", "venue", "like", "tiers", "settlement", "grid", "changes", "procedures", "impact", "histories",
    "books", "bands", "delay", "tolerance",
)  # fmt: skip


def check(settings: dict[str, Any], problems: Problems) -> None:
    """Note all mistakes in the settings of a grid file, except those found by single rules."""
    _refuse_unknown(problems, "", settings, KNOWN)
    if "question" in settings and not isinstance(settings["question"], str):
        problems.add("question", f"must be text, is {settings['question']!r}")
    if "like" in settings and not isinstance(settings["like"], str):
        problems.add("like", f"must be text, is {quoted(settings['like'])}")
    _check_tiers(problems, "tiers", settings)
    _check_axes(problems, settings.get("grid", {}))
    if not isinstance(settings.get("changes", {}), dict):
        problems.add("changes", "must be tables of rules by name")
    for section, known in (("histories", HISTORY_SETTINGS), ("books", BOOK_SETTINGS)):
        _check_list(problems, section, settings.get(section), known)
    for number, entry in enumerate(_dicts(settings.get("histories"))):
        _check_tiers(problems, f"histories[{number}].tiers", entry)
        if ("bars" in entry) == bool(entry.get("sample", False)):
            problems.add(f"histories[{number}]", "must have either bars, a file, or sample = true")
    for number, entry in enumerate(_dicts(settings.get("books"))):
        _check_book(problems, f"books[{number}]", entry)
        if settings.get("settlement") == "replay" and entry.get("population") in tuple(ESTIMATED):
            problems.add(
                f"books[{number}].population",
                f"{entry['population']!r} estimates rows of many traders that decay, and a replay needs single "
                "positions: settle this book by the fund path, or use a synthetic one",
            )
    if "tolerance" in settings:
        _check_entry(problems, "tolerance", settings["tolerance"], TOLERANCE_SETTINGS)
    if "delay" in settings:
        _check_entry(problems, "delay", settings["delay"], DELAY_SETTINGS)
        if settings.get("settlement") == "replay":
            problems.add("delay", "is for the fund path: a replay has orders, set by [impact] and the procedures")
    if "bands" in settings:
        _check_entry(problems, "bands", settings["bands"], BAND_SETTINGS)


def _check_tiers(problems: Problems, path: str, settings: Mapping[str, Any]) -> None:
    """Note rules of tiers that are neither one name nor one for each symbol."""
    tiers = settings.get("tiers", "")
    names = tiers.values() if isinstance(tiers, dict) else [tiers]
    if not all(isinstance(name, str) for name in names):
        problems.add(path, f"must be text, or a table of it by symbol, is {quoted(tiers)}")


def _check_book(problems: Problems, path: str, entry: Mapping[str, Any]) -> None:
    """Note settings of a book that contradict each other."""
    problems.require_choice(f"{path}.leverage_mix", entry.get("leverage_mix", "mixed"), LEVERAGE_MIXES)
    kind = entry.get("population", "synthetic")
    problems.require_choice(f"{path}.population", kind, ("synthetic", *ESTIMATED))
    if "adjustments" in entry and "positions" not in entry:
        problems.add(f"{path}.adjustments", "needs positions: a synthetic book takes none")
    for name in ("turnover", "mix_file"):
        if name in entry and kind not in tuple(ESTIMATED):
            problems.add(f"{path}.{name}", f"needs a population of {' or '.join(ESTIMATED)}")
    synthetic = ("leverage_mix", "count", "seed")
    given = "positions" if "positions" in entry else "population" if kind in tuple(ESTIMATED) else None
    for name in (*synthetic, "population") if given == "positions" else synthetic:
        if given and name in entry:
            problems.add(f"{path}.{name}", f"is for a synthetic book: leave it out where {given} is set")


def _check_axes(problems: Problems, axes: Any) -> None:
    if not isinstance(axes, dict):
        problems.add("grid", f"must be a table of lists, is {axes!r}")
        return
    _refuse_unknown(problems, "grid", axes, AXES)
    for name, values in axes.items():
        words = name in ("procedures", "fills", "responses")
        good = str if words else (int, float)
        listed = isinstance(values, list) and all(
            (isinstance(value, good) and not isinstance(value, bool)) or (name in ABSENT and value == ABSENT[name])
            for value in values
        )
        if name in AXES and not listed:
            what = "words" if words else f'numbers or "{ABSENT[name]}"' if name in ABSENT else "numbers"
            problems.add(f"grid.{name}", f"must be a list of {what}, is {values!r}")


def _check_list(problems: Problems, section: str, entries: Any, known: Mapping[str, Any]) -> None:
    if not isinstance(entries, list) or not entries:
        problems.add(section, f"there must be one [[{section}]] or more")
        return
    names = []
    for number, entry in enumerate(entries):
        path = f"{section}[{number}]"
        _check_entry(problems, path, entry, known)
        name = entry.get("name") if isinstance(entry, dict) else None
        if name is None:
            problems.add(f"{path}.name", "is missing")
        elif name in names:
            problems.add(f"{path}.name", f"{name!r} is used twice")
        names.append(name)


def _check_entry(problems: Problems, path: str, entry: Any, known: Mapping[str, Any]) -> None:
    if not isinstance(entry, dict):
        problems.add(path, f"must be a table, is {entry!r}")
        return
    _refuse_unknown(problems, path, entry, tuple(known))
    for name, value in entry.items():
        kind = known.get(name, object)
        good = (int, float) if kind is float else kind
        if kind is date and isinstance(value, str):
            value = _as_date(value)
        if not isinstance(value, good) or (isinstance(value, bool) and kind not in (bool, object)):
            problems.add(f"{path}.{name}", f"must be {WORDS[kind]}, is {quoted(value)}")
        elif isinstance(value, list) and not (value and all(isinstance(each, str) for each in value)):
            problems.add(f"{path}.{name}", f"must be a list of text, one or more, is {quoted(value)}")
        elif name in RANGES and isinstance(value, int | float) and not RANGES[name][0] <= value <= RANGES[name][1]:
            least, most = RANGES[name]
            problems.add(f"{path}.{name}", f"must lie between {least:,} and {most:,}, is {value!r}")


def _as_date(text: str) -> datetime | str:
    """Return a date or time that is written as text, or the text where it is none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text


def _refuse_unknown(problems: Problems, path: str, settings: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in settings:
        if name not in known:
            where = f"{path}.{name}" if path else name
            problems.add(where, f"is not a setting: there are {', '.join(known)}")


def _dicts(entries: Any) -> list[dict[str, Any]]:
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
