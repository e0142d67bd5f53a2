"""The command ``backtest sweep``: outcomes of positions or accounts."""
