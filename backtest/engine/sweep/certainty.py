"""What is certain and what is possible where bars hide the order of things."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from backtest.engine import outcomes
from backtest.kernel.arrays import Outcomes
from backtest.kernel.choices import Intrabar, OutcomeCode
from backtest.kernel.sweep.bar_events import Hidden
from backtest.kernel.types import Integers

#: All that bars may hide: whether entry and exit bars count whole, which order, whether actions come first.
COMBINATIONS = [
    Hidden(entry_bar, exit_bar, Intrabar.code(order), actions_first)
    for entry_bar, exit_bar, order, actions_first in product(
        (False, True), (False, True), ("pessimistic", "optimistic"), (False, True)
    )
]


def settle(found: Outcomes, follow: Callable[[Hidden, Integers, Outcomes], None]) -> None:
    """Set what is certain and what is possible for ambiguous outcomes, by trying all that bars may hide.

    ``follow`` writes the outcomes of some rows of the book under one combination.
    """
    rows = np.flatnonzero(found.ambiguous)
    if not rows.size:
        return
    tried = Outcomes(**outcomes.empty(Outcomes._fields, rows.size, grown=rows.size if found.grown.size else 0))
    for hidden in COMBINATIONS:
        follow(hidden, rows, tried)
        liquidated = tried.outcome == OutcomeCode.LIQUIDATED
        found.certainly_liquidated[rows] &= liquidated
        found.possibly_liquidated[rows] |= liquidated
