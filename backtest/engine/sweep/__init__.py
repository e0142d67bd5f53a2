"""Isolated positions: admission, preparation, sweep."""
