"""Whether margins suffice: initial and maintenance, tails, closing."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.study.margins import exceedances
    from backtest.study.margins.adequacy import (
        coverage_table,
        initial_margins,
        period_moves,
        procyclicality,
        rolling_margins,
    )
    from backtest.study.margins.close_out import Closing, after_liquidation
    from backtest.study.margins.maintenance import bad_debt, tier_adequacy
    from backtest.study.margins.tail_laws import Choices, fit

__all__ = [
    "Choices",
    "Closing",
    "after_liquidation",
    "bad_debt",
    "coverage_table",
    "exceedances",
    "fit",
    "initial_margins",
    "period_moves",
    "procyclicality",
    "rolling_margins",
    "tier_adequacy",
]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.study.margins.adequacy": [
            "coverage_table",
            "initial_margins",
            "period_moves",
            "procyclicality",
            "rolling_margins",
        ],
        "backtest.study.margins.close_out": ["Closing", "after_liquidation"],
        "backtest.study.margins.exceedances": ["exceedances"],
        "backtest.study.margins.maintenance": ["bad_debt", "tier_adequacy"],
        "backtest.study.margins.tail_laws": ["Choices", "fit"],
    },
)
