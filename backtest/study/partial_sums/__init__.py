"""Partial sums: statistics of parts of a book that add up exactly to those of the whole."""
