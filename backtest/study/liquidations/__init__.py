"""Liquidated flow: by interval, cascades, contagion, feeds."""
