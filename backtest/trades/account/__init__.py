"""Trades of one account in cross margin."""
