"""The video autoencoder: pixels to latents and back, exactly causal in time."""

from sora_core.vae.autoencoder import Posterior, VideoAutoencoder

__all__ = ["Posterior", "VideoAutoencoder"]
