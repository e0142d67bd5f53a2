"""Whether liquidations can be foreseen: indicators, labels, evaluation."""
