"""The command ``backtest warm``: compilation of every kernel."""
