"""Notional and quantity of a contract: of numbers, arrays and polars expressions alike, and compiled into kernels.

Importing this imports no compiler.
"""

from __future__ import annotations

from typing import Any

from backtest.kernel.choices import ContractKind


def notional_of(kind: int, quantity: Any, price: Any) -> Any:
    """Return the notional in settlement currency: q P, q / P (inverse) or q (face value)."""
    if kind == ContractKind.INVERSE:
        return quantity / price
    if kind == ContractKind.FACE_VALUE:
        return quantity
    return quantity * price


def quantity_of(kind: int, notional: Any, price: Any) -> Any:
    """Return the quantity of a notional in settlement currency."""
    if kind == ContractKind.INVERSE:
        return notional * price
    if kind == ContractKind.FACE_VALUE:
        return notional
    return notional / price
