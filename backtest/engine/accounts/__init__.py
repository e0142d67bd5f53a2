"""Accounts in cross margin: sweep, liquidation procedures, alerts."""
