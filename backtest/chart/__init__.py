"""Charts, one panel a function: each draws on the axes it is given and returns them."""
