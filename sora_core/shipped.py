"""The models that come with the project, by their folders."""

from pathlib import Path

TINY = str(Path(__file__).parent / "models" / "tiny")
"""A small model of the controlled world: what is served and tuned where no other is named; its card lies beside it."""
