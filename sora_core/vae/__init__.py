"""The video autoencoder: pixels to latents and back, exactly causal in time."""

from sora_core.vae.autoencoder import Posterior, VideoAutoencoder
from sora_core.vae.tiles import Tiling

__all__ = ["Posterior", "Tiling", "VideoAutoencoder"]
