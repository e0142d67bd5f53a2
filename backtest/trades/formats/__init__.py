"""Formats of trade lists, one file each: the columns they are known by, and how they are read."""
