"""Search for the first bar at or below a threshold."""
