"""The command ``backtest warm``: every kernel compiled beforehand."""
