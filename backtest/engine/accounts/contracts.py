"""Checks of the contracts that one account holds together."""

from __future__ import annotations

from collections.abc import Sequence

from backtest.errors import RulesError
from backtest.rules.contract import Contract
from backtest.rules.venue import Venue


def refuse_reserved_fee(contract: Contract) -> None:
    """Refuse a fee reserved at the bankruptcy price of a leg, which has none of its own."""
    raise RulesError(
        f"contracts.{contract.symbol}.closing_fee: a leg of an account has no bankruptcy price of its own to "
        "reserve a fee at (change it: venue.with_(closing_fee='at_mark'))"
    )


def require_alike(contracts: Sequence[Contract], venue: Venue) -> bool:
    """Refuse contracts that settle or trigger differently; return whether they trigger below the requirement."""
    if len({contract.settlement or venue.settlement for contract in contracts}) > 1:
        listed = ", ".join(f"{own.symbol} {own.settlement or venue.settlement or 'unknown'}" for own in contracts)
        raise RulesError(f"settlement: all contracts an account holds must settle in one currency: {listed}")
    if len({contract.trigger for contract in contracts}) > 1:
        listed = ", ".join(f"{contract.symbol} {contract.trigger}" for contract in contracts)
        raise RulesError(f"trigger: all contracts an account holds must trigger alike: {listed}")
    return bool(contracts) and contracts[0].trigger == "<"
