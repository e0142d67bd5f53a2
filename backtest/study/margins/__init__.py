"""Whether margins suffice: initial and maintenance, tails, closing."""
