"""The gate: whether words and pictures may come in, and whether frames may leave."""
