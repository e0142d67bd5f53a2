"""Statistics shared by studies: bootstrap, logistic regression, rates."""
