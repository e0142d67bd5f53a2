"""Positions and collateral of accounts, and the concave terms of equity less maintenance margin.

A term is a straight line with kinks, ``slope x + level - Σ drop max(0, x - kink)``, in ``x``: the mark price, or
1 / price for inverse contracts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from backtest.book.accounts import Accounts
from backtest.engine import tier_choice
from backtest.kernel.arrays import Rules
from backtest.kernel.choices import ContractKind, KeyedBy
from backtest.kernel.types import Flags, Floats, Integers


@dataclass(frozen=True, eq=False)
class Positions:
    """Legs of one account, symbol and side together; by account, symbol, longs before shorts. (n,) each."""

    account: Integers
    symbol: Integers
    side: Floats
    quantity: Floats
    cost: Floats  #: entry notional in settlement currency
    group: Integers  #: rules of its first leg
    leverage: Floats  #: of its first leg; 0 where none is given
    inverse: Flags

    @property
    def rising(self) -> Floats:
        """+1 where equity rises with x, -1 where it falls."""
        return np.where(self.inverse, -self.side, self.side)

    @property
    def entry_price(self) -> Floats:
        """Average entry price; harmonic for inverse contracts."""
        return np.where(self.inverse, self.quantity / self.cost, self.cost / self.quantity)


@dataclass(frozen=True, eq=False)
class Lines:
    """Terms as lines with kinks."""

    slope: Floats  #: (terms,)
    level: Floats  #: (terms,)
    term: Integers  #: (kinks,) whose kink each is
    kink: Floats  #: (kinks,) x
    drop: Floats  #: (kinks,) what the slope falls by

    def at(self, x: Floats) -> Floats:
        """Return each term at its own x, (terms,)."""
        bent = self.drop * np.maximum(0.0, x[self.term] - self.kink)
        found: Floats = self.slope * x + self.level - np.bincount(self.term, bent, minlength=x.size)
        return found

    def of(self, terms: Integers) -> Lines:
        """Return some terms, in the order named and as often."""
        counts = np.bincount(self.term, minlength=self.slope.size)
        order = np.argsort(self.term, kind="stable")
        kinks = order[slices(np.cumsum(counts) - counts, counts, terms)]
        return Lines(
            self.slope[terms],
            self.level[terms],
            np.repeat(np.arange(terms.size), counts[terms]),
            self.kink[kinks],
            self.drop[kinks],
        )

    def joined(self, other: Lines) -> Lines:
        """Return these terms and then others."""
        return Lines(
            np.concatenate([self.slope, other.slope]),
            np.concatenate([self.level, other.level]),
            np.concatenate([self.term, other.term + self.slope.size]),
            np.concatenate([self.kink, other.kink]),
            np.concatenate([self.drop, other.drop]),
        )

    def plus(self, other: Lines) -> Lines:
        """Return the sum of these terms and as many others, term by term."""
        return Lines(
            self.slope + other.slope,
            self.level + other.level,
            np.concatenate([self.term, other.term]),
            np.concatenate([self.kink, other.kink]),
            np.concatenate([self.drop, other.drop]),
        )


def slices(first: Integers, count: Integers, rows: Integers) -> Integers:
    """Return the numbers ``first[row] ... first[row] + count[row] - 1`` of each row, one after another."""
    many = count[rows]
    return np.repeat(first[rows] - (np.cumsum(many) - many), many) + np.arange(many.sum())


def positions_of(
    legs: pl.DataFrame, account: Integers, symbol: Integers, group: Integers, rules: Rules
) -> Positions:
    """Return the positions that legs make together."""
    side = 1.0 - 2.0 * legs["side"].to_physical().to_numpy()
    order = np.lexsort((-side, symbol, account))
    account, symbol, side, group = account[order], symbol[order], side[order], group[order]
    changes = (account[1:] != account[:-1]) | (symbol[1:] != symbol[:-1]) | (side[1:] != side[:-1])
    first = np.flatnonzero(np.append(True, changes))
    quantity, entry_price = legs["quantity"].to_numpy()[order], legs["entry_price"].to_numpy()[order]
    inverse = rules.kind[group[first]] == ContractKind.INVERSE
    position = np.cumsum(np.append(False, changes))
    of_leg = inverse[position]
    cost = np.where(of_leg, quantity / entry_price, quantity * entry_price)
    leverage = legs["leverage"].to_numpy()[order] if "leverage" in legs.columns else np.zeros(order.size)
    return Positions(
        account[first],
        symbol[first],
        side[first],
        np.bincount(position, quantity).astype(np.float64),  # one after another, as the sweep adds them
        np.bincount(position, cost).astype(np.float64),
        group[first],
        leverage[first],
        inverse,
    )


def results(held: Positions, *, usable: bool) -> Lines:
    """Return the unrealised results as terms; not ``usable``: the losses alone."""
    slope, level = held.rising * held.quantity, -held.rising * held.cost
    if usable:
        none = np.zeros(0)
        return Lines(slope, level, none.astype(np.int64), none, none)
    up = held.rising > 0
    term = np.arange(up.size)
    return Lines(
        np.where(up, slope, 0.0), np.where(up, level, 0.0), term, held.cost / held.quantity, held.quantity
    )


def requirements(held: Positions, rules: Rules) -> Lines:
    """Return minus the maintenance margins as terms."""
    group, size = held.group, sizes(held, rules)
    first, last = tier_choice.own_tiers(rules, group, held.quantity, size)
    by_leverage = rules.keyed_by[group] == KeyedBy.LEVERAGE
    constant, face = rules.constant[group], rules.kind[group] == ContractKind.FACE_VALUE
    fee = rules.fee[group] * held.quantity
    rate = tier_choice.requirement_rates(rules, group, first, held.leverage)
    base = np.where(by_leverage, rate * size, _tiered(rules, first, last, size))
    slope = np.where(constant, np.where(face, 0.0, fee), rate * held.quantity + fee)
    level = np.where(constant, base + np.where(face, fee, 0.0), -rules.amount[first])
    count = np.where(constant, 0, last - first)
    rows = np.arange(group.size)
    term, tier = np.repeat(rows, count), slices(first + 1, count, rows)
    step = rules.rate[tier] - rules.rate[tier - 1]
    kink = (rules.amount[tier] - rules.amount[tier - 1]) / (step * held.quantity[term])
    return Lines(-slope, -level, term, kink, step * held.quantity[term])


def sizes(held: Positions, rules: Rules) -> Floats:
    """Return sizes at entry in settlement currency, as tiers count them."""
    return np.where(rules.kind[held.group] == ContractKind.FACE_VALUE, held.quantity, held.cost)


def beyond(held: Positions, rules: Rules) -> Flags:
    """Return which positions are larger than their tables cover."""
    found: Flags = (
        tier_choice.table_sizes(rules, held.group, held.quantity, sizes(held, rules)) > rules.cap[held.group]
    )
    return found


def collateral_terms(
    quantity: Floats, symbol: Integers, symbols: tuple[str, ...], haircuts: pl.DataFrame
) -> Lines:
    """Return collateral and debts as terms."""
    codes = haircuts["symbol"].replace_strict(
        list(symbols), list(range(len(symbols))), default=-1, return_dtype=pl.Int64
    )
    of_symbol = codes.to_numpy()
    order = np.argsort(of_symbol, kind="stable")
    of_symbol, floor = of_symbol[order], haircuts["floor"].to_numpy()[order]
    haircut = haircuts["haircut"].to_numpy()[order]
    first, stop = np.searchsorted(of_symbol, symbol), np.searchsorted(of_symbol, symbol, side="right")
    reduced = (quantity > 0) & (stop > first)
    least = np.append(haircut, 0.0)[np.where(reduced, first, haircut.size)]
    count = np.where(reduced, stop - first - 1, 0)
    rows = np.arange(quantity.size)
    term, row = np.repeat(rows, count), slices(first + 1, count, rows)
    drop = quantity[term] * (haircut[row] - haircut[row - 1])
    return Lines(quantity * (1 - least), np.zeros(quantity.size), term, floor[row] / quantity[term], drop)


def rows_of(ids: pl.Series, accounts: Accounts) -> Integers:
    """Return the row of the account that each id names."""
    known = accounts.accounts.select("account_id").with_row_index("row")
    found = ids.to_frame("account_id").join(known, on="account_id", how="left", maintain_order="left")["row"]
    return found.cast(pl.Int64).to_numpy()


def _tiered(rules: Rules, first: Integers, last: Integers, size: Floats) -> Floats:
    """Return the largest of ``rate * size - amount`` over the tiers of each row."""
    count = last - first + 1
    rows = np.arange(size.size)
    tier = slices(first, count, rows)
    found = rules.rate[tier] * np.repeat(size, count) - rules.amount[tier]
    return np.maximum.reduceat(found, np.cumsum(count) - count)
