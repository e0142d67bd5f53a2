"""Compiled loops over plain arrays: the only place that knows numba.

Kernels trust their input. Everything a caller could get wrong is checked before one is called; arrays are
one-dimensional and contiguous, inputs read-only, outputs allocated by the caller.
"""
