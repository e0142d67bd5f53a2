"""Time to liquidation: survival, excursions, volatility."""
