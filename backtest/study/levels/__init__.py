"""Open liquidation levels and clusters: cells, maps, scores."""
