"""The command ``backtest price``: calculator of one position."""
