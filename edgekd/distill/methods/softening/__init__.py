"""Labels softened by a network's own past answers, for every method that wants them."""
