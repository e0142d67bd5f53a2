"""The look of every chart: theme, colours, axes of time."""
