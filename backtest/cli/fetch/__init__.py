"""The command ``backtest fetch``: download market data."""
