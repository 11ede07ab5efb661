"""The models of a pipeline and where they come from."""

import dataclasses
from dataclasses import dataclass

from sora_core import checkpoint, precision, storage
from sora_core.checkpoint import Meta
from sora_core.diffusion.flow import ShiftLaw
from sora_core.dit.config import DiTConfig
from sora_core.dit.convert import load_strictly
from sora_core.dit.model import DiT
from sora_core.errors import FingerprintMismatch
from sora_core.pipeline.shown import Shown
from sora_core.shards import Encoder
from sora_core.text import TextEncoder
from sora_core.vae import VideoAutoencoder
from sora_core.vae.whitening import Whitening

# A model is asked for at most this many times the tokens of its longest training clip: farther out lie positions it
# never saw.
EXTRAPOLATION = 4


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model is best sampled: where its steps lie, how many there are and how strongly it leans to the prompt,
    unless asked."""

    shift: ShiftLaw
    guidance_scale: float
    solver: str = checkpoint.SOLVER
    num_inference_steps: int = checkpoint.NUM_STEPS

    @classmethod
    def of(cls, meta: Meta) -> "Sampling":
        """What a checkpoint says."""
        law = ShiftLaw(meta.shift, meta.shift_tokens)
        return cls(law, meta.guidance_scale, meta.solver, meta.num_inference_steps)


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a pipeline is made of.

    ``max_tokens`` is the longest clip it may be asked for; ``given`` are the kinds of given latents
    that it has learned; ``shown`` is what it sees beside the noise, None for nothing; ``weights`` tells these from
    those of other checkpoints.
    """

    name: str
    dit: DiT
    vae: VideoAutoencoder
    text_encoder: TextEncoder
    whitening: Whitening
    sampling: Sampling
    fps: float
    max_tokens: int
    given: frozenset[str]
    shown: Shown | None = None
    weights: str = ""


def load_checkpoint(uri: str, device: str) -> Parts:
    """The parts that a checkpoint names.

    CheckpointError when it can't be read; FingerprintMismatch when the autoencoder or the text encoder found under
    their names are others than the model was trained with.
    """
    uri = checkpoint.resolve(uri)
    weights, meta = checkpoint.load_model(uri)
    dit = load_strictly(DiTConfig.from_dict(meta.dit), weights, uri, precision.sampling(device))
    vae, whitening = _autoencoder(meta, device)
    text_encoder = TextEncoder.load(meta.text_encoder.source, device, precision.sampling(device))
    _check_same("text encoder", meta.text_encoder, text_encoder.source, text_encoder.fingerprint)
    return Parts(
        name=_run_name(uri),
        dit=dit.to(device),
        vae=vae,
        text_encoder=text_encoder,
        whitening=whitening,
        sampling=Sampling.of(meta),
        fps=meta.fps,
        max_tokens=EXTRAPOLATION * meta.max_tokens,
        given=frozenset(meta.given) - {"nothing"},
        weights=storage.head(storage.join(uri, checkpoint.MODEL)).etag,
    )


def load_checkpoint_decoder(uri: str, device: str) -> tuple[str, VideoAutoencoder, Whitening]:
    """The model's name, and the parts of it that turn latents into pixels; the errors of `load_checkpoint`."""
    uri = checkpoint.resolve(uri)
    return _run_name(uri), *_autoencoder(checkpoint.read_meta(uri), device)


def _autoencoder(meta: Meta, device: str) -> tuple[VideoAutoencoder, Whitening]:
    vae = VideoAutoencoder.load(meta.vae.source, dtype=precision.sampling(device), device=device)
    _check_same("autoencoder", meta.vae, vae.source, vae.fingerprint)
    return vae, Whitening(*dataclasses.astuple(meta.whitening))


def _check_same(what: str, expected: Encoder, source: str, fingerprint: str) -> None:
    if fingerprint != expected.fingerprint:
        raise FingerprintMismatch(
            f"{what} {source!r} has the fingerprint {fingerprint[:12]}, the checkpoint was trained with "
            f"{expected.fingerprint[:12]}: put back those weights, or train again with these"
        )


def _run_name(uri: str) -> str:
    """A run's own name from its checkpoint's URI: the folder that holds ``checkpoints/``."""
    before, marker, _ = uri.rpartition("/checkpoints/")
    return storage.name(before) if marker else storage.name(uri)
