"""Questions to an output, and verdicts given again."""
