"""Checks of the contracts that one account holds together, and the closing fees that its positions reserve."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from backtest.book.accounts import Accounts
from backtest.errors import DataError, RulesError
from backtest.kernel.choices import ContractKind
from backtest.kernel.types import readonly
from backtest.rules.contract import Contract
from backtest.rules.rulebook import Rulebook
from backtest.rules.venue import Venue
from backtest.schemas.validation import offence


def check_contracts(contracts: Sequence[Contract], accounts: Accounts, venue: Venue) -> bool:
    """Refuse contracts an account cannot hold; return whether they trigger below the requirement.

    Raises
    ------
    RulesError
        For contracts that settle or trigger differently, collateral valued in another currency, a fee reserved at
        a bankruptcy price that is not known.
    DataError
        For accounts of several positions whose reserved fees need a leverage.
    """
    coins = set(accounts.coins)
    for contract in contracts:
        if contract.kind == "inverse" and contract.symbol in coins:
            raise RulesError(
                f"contracts.{contract.symbol}: collateral is valued in the settlement currency, and this price is "
                "not: hold it under an index's symbol"
            )
    strict = _require_alike(contracts, venue)
    if "leverage" not in accounts.legs.columns:
        _refuse_unknown_reserves(contracts, accounts)
    return strict


def reserving(rules: Rulebook, accounts: Accounts) -> Rulebook:
    """Return the rules with the reserved fees that accounts count.

    Without leverages the margin of an inverse contract's position is the wallet; linear contracts, whose margin
    includes the fee, then leave it out.
    """
    if "leverage" in accounts.legs.columns:
        return rules
    counted = rules.rules.reserved_fee.copy()
    counted[rules.rules.kind != ContractKind.INVERSE] = 0.0
    return Rulebook(rules.groups, rules.trees, rules.rules._replace(reserved_fee=readonly(counted)))


def _refuse_unknown_reserves(contracts: Sequence[Contract], accounts: Accounts) -> None:
    """Refuse fees reserved at bankruptcy prices that no leverage and no wallet gives."""
    by_wallet = []
    for contract in contracts:
        if contract.closing_fee != "at_bankruptcy":
            continue
        if contract.kind == "inverse":
            by_wallet.append(contract.symbol)
        elif not contract.margin_includes_closing_fee:
            raise RulesError(
                f"contracts.{contract.symbol}.closing_fee: is reserved at a bankruptcy price, which a leg of an "
                "account has by its leverage alone: give legs a column leverage "
                "(or change it: venue.with_(closing_fee='at_mark'))"
            )
    if not by_wallet:
        return
    legs = accounts.legs
    several = pl.struct("symbol", "side").n_unique().over("account_id") > 1
    several |= pl.col("account_id").is_in(accounts.collateral["account_id"].implode())
    bad = several & pl.col("symbol").is_in(by_wallet)
    if legs.select(bad.any()).item():
        sentence = (
            "there must be a column leverage where an account holds more than one position: the closing fee is "
            "reserved at a bankruptcy price that leverages decide (or leave it out: "
            "venue.with_(closing_fee='none', closing_fee_rate=0, margin_includes_closing_fee=False))"
        )
        raise DataError(offence(legs, "legs", sentence, bad, ("account_id", "symbol", "side")))


def _require_alike(contracts: Sequence[Contract], venue: Venue) -> bool:
    """Refuse contracts that settle or trigger differently; return whether they trigger below the requirement."""
    if len({contract.settlement or venue.settlement for contract in contracts}) > 1:
        listed = ", ".join(f"{own.symbol} {own.settlement or venue.settlement or 'unknown'}" for own in contracts)
        raise RulesError(f"settlement: all contracts an account holds must settle in one currency: {listed}")
    if len({contract.trigger for contract in contracts}) > 1:
        listed = ", ".join(f"{contract.symbol} {contract.trigger}" for contract in contracts)
        raise RulesError(f"trigger: all contracts an account holds must trigger alike: {listed}")
    return bool(contracts) and contracts[0].trigger == "<"
