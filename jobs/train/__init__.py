"""Latents to a checkpoint: ``python -m jobs.train``."""
