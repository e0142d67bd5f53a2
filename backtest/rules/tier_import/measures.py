"""How the tiers of a file are measured: what the format leaves open follows from the venue, or is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from backtest.amounts import plural
from backtest.errors import ArgumentError
from backtest.rules.releases import Releases
from backtest.rules.tier_import.fields import Found
from backtest.rules.tiers import TierTable
from backtest.rules.venue import Venue

MODELS = ("marginal", "flat")


class Measure(NamedTuple):
    """Model and unit of size of a table."""

    model: str
    size: str
    contract_size: float


def measured(
    tables: Mapping[str, Found], venue: Venue, model: str | None, sizes: Mapping[str, float], path: Path
) -> dict[str, Measure]:
    """Return the measure of each symbol's table.

    Raises
    ------
    ArgumentError
        Where neither the format, the venue nor the caller says it.
    """
    if model is not None and model not in MODELS:
        raise ArgumentError(f"must be one of {', '.join(MODELS)}, is {model!r}", argument="model")
    usual = {(own.model, own.size) for own in _tables(venue)}
    found: dict[str, Measure] = {}
    without_size, without_model = [], []
    for symbol, each in tables.items():
        last = _last(venue, symbol)
        kinds = {(last.model, last.size)} if last else usual
        named, size = model or each.model, each.size
        if named is None and len(kinds) == 1:
            ((named, size),) = kinds
        if named not in MODELS:
            if len(each.tiers) > 1:
                without_model.append(symbol)
            named = "marginal"
        contract_size = 1.0
        if size == "contracts":
            given = sizes.get(symbol, sizes.get(each.symbol, last.contract_size if last else None))
            if given is None:
                without_size.append(each.symbol)
            contract_size = given or 1.0
        found[symbol] = Measure(named, size, contract_size)
    if without_model:
        raise ArgumentError(
            f"is needed: neither {path} nor venue {venue.name} says how the tiers of "
            f"{plural(len(without_model), 'symbol')} apply, first {without_model[0]}: to the part of the notional "
            "in each (marginal), or to the whole position (flat)",
            argument="model",
        )
    if without_size:
        raise ArgumentError(
            f"is needed: the tiers of {plural(len(without_size), 'symbol')} count contracts, whose size {path} "
            f"does not state, first {without_size[0]}",
            argument="contract_sizes",
        )
    return found


def _tables(venue: Venue) -> Iterator[TierTable]:
    """Yield the tables of the contracts that the venue's file lists."""
    listed = venue.contracts.listed if isinstance(venue.contracts, Releases) else venue.contracts
    for contract in listed.values():
        yield from contract.tables


def _last(venue: Venue, symbol: str) -> TierTable | None:
    return venue.contract(symbol).tables[-1] if symbol in venue.contracts else None
