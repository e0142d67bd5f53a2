"""Readers of archive formats, one file a format."""
