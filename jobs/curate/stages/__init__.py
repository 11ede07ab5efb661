"""What actors do with a source: look at it, fetch and decode it, make latents of it."""
