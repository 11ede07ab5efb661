"""A checkpoint of ours as a folder that diffusers reads: ``python -m jobs.export``."""
