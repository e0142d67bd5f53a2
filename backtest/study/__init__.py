"""Statistics of outcomes, one file a subject: polars frames in, polars frames out."""
