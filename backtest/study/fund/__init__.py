"""Insurance funds: size, pooling, who bears losses."""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest.study.fund.insurance import FundSize, cover, drawdown, fund_adequacy, fund_flow, fund_size
    from backtest.study.fund.loss_waterfall import who_bore
    from backtest.study.fund.pooled import PooledFunds, pooled_funds, symbol_flows

__all__ = [
    "FundSize",
    "PooledFunds",
    "cover",
    "drawdown",
    "fund_adequacy",
    "fund_flow",
    "fund_size",
    "pooled_funds",
    "symbol_flows",
    "who_bore",
]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.study.fund.insurance": [
            "FundSize",
            "cover",
            "drawdown",
            "fund_adequacy",
            "fund_flow",
            "fund_size",
        ],
        "backtest.study.fund.loss_waterfall": ["who_bore"],
        "backtest.study.fund.pooled": ["PooledFunds", "pooled_funds", "symbol_flows"],
    },
)
