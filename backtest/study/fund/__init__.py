"""Insurance funds: size, pooling, who bears losses."""
