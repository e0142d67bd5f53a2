"""The command ``backtest tiers``: dated tier tables, carried and imported."""
