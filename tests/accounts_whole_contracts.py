"""Whole contracts, for the simulator: numbers of legs, and which legs close what a step closes."""

# ruff: noqa: N803, N806 (a formula looks like the page's)

from __future__ import annotations

from copy import copy
from fractions import Fraction

from accounts_simulator import Leg, Position, Symbol


def lot_of(symbol: Symbol) -> float:
    """Return the size of a contract; 0: not known."""
    return 0.0 if symbol.contract.like else symbol.contract.lot


def contracts(leg: Leg) -> int:
    return round(leg.q / lot_of(leg.symbol))


def quantity(symbol: Symbol, number: int) -> float:
    """Return a number of contracts as a quantity, rounded once."""
    return float(number * Fraction(repr(lot_of(symbol))))


def of_each_leg(p: Position, D: int) -> list[float]:
    """Return what each leg closes of D contracts."""
    N, passed, given, found = sum(map(contracts, p.legs)), 0, 0, []
    if D == 0:
        return [0.0] * len(p.legs)
    for leg in p.legs:
        passed += contracts(leg)
        upto = D * passed // N
        found.append(quantity(p.symbol, upto - given))
        given = upto
    return found


def with_left(p: Position, left: int) -> list[Leg]:
    """Return the legs of a position of which some contracts are left."""
    closed = of_each_leg(p, sum(map(contracts, p.legs)) - left)
    rest = []
    for leg, d in zip(p.legs, closed, strict=True):
        one = copy(leg)
        one.q = quantity(p.symbol, contracts(leg) - round(d / lot_of(p.symbol)))
        if one.q > 0:
            rest.append(one)
    return rest
