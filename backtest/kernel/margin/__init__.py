"""The margin formula: equity, maintenance margin, tiers, prices."""
