"""The command ``backtest check``: your trades on other leverages and venues."""
