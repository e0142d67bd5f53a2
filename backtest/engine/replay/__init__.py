"""The liquidation waterfall in time order."""
