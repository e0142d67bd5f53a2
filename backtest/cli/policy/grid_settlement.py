"""Settlement of a grid file: who pays, by which procedures, with which market impact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from backtest.cli.common import procedure_text
from backtest.errors import RulesError
from backtest.rules.problems import Problems
from backtest.rules.procedure import PROCEDURE_RULES, Impact
from backtest.rules.rule_files import rule_files, venue_files
from backtest.rules.venue import Venue
from backtest.rules.venue_file import CHOICES
from backtest.study.policy.replay_settlement import UNCOUPLED, Replayed, procedure_of
from backtest.study.policy.settlement import FundPath, Settlement

SETTLEMENTS = ("fund path", "replay")

#: Name of the procedure of the grid's venue, and of the fee of each procedure.
CURRENT_RULES = "current rules"

#: Settings of a procedure's table besides the rules of a procedure.
BESIDE = ("remainder", "takeover_price", "takeover_discount")

#: Settings of impact in a grid: the mark price stays that of the history.
IMPACT = ("participation", "linear", "square_root", "order")


def is_replay(settings: Mapping[str, Any]) -> bool:
    """Whether a grid file is settled by replays."""
    return bool(settings.get("settlement", SETTLEMENTS[0]) == "replay")


def procedure_names(settings: Mapping[str, Any]) -> list[str]:
    """Return the procedure names of a grid file's axis."""
    axes = settings.get("grid", {})
    default = [CURRENT_RULES if is_replay(settings) else "returned"]
    names = axes.get("procedures", default) if isinstance(axes, dict) else default
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def venue_of(path: Path, name: object) -> Venue:
    """Return a venue that a grid file names: a file beside it, or a bundled one."""
    beside = path.parent / str(name)
    return Venue.load(beside if beside.is_file() else str(name))


def read_settlement(
    path: Path, settings: Mapping[str, Any], venue: Venue | None, problems: Problems
) -> Settlement:
    """Return the settlement of a grid file, noting all mistakes in it."""
    problems.require_choice("settlement", settings.get("settlement", SETTLEMENTS[0]), SETTLEMENTS)
    asked = procedure_names(settings)
    tables = _table(problems, "procedures", settings)
    if not is_replay(settings):
        _require_simple(problems, settings, asked)
        return FundPath()
    for name in tables:
        if name in (*UNCOUPLED, CURRENT_RULES, *venue_files()):
            problems.add(f"procedures.{name}", "is the name of another procedure: choose a different name")
        elif name not in asked:
            problems.add(f"procedures.{name}", f"is not used: grid.procedures are {', '.join(asked)}")
    named = {}
    for name in asked:
        if name not in UNCOUPLED:
            where = f"procedures.{name}" if name in tables else "grid.procedures"
            named[name] = _procedure(path, name, tables, venue, problems, where)
    impact = _impact(_table(problems, "impact", settings), problems)
    return Replayed({name: changes for name, changes in named.items() if changes is not None}, impact)


def files_of(path: Path, settings: Mapping[str, Any]) -> list[Path]:
    """Return the venue files beside a grid file that it names, and the files of tables beside those."""
    tables = settings.get("procedures", {})
    like = [table.get("like") for table in tables.values()]
    named = [settings.get("venue"), *procedure_names(settings), *like]
    beside = [path.parent / name for name in named if isinstance(name, str)]
    return [each for file in beside if file.is_file() for each in rule_files(file).values()]


def _require_simple(problems: Problems, settings: Mapping[str, Any], asked: Iterable[str]) -> None:
    for name in asked:
        if name not in UNCOUPLED:
            problems.add(
                "grid.procedures",
                f'{name!r} needs settlement = "replay": the fund path fully closes every position at once, '
                f"and has only {' and '.join(UNCOUPLED)}",
            )
    for name in ("procedures", "impact"):
        if name in settings:
            problems.add(name, 'needs settlement = "replay": the fund path has no steps and no orders')


