"""Margins and prices in closed form: the same for few positions as for many."""

from __future__ import annotations

import numpy as np

from backtest.kernel.compile import FEW
from backtest.rules import margin
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable


def test_margins__of_few_positions_are_those_of_many_to_the_bit() -> None:
    rng = np.random.default_rng(5)
    count = FEW + 1
    for kind in ("linear", "inverse"):
        held = {
            "side": rng.choice([-1.0, 1.0], count),
            "quantity": rng.lognormal(2, 3, count),
            "entry_price": rng.uniform(10, 1_000, count),
            "margin": rng.lognormal(0, 3, count),
        }
        table = TierTable(name="t", floors=[0, 100, 5_000], rates=[0.004, 0.01, 0.05])
        contract = Contract(symbol="X", kind=kind, tables=(table,))
        many = margin.liquidation_price(contract, table, **held)
        ones = [
            margin.liquidation_price(contract, table, **{name: values[i] for name, values in held.items()})[0]
            for i in range(count)
        ]
        np.testing.assert_array_equal(many, ones)
