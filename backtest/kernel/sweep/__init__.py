"""Kernels of isolated positions: admission, search, outcomes."""
