"""Engines: check arguments, prepare arrays, call kernels, name the columns of the results."""
