"""The endpoints: bodies in, answers out."""