def _procedure(
    path: Path, name: str, tables: Mapping[str, Any], venue: Venue | None, problems: Problems, where: str
) -> dict[str, Any] | None:
    """Return the changes of a procedure to the grid's venue, or None and a problem."""
    table = tables.get(name)
    base = (
        name if table is None else table.get("like", CURRENT_RULES) if isinstance(table, dict) else CURRENT_RULES
    )
    changes = _known(path, base, venue, problems, where if table is None else f"{where}.like")
    if changes is None or table is None:
        return changes
    if not isinstance(table, dict):
        problems.add(where, f"must be a table of settings, is {table!r}")
        return None
    return _changed(changes, {key: value for key, value in table.items() if key != "like"}, problems, where)


def _known(path: Path, name: object, venue: Venue | None, problems: Problems, where: str) -> dict[str, Any] | None:
    """Return the procedure of a name without a table."""
    given = str(name)  # a list, for example, matches no name
    if given in UNCOUPLED:
        return dict(UNCOUPLED[given])
    if given == CURRENT_RULES:
        return None if venue is None else procedure_of(venue)
    if given not in venue_files() and not (path.parent / given).is_file():
        problems.add(
            where,
            f"{name!r} is neither {CURRENT_RULES!r}, {', '.join(UNCOUPLED)}, a venue "
            f"({', '.join(venue_files())}), a venue file beside the grid, nor a table of [procedures]",
        )
        return None
    try:
        return procedure_of(venue_of(path, name))
    except RulesError as error:
        problems.add(where, str(error))
        return None


def _changed(
    base: dict[str, Any], settings: dict[str, Any], problems: Problems, where: str
) -> dict[str, Any] | None:
    """Return a procedure with some of its settings changed, or None and problems."""
    known = (*PROCEDURE_RULES, *BESIDE)
    before = len(problems.found)
    for name, value in settings.items():
        if name not in known:
            problems.add(f"{where}.{name}", f"is not a setting of a procedure: there are like, {', '.join(known)}")
        elif name in CHOICES:
            problems.require_choice(f"{where}.{name}", value, CHOICES[name])
    discount = settings.get("takeover_discount", 0.0)
    if isinstance(discount, bool) or not isinstance(discount, (int, float)) or not 0 <= discount < 1:
        problems.add(f"{where}.takeover_discount", f"must lie between 0 and 1, is {discount!r}")
    try:
        own = {name: value for name, value in settings.items() if name in PROCEDURE_RULES}
        procedure = replace(base["procedure"], **own)
    except RulesError as error:
        problems.found += [(f"{where}.{inner.removeprefix('procedure.')}", what) for inner, what in error.problems]
    if len(problems.found) > before:
        return None
    return base | {"procedure": procedure} | {name: settings[name] for name in BESIDE if name in settings}


def _impact(settings: Mapping[str, Any], problems: Problems) -> Impact:
    unknown = [name for name in settings if name not in IMPACT]
    for name in unknown:
        marks = [item.name for item in fields(Impact)]
        why = "the mark price stays that of the history, which contains its own cascade: " if name in marks else ""
        problems.add(f"impact.{name}", f"is not a setting: {why}there are {', '.join(IMPACT)}")
    try:
        return Impact(**{name: value for name, value in settings.items() if name in IMPACT})
    except RulesError as error:
        problems.add_all("impact", error)
        return Impact()


def _table(problems: Problems, name: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    found = settings.get(name, {})
    if not isinstance(found, dict):
        problems.add(name, f"must be a table, is {found!r}")
        return {}
    return found


def procedure_texts(settlement: Settlement, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return each procedure of a replay in a sentence, for the assumptions."""
    if not isinstance(settlement, Replayed):
        return []
    every = {**UNCOUPLED, **settlement.named}
    return [(name, procedure_text.sentence(every[name])) for name in names]
