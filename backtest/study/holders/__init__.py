"""What a holder can do: margin, hedges, alerts, precautions."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.engine.accounts.alerts import replay_alerts
    from backtest.engine.sweep.top_up import sweep_with_top_ups
    from backtest.study.holders import alerts, hedges, options, precautions
    from backtest.study.holders.account_paths import account_path

__all__ = ["account_path", "alerts", "hedges", "options", "precautions", "replay_alerts", "sweep_with_top_ups"]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.study.holders.account_paths": ["account_path"],
        "backtest.study.holders.alerts": ["alerts"],
        "backtest.study.holders.hedges": ["hedges"],
        "backtest.study.holders.options": ["options"],
        "backtest.study.holders.precautions": ["precautions"],
        "backtest.engine.accounts.alerts": ["replay_alerts"],
        "backtest.engine.sweep.top_up": ["sweep_with_top_ups"],
    },
)
