"""Policies: grids of rules, settlement, bands, counterfactuals."""
