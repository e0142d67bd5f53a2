"""Venues: frozen rules, bundled or from a file; :mod:`~backtest.rules.venue_file` reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from backtest.errors import ArgumentError, RulesError, kind_of
from backtest.rules.contract import Contract
from backtest.rules.cross import Cross
from backtest.rules.problems import Problems
from backtest.rules.procedure import PROCEDURE_RULES, Procedure
from backtest.rules.settings import Provenance
from backtest.rules.venue_file import CHOICES, CONTRACT_RULES, read_venue
from backtest.schemas.arguments import checked, meant, spelled
from backtest.shown import shown


@spelled
@dataclass(frozen=True, eq=False, kw_only=True)
@shown("name", "title", "contracts", "settlement", "trigger_price", "takeover_price", "remainder", "note")
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
    contracts: Mapping[str, Contract]
    default: Contract | None = None  #: for symbols the venue does not list
    settlement: str = ""  #: currency of margins and notionals, for labels
    trigger_price: Literal["mark", "last", "index"] = "mark"
    takeover_price: Literal["bankruptcy", "bankruptcy_with_fee", "backstop"] = "bankruptcy"
    takeover_discount: float = 0.0  #: backstop's discount from the liquidation price, a fraction
    remainder: Literal["returned", "fund", "shared"] = "returned"  #: who gets the remaining margin
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
        bundled = venue_files()
        if str(name_or_path) in bundled:
            text, subject = bundled[str(name_or_path)].read_text("utf-8"), f"venue {name_or_path}"
        else:
            path = Path(name_or_path)
            if not path.is_file():
                known = ", ".join(bundled)
                raise RulesError(f"venue {str(name_or_path)!r} is neither a file nor one of {known}")
            text, subject = _read_text(path), f"venue file {path}"
        return read_venue(text, subject, cls)

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
        """Return the rules of a symbol; the default rules where the venue does not list it.

        Raises
        ------
        RulesError
            Where the venue neither lists the symbol nor has a default contract.
        """
        found = self.contracts.get(symbol, self.default)
        if found is None:
            raise RulesError(
                f"venue {self.name!r} has no contract {symbol!r} and no default: there are "
                f"{', '.join(self.contracts)}; use one of these, or add it to a copy of the venue file"
            )
        return found if found.symbol == symbol else replace(found, symbol=symbol)

    def contracts_of(self, symbols: Iterable[str]) -> list[Contract]:
        """Return the contracts of some symbols, in their order, see :meth:`contract`."""
        return [self.contract(symbol) for symbol in symbols]

    def like(self, symbol: str) -> str | None:
        """Return the listed symbol whose rules are used for one that is not listed; None where it has its own."""
        if symbol in self.contracts or self.default is None or self.default.symbol not in self.contracts:
            return None
        return self.default.symbol

    def settlement_of(self, symbol: str) -> str:
        """Return the currency of a symbol's margin and notional; empty where unknown."""
        return self.contract(symbol).settlement or self.settlement

    def with_(self, **changes: Any) -> Venue:
        """Return the venue with rules changed, for every contract or for the venue.

        Parameters
        ----------
        **changes
            Any rule of a contract (``basis``, ``closing_fee``, ``trigger``, ``tables`` ...) or of the venue
            (``trigger_price``, ``remainder`` ...) or of its procedure (``step``, ``adl_rank`` ...),
            ``maximum_leverage`` (a cap on every tier) and ``rate_scale`` (a factor on every maintenance rate).

        Raises
        ------
        RulesError
            For a rule that does not exist, or one that contradicts another.
        """
        own = {item.name for item in fields(self)} - {"contracts", "default"}
        contractual = {*CONTRACT_RULES, "tables", "maximum_leverage", "rate_scale"}
        unknown = sorted(set(changes) - own - contractual - set(PROCEDURE_RULES))
        if unknown:
            known = sorted((own | contractual | set(PROCEDURE_RULES)) - {"provenance"})
            asked = meant(unknown[0], known)
            raise RulesError(f"there is no rule {', '.join(unknown)}{asked}: there are {', '.join(known)}")
        changed = {name: changes.pop(name) for name in sorted(contractual & set(changes))}
        steps = {name: changes.pop(name) for name in PROCEDURE_RULES if name in changes}
        if steps:
            changes["procedure"] = replace(changes.get("procedure", self.procedure), **steps)
        contracts = {symbol: contract.with_(**changed) for symbol, contract in self.contracts.items()}
        default = self.default.with_(**changed) if self.default is not None else None
        return replace(self, contracts=contracts, default=default, **changes)


def venue_files() -> dict[str, Any]:
    """Return the bundled venue files by venue name, sorted.

    Examples
    --------
    >>> from backtest.rules import venue_files
    >>> list(venue_files())
    ['ascend', 'ascendex', 'ascendex-2021-09', 'binance', 'bitmex', 'bybit', 'hyperliquid',
     'mexc', 'okx', 'primexbt']
    """
    folder = resources.files("backtest.rules") / "venues"
    files = [file for file in folder.iterdir() if file.name.endswith(".toml")]
    named = {file.name.removesuffix(".toml"): file for file in files}
    return dict(sorted(named.items()))


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise RulesError(f"venue file {path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
