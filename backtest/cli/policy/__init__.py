"""The command ``backtest policy``: grids of rules over books and histories."""
