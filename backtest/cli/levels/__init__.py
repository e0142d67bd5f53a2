"""The command ``backtest levels``: liquidation heatmaps, maps and clusters."""
