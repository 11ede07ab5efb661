"""The gate at work: what it is made of by the config, what it refuses, and the log of that."""
