"""Charts of liquidation levels: heatmaps, maps, profiles, clusters, films."""
