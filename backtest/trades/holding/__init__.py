"""Bars that trades are open in, and the margin that they ask for there."""
