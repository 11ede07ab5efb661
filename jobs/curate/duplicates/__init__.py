"""Clips that show the same, over the whole corpus."""
