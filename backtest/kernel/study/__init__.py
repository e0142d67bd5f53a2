"""Kernels of statistics: levels, sums, cohorts, feeds."""
