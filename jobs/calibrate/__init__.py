"""How far may a model's feature cache go? Measures thresholds against no cache and leaves the best one beside it."""
