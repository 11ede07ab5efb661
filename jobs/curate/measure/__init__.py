"""Scores: what is measured on a clip, and where a file's clips begin and end."""
