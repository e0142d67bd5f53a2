"""Kernels that follow two worlds at once: the facts and another policy."""
