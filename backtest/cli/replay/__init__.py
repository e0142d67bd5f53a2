"""The command ``backtest replay``: the liquidation waterfall in time order."""
