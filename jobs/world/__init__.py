"""Renders the controlled world into a bucket: small clips, photographs and the table of their captions."""
