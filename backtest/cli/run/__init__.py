"""The command ``backtest run``: full study of one book."""
