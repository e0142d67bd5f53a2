"""Sums of parts of a book that add up exactly."""
