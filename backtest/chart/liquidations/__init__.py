"""Charts of what was liquidated: cascades, exposure, indicators, survival."""
