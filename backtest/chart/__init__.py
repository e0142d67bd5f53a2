"""Charts, one panel a function: each draws on the axes it is given and returns them."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.chart import levels, liquidations, style, venues

__all__ = ["levels", "liquidations", "style", "venues"]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.chart.levels": ["levels"],
        "backtest.chart.liquidations": ["liquidations"],
        "backtest.chart.style": ["style"],
        "backtest.chart.venues": ["venues"],
    },
)
