"""Venue files: rules with their sources, all errors reported together by path.

A venue is one TOML file, here or anywhere else::

    name = "example"
    title = "An exchange"
    settlement = "USDT"

    releases = "tiers.parquet" # tables of many symbols, see rules.releases; left out here
    alias = "{symbol}USDT"     # another name of every contract; left out here

    [rules]                    # each rule alone, or with its source
    basis = "mark"
    trigger = { value = "<=", source = "support page", date = "2021", confidence = "official" }

    [cross]                    # accounts in cross margin, see rules.cross
    profit = "shared"
    steps = ["cancel_orders", "close"]

    [procedure]                # liquidation of a position; see rules.procedure.Procedure
    step = "fraction"

    [contracts.BTCUSDT]        # may override any rule of a contract; symbols = "all": states it for every symbol
    [[contracts.BTCUSDT.tables]]
    name = "2021-03-18"
    from = 2021-03-18T09:00:00Z
    until = 2021-06-22T03:30:00Z
    cap = 1_000_000
    rows = [
      { floor = 0, rate = 0.004, max_leverage = 125 },
      { floor = 50_000, rate = 0.005, max_leverage = 100 },
    ]

    [default]                  # contract of symbols the file does not list: here a substitute, which is warned of
    like = "BTCUSDT"

A table says when it was in force: ``from`` and ``until`` as announced, ``seen`` on a day or a list of days that
copies of it are of, or ``in_force = "always"``. Without a date it is taken as always in force, and printed so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from backtest.amounts import plain
from backtest.errors import RulesError
from backtest.kernel.choices import Remainder, TakeoverPrice
from backtest.rules import contract as contract_rules
from backtest.rules.contract import Contract
from backtest.rules.cross import CHOICES as CROSS_CHOICES
from backtest.rules.cross import Cross
from backtest.rules.procedure import PROCEDURE_RULES, Procedure, rule_type
from backtest.rules.settings import Settings
from backtest.rules.tier_file import tier_table
from backtest.rules.toml_text import settings_of
from backtest.rules.venue_tables import Joining, Stored, with_tables

T = TypeVar("T")

CHOICES = {
    "trigger_price": ("mark", "last", "index"),
    "takeover_price": TakeoverPrice.names(),
    "remainder": Remainder.names(),
    "release": ("pro_rata", "keep"),
    "tiers_apply": ("entry", "always"),
}
CONTRACT_RULES = (
    "kind", "basis", "closing_fee", "closing_fee_rate", "margin_includes_closing_fee", "trigger", "tick",
    "tick_rounding", "lot",
)  # fmt: skip
#: Closing fees above this share of the notional are taken for percents.
LARGEST_FEE = 0.1
SWITCHES = ("margin_includes_closing_fee",)
TOP_FIELDS = {
    "name": str,
    "title": str,
    "settlement": str,
    "releases": str,
    "alias": str,
    **dict.fromkeys(("rules", "cross", "procedure", "contracts", "default"), dict),
    "unknown": list,
    "note": str,
}
CONTRACT_FIELDS = {"settlement": str, "symbols": str, "tables": list, "note": str}
VENUE_RULES = ("trigger_price", "takeover_price", "takeover_discount", "remainder", "release", "tiers_apply")


def read_venue(
    text: str,
    subject: str,
    folder: Path,
    make: Callable[..., T],
    imported: Joining = Stored,
) -> T:
    """Read the text of a venue file, and make a venue of its rules; ``folder`` is the file's.

    ``imported`` are the imported tables that join it: those stored under its name, others, or none.

    Raises
    ------
    RulesError
        For text that is not TOML, or invalid rules: all errors, by path.
    """
    try:
        settings = settings_of(text)
    except ValueError as error:
        raise RulesError(f"{subject} is not valid TOML: {error}") from None
    return _Reader(subject, folder, imported).venue(settings, make)


def read_settings(settings: dict[str, Any], subject: str, folder: Path, make: Callable[..., T]) -> T:
    """Make a venue of settings that came from no file.

    Raises
    ------
    RulesError
        For invalid rules: all errors, by path.
    """
    return _Reader(subject, folder, None).venue(settings, make)


class _Reader(Settings):
    """Turns parsed settings into a venue, noting every problem by its path before raising once."""

    def __init__(self, subject: str, folder: Path, imported: Joining) -> None:
        super().__init__()
        self.subject, self.folder, self.imported = subject, folder, imported
        self.invalid: set[str] = set()  #: invalid rules of the venue, not reported again for each contract

    def venue(self, settings: dict[str, Any], make: Callable[..., T]) -> T:
        self.refuse_unknown("", settings, tuple(TOP_FIELDS))
        for name in ("name", "title"):
            self.of_type(name, settings.get(name), str)
        for name, kind in (("settlement", str), ("note", str)):
            if name in settings:
                self.of_type(name, settings[name], kind)
        for number, sentence in enumerate(self.of_type("unknown", settings.get("unknown", []), list) or []):
            self.of_type(f"unknown[{number}]", sentence, str)
        rules = self._rules(self.table("rules", settings.get("rules", {})))
        self.invalid = {name for name, value in rules.items() if value is None}
        if "closing_fee" in self.invalid:
            self.invalid.add("closing_fee_rate")  # cannot be checked against an invalid closing_fee
        contractual = {name: rules[name] for name in CONTRACT_RULES if rules.get(name) is not None}
        listed = self.table("contracts", settings.get("contracts", {}))
        contracts = {
            symbol: contract
            for symbol, own in listed.items()
            if (contract := self._contract(f"contracts.{symbol}", symbol, own, contractual))
        }
        default = self._default(settings, contractual, contracts)
        own_rules = {name: rules[name] for name in VENUE_RULES if name in rules}
        cross = self._cross(self.table("cross", settings.get("cross", {})))
        own_rules["procedure"] = self._procedure(self.table("procedure", settings.get("procedure", {})))
        released = with_tables(self, self.folder, self.imported, settings, contracts, contractual)
        self.problems.raise_if_any(self.subject)
        try:
            return make(
                name=settings["name"],
                title=settings["title"],
                settlement=settings.get("settlement", ""),
                contracts=released,
                default=default,
                provenance=self.provenance,
                unknown=tuple(settings.get("unknown", ())),
                note=settings.get("note", ""),
                cross=cross,
                **own_rules,
            )
        except RulesError as error:
            self.problems.add_all("", error)
            self.problems.raise_if_any(self.subject)
            raise

    def _rules(self, settings: dict[str, Any]) -> dict[str, Any]:
        self.refuse_unknown("rules", settings, (*CONTRACT_RULES, *VENUE_RULES))
        known = (*CONTRACT_RULES, *VENUE_RULES)
        return {
            name: self._value(f"rules.{name}", name, entry) for name, entry in settings.items() if name in known
        }

    def _procedure(self, settings: dict[str, Any]) -> Procedure:
        self.refuse_unknown("procedure", settings, PROCEDURE_RULES)
        read = {
            name: self.of_type(f"procedure.{name}", self.sourced(f"procedure.{name}", entry), rule_type(name))
            for name, entry in settings.items()
            if name in PROCEDURE_RULES
        }
        try:
            return Procedure(**{name: value for name, value in read.items() if value is not None})
        except RulesError as error:
            self.problems.add_all("", error)
            return Procedure()

    def _value(self, path: str, name: str, entry: Any) -> Any:
        value = self.sourced(path, entry)
        choices = {**contract_rules.CHOICES, **CHOICES}.get(name)
        read = self.of_type(path, value, str if choices else bool if name in SWITCHES else float)
        if choices and read is not None:
            self.problems.require_choice(path, read, choices)
        if name == "closing_fee_rate" and read is not None and LARGEST_FEE < read < 1:
            self.problems.add(path, f"is {plain(100 * read)} % of the notional: 0.05 % is written 0.0005")
        return read if not choices or read in choices else None

    def _cross(self, settings: dict[str, Any]) -> Cross:
        kinds = dict.fromkeys(CROSS_CHOICES, str) | {"steps": list, "rounds": int}
        known = tuple(item.name for item in fields(Cross))
        self.refuse_unknown("cross", settings, known)
        read: dict[str, Any] = {}
        for name in (name for name in known if name in settings):
            value = self.sourced(f"cross.{name}", settings[name])
            read[name] = self.of_type(f"cross.{name}", value, kinds.get(name, float))
        if None in read.values():
            return Cross()
        try:
            return Cross(**(read | {"steps": tuple(read["steps"])} if "steps" in read else read))
        except RulesError as error:
            self.problems.add_all("cross", error)
            return Cross()

    def _default(
        self, venue: dict[str, Any], rules: dict[str, Any], contracts: dict[str, Contract]
    ) -> Contract | None:
        """Return the contract of symbols that are not listed: one for all, an own one, or a substitute."""
        listed = self.table("contracts", venue.get("contracts", {}))
        for_all = [symbol for symbol, own in listed.items() if isinstance(own, dict) and "symbols" in own]
        if len(for_all) + ("default" in venue) > 1:
            path = f"contracts.{for_all[-1]}.symbols"
            self.problems.add(path, "one contract can be that of all symbols, without a default")
        if for_all and for_all[0] in contracts:
            return replace(contracts[for_all[0]], symbol="all")
        if "default" not in venue:
            return None
        settings = self.table("default", venue["default"])
        if "like" not in settings:
            return self._contract("default", "default", settings, rules)
        self.refuse_unknown("default", settings, ("like", "note"))
        like = self.of_type("default.like", settings["like"], str)
        if like is None:
            return None
        if like not in contracts:
            if not any(path.startswith(f"contracts.{like}") for path, _ in self.problems.found):
                self.problems.add("default.like", f"there is no contract {like!r}")
            return None
        note = self.of_type("default.note", settings.get("note", contracts[like].note), str)
        return replace(contracts[like], note=note or "")

    def _contract(self, path: str, symbol: str, settings: Any, rules: dict[str, Any]) -> Contract | None:
        settings = self.table(path, settings)
        before = len(self.problems.found)
        self.refuse_unknown(path, settings, (*CONTRACT_RULES, *CONTRACT_FIELDS))
        if settings.get("symbols", "all") != "all":
            self.problems.add(f"{path}.symbols", f"is 'all' or is left out, is {settings['symbols']!r}")
        own = {
            name: self._value(f"{path}.{name}", name, settings[name])
            for name in CONTRACT_RULES
            if name in settings
        }
        listed = self.of_type(f"{path}.tables", settings.get("tables"), list) or []
        tables = [tier_table(self, f"{path}.tables[{number}]", entry) for number, entry in enumerate(listed)]
        if len(self.problems.found) > before:
            return None
        try:
            ready = tuple(table for table in tables if table is not None)
            note, settlement = (
                self.of_type(f"{path}.{name}", settings.get(name, ""), str) or ""
                for name in ("note", "settlement")
            )
            return Contract(symbol=symbol, tables=ready, note=note, settlement=settlement, **{**rules, **own})
        except RulesError as error:
            self.problems.add_all(path, error, but=self.invalid - set(own))
            return None
