"""Charts of venues and accounts: insurance funds, margins, policies, procedures, losses, hedges."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.chart.venues import policy, procedures
    from backtest.chart.venues.accounts import account, alert_lead_times, hedges, hedges_by_leverage
    from backtest.chart.venues.fund import fund_figure
    from backtest.chart.venues.loss_waterfall import waterfall_figure
    from backtest.chart.venues.margin_charts import margin_table, margins
    from backtest.chart.venues.moved_mark import moved_mark_figure

__all__ = [
    "account",
    "alert_lead_times",
    "fund_figure",
    "hedges",
    "hedges_by_leverage",
    "margin_table",
    "margins",
    "moved_mark_figure",
    "policy",
    "procedures",
    "waterfall_figure",
]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.chart.venues.accounts": ["account", "alert_lead_times", "hedges", "hedges_by_leverage"],
        "backtest.chart.venues.fund": ["fund_figure"],
        "backtest.chart.venues.loss_waterfall": ["waterfall_figure"],
        "backtest.chart.venues.margin_charts": ["margin_table", "margins"],
        "backtest.chart.venues.moved_mark": ["moved_mark_figure"],
        "backtest.chart.venues.policy": ["policy"],
        "backtest.chart.venues.procedures": ["procedures"],
    },
)
