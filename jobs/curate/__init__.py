"""Footage in a bucket to latents with their captions, and a ledger that forgets nothing."""
