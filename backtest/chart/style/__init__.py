"""Look of the charts: theme, colours, sizes."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.chart.style import theme
    from backtest.chart.style.figure import Figure
    from backtest.chart.style.looks import DARK, LIGHT, SIZES, Look, Size

__all__ = ["DARK", "LIGHT", "SIZES", "Figure", "Look", "Size", "theme"]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.chart.style.figure": ["Figure"],
        "backtest.chart.style.looks": ["DARK", "LIGHT", "SIZES", "Look", "Size"],
        "backtest.chart.style.theme": ["theme"],
    },
)
