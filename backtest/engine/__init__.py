"""Engines: check, prepare arrays, call kernels, name the columns of what comes back."""
