"""Footage -> a small causal video autoencoder, with a card that says how good it is."""
