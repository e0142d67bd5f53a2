"""Venue files to begin from: every field with its words, and a venue written as a file."""
