"""The command ``backtest venues``: the rules of each venue."""
