"""The command ``backtest run``: a whole study."""
