"""What a venue's rules say: contracts, margin tiers, procedures, and the prices they lead to."""
