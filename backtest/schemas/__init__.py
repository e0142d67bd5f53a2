"""Frames this package takes and gives, and the checks they must pass."""
