"""Venues: frozen rules, bundled or from a file; :mod:`~backtest.rules.venue_file` reads them."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from backtest.errors import ArgumentError, RulesError, kind_of
from backtest.rules.contract import Contract
from backtest.rules.cross import Cross
from backtest.rules.problems import Problems
from backtest.rules.procedure import PROCEDURE_RULES, Procedure
from backtest.rules.releases import Releases
from backtest.rules.rule_files import venue_text
from backtest.rules.settings import Provenance, as_settings
from backtest.rules.tiers import TierTable
from backtest.rules.venue_file import CHOICES, CONTRACT_RULES, read_settings, read_venue
from backtest.schemas.arguments import checked, spelled
from backtest.schemas.conversion import closest, meant
from backtest.shown import shown

#: Symbols named in a refusal.
MOST_NAMED = 8

#: Likeness from which a symbol may be a misspelt one: SOLUSD and SOLUSDT, not ETHUSDT and BTCUSDT.
NEAR = 0.8

#: What venues and tools add to the name of a contract.
ADDED = re.compile(r":.*|[-_/ ](SWAP|PERP|PERPETUAL)$|(?<=USD[TC])PERP$|[-_/]")

#: Table of symbols that nobody holds: in force at no time that positions have.
NO_TABLE = TierTable(name="none", model="flat", rates=np.full(1, 0.5), start=datetime(9998, 1, 1, tzinfo=UTC))


@spelled
@dataclass(frozen=True, eq=False, kw_only=True)
@shown(
    "name",
    "title",
    "contracts",
    "settlement",
    "trigger_price",
    "takeover_price",
    "remainder",
    "release",
    "tiers_apply",
    "note",
)
class Venue:
    """A venue's rules: its contracts, and the liquidation of positions and accounts.

    Examples
    --------
    >>> from backtest import Venue
    >>> binance = Venue.load("binance")
    >>> binance.contract("BTCUSDT").table("2021-03-18").rate_of(0, leverage=20)
    0.004
    >>> doubled = binance.with_(rate_scale=2, maximum_leverage=50)
    >>> doubled.contract("BTCUSDT").table("2021-03-18").rate_of(0, leverage=20)
    0.008
    """

    name: str
    title: str
    contracts: Releases | Mapping[str, Contract]
    default: Contract | None = None  #: of symbols not listed: of all, or of a listed one as a substitute
    settlement: str = ""  #: currency of margins and notionals, for labels
    trigger_price: Literal["mark", "last", "index"] = "mark"
    takeover_price: Literal["bankruptcy", "bankruptcy_with_fee", "backstop"] = "bankruptcy"
    takeover_discount: float = 0.0  #: backstop's discount from the liquidation price, a fraction
    remainder: Literal["returned", "fund", "shared"] = "returned"  #: who gets the remaining margin
    release: Literal["pro_rata", "keep"] = "pro_rata"  #: the margin of a closed part: to the holder, or kept
    tiers_apply: Literal["entry", "always"] = "entry"  #: whether a new table applies to open positions as well
    cross: Cross = field(default_factory=Cross)  #: rules for accounts in cross margin
    procedure: Procedure = field(default_factory=Procedure)  #: liquidation of a position in a replay
    provenance: Mapping[str, Provenance] = field(default_factory=dict)  #: by rule
    unknown: tuple[str, ...] = ()  #: facts that the sources do not state
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse unknown choices and a venue without contracts."""
        problems = Problems()
        problems.require_kinds(self)
        problems.raise_if_any(f"venue {self.name!r}")
        for name in ("name", "title"):
            if not getattr(self, name).strip():
                problems.add(name, "must not be empty")
        for name, choices in CHOICES.items():
            problems.require_choice(f"rules.{name}", getattr(self, name), choices)
        if not 0 <= self.takeover_discount < 1:
            problems.add("rules.takeover_discount", f"must lie between 0 and 1, is {self.takeover_discount}")
        if not self.contracts and self.default is None:
            problems.add("contracts", "there must be at least one, or a default")
        problems.raise_if_any(f"venue {self.name!r}")

    @classmethod
    @checked
    def load(cls, name_or_path: str | Path) -> Venue:
        """Read one of the bundled venues by its name, or any venue file by its path.

        Raises
        ------
        RulesError
            For an unknown name, a file that is not TOML, or invalid rules: all errors, by path.
        """
        text, subject, folder = venue_text(name_or_path)
        return read_venue(text, subject, folder, cls)

    @classmethod
    @checked
    def from_dict(cls, settings: Mapping[str, Any], folder: str | Path = ".") -> Venue:
        """Make a venue of the settings of a venue file, as dictionaries and lists.

        Dates are those of :mod:`datetime`, or text in ISO 8601. Imported tables do not join it.

        Parameters
        ----------
        settings
            The fields of a venue file by name, see ``docs/venue_file.md``.
        folder
            Folder of the file of tables that ``releases`` names.

        Raises
        ------
        RulesError
            For invalid rules: all errors, by path.

        Examples
        --------
        >>> rows = [{"floor": 0, "rate": 0.005, "max_leverage": 50}]
        >>> tables = [{"name": "own", "in_force": "always", "rows": rows}]
        >>> own = Venue.from_dict({"name": "own", "title": "Own", "contracts": {"BTCUSDT": {"tables": tables}}})
        >>> own.contract("BTCUSDT").tables[0].period
        'always in force'
        """
        try:
            plain_settings = as_settings(settings)
        except RecursionError:
            raise RulesError("the settings of the venue are nested too deep") from None
        name = settings.get("name")
        subject = f"venue {name!r}" if isinstance(name, str) else "the venue"
        return read_settings(plain_settings, subject, Path(folder), cls)

    @classmethod
    def from_given(cls, given: Any, name: str) -> Venue:
        """Return a venue unchanged, or load it by its bundled name or path.

        Raises
        ------
        ArgumentError
            For any other value.
        """
        if isinstance(given, str | Path):
            return cls.load(given)
        if not isinstance(given, cls):
            raise ArgumentError(f"{name} must be a Venue, its name or the path of its file, is {kind_of(given)}")
        return given

    def contract(self, symbol: str) -> Contract:
        """Return the rules of a symbol.

        Raises
        ------
        RulesError
            Where the venue does not list the symbol, states no rules for every symbol, and no substitute was asked
            for.
        """
        if symbol in self.contracts:
            return self.contracts[symbol]
        if self.default is None:
            raise self._unlisted(symbol)
        if symbol not in self._of_default:
            like = self.default.symbol if self.default.symbol in self.contracts else ""
            self._of_default[symbol] = replace(self.default, symbol=symbol, like=like)
        return self._of_default[symbol]

    @cached_property
    def _of_default(self) -> dict[str, Contract]:
        """Contracts made of the default, by symbol."""
        return {}

    def contracts_of(self, symbols: Iterable[str], held: Container[str] | None = None) -> list[Contract]:
        """Return the contracts of some symbols, in their order; symbols that are not ``held`` need no rules."""
        try:
            return [
                self.contract(symbol)
                if held is None or symbol in held or self.lists(symbol)
                else Contract(symbol=symbol, tables=(NO_TABLE,))
                for symbol in symbols
            ]
        except RulesError as error:
            ways = (
                "give prices and positions the listed name, list the symbol in a copy of the venue file, or take "
                "the rules of another symbol as a substitute"
            )
            raise RulesError(f"{error.sentence}; {ways}", remedies=error.remedies) from None

    def lists(self, symbol: str) -> bool:
        """Whether there are rules of a symbol: its own, those of every symbol, or a substitute."""
        return symbol in self.contracts or self.default is not None

    @property
    def listed(self) -> str:
        """The symbols that the venue lists, of many the first."""
        symbols = list(self.contracts)
        others = f" and {len(symbols) - MOST_NAMED:,} others" if len(symbols) > MOST_NAMED else ""
        return f"{', '.join(symbols[:MOST_NAMED])}{others}"

    def _unlisted(self, symbol: str) -> RulesError:
        """Return the refusal of a symbol, with the listed one that its name may spell otherwise."""
        listed = list(self.contracts)
        same = [name for name in listed if plain(name) == plain(symbol)]
        near = same[0] if same else closest(symbol, listed, NEAR)
        asked = f" (is {near} meant?)" if near else ""
        return RulesError(
            f"venue {self.name!r} does not list {symbol!r}{asked}: it lists {self.listed}",
            remedies=(("like", near or listed[0]),) if listed else (),
        )

    def settlement_of(self, symbol: str) -> str:
        """Return the currency of a symbol's margin and notional; empty where unknown."""
        return self.contracts_of((symbol,))[0].settlement or self.settlement

    def with_(self, **changes: Any) -> Venue:
        """Return the venue with rules changed, for every contract or for the venue.

        Parameters
        ----------
        **changes
            Any rule of a contract (``basis``, ``closing_fee``, ``trigger``, ``tables`` ...) or of the venue
            (``trigger_price``, ``remainder`` ...) or of its procedure (``step``, ``adl_rank`` ...),
            ``maximum_leverage`` (a cap on every tier), ``rate_scale`` (a factor on every maintenance rate) and
            ``like`` (a listed symbol, whose rules are used for symbols that are not listed).

        Raises
        ------
        RulesError
            For a rule that does not exist, or one that contradicts another.
        """
        own = {item.name for item in fields(self)} - {"contracts", "default"}
        contractual = {*CONTRACT_RULES, "tables", "maximum_leverage", "rate_scale"}
        unknown = sorted(set(changes) - own - contractual - set(PROCEDURE_RULES) - {"like"})
        if unknown:
            known = sorted((own | contractual | set(PROCEDURE_RULES) | {"like"}) - {"provenance"})
            asked = meant(unknown[0], known)
            raise RulesError(f"there is no rule {', '.join(unknown)}{asked}: there are {', '.join(known)}")
        like = changes.pop("like", None)
        if like is not None and like not in self.contracts:
            raise RulesError(f"must be a symbol that venue {self.name!r} lists, is {like!r}", argument="like")
        changed = {name: changes.pop(name) for name in sorted(contractual & set(changes))}
        steps = {name: changes.pop(name) for name in PROCEDURE_RULES if name in changes}
        if steps:
            changes["procedure"] = replace(changes.get("procedure", self.procedure), **steps)
        if isinstance(self.contracts, Releases):
            changes["contracts"] = self.contracts.with_(**changed)
        else:
            changes["contracts"] = {symbol: own.with_(**changed) for symbol, own in self.contracts.items()}
        default = self.default if like is None else self.contracts[like]
        default = default.with_(**changed) if default is not None else None
        return replace(self, default=default, **changes)


def plain(symbol: str) -> str:
    """Return a symbol without separators and kind of contract: ETHUSDT of ``ETH/USDT:USDT``, ``ETH-USDT-SWAP``."""
    return ADDED.sub("", symbol.upper())
