"""Kernels of accounts in cross margin."""
