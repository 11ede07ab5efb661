"""A pipeline from open Wan weights, in the folder layout in which diffusers publishes them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sora_core import precision, storage
from sora_core.diffusion.flow import ShiftLaw
from sora_core.dit.config import DiTConfig
from sora_core.dit.convert import load_wan
from sora_core.errors import CheckpointError
from sora_core.pipeline.parts import Parts, Sampling
from sora_core.pipeline.shown import Shown
from sora_core.text import TextEncoder
from sora_core.vae import VideoAutoencoder
from sora_core.vae.whitening import Whitening
from sora_core.vision import ImageEncoder

_INDEX = "model_index.json"
# The kind of given latents that a model has learned, by the frames that it is always shown.
_LEARNED = {(0,): "first_frame", (0, -1): "both_ends"}
_CLASSES = ("WanPipeline", "WanImageToVideoPipeline")
GUIDANCE = 5.0
# 81 frames at 720p, the longest clip that these models were published for.
_MAX_TOKENS = 75_600
# The folder doesn't say: Wan 2.1 was trained at 16 frames a second, the 2.2 model with a timestep a token at 24.
_FPS, _FPS_TOKEN_TIMES = 16.0, 24.0


def load_open_decoder(uri: str, device: str) -> tuple[str, VideoAutoencoder, Whitening] | None:
    """The name and the autoencoder of the diffusers pipeline at a URI, with its whitening; None when none is there."""
    if storage.exists(storage.join(uri, _INDEX)):
        folder = storage.join(uri, "vae")
        config = json.loads(storage.read_bytes(storage.join(folder, "config.json")))
        whitening = _whitening_of(config, folder)
        return (
            storage.name(uri),
            VideoAutoencoder.load(folder, dtype=precision.sampling(device), device=device),
            whitening,
        )
    with opened(uri) as path:
        if path is None:
            return None
        vae = VideoAutoencoder.load(str(path), dtype=precision.sampling(device), device=device)
        return storage.name(uri), vae, _whitening(path / "vae" / "config.json")


@contextmanager
def opened(uri: str) -> Iterator[Path | None]:
    """The local copy of the diffusers pipeline at a folder, s3:// URI or hub id; None when no pipeline is there."""
    if storage.exists(storage.join(uri, _INDEX)):
        with storage.scratch() as temporary:
            yield storage.download_folder(uri, temporary) if storage.is_s3(uri) else storage.local_path(uri)
    elif storage.is_hub_id(uri):
        yield _fetch(uri, "*.json", "*.safetensors", "*.model", "*.txt")
    else:
        yield None


def check_present(uri: str) -> None:
    """The error that loading this would meet where nothing is, without loading it; of a hub id the index is fetched."""
    if storage.is_hub_id(uri):
        _fetch(uri, _INDEX)
    else:
        storage.check_readable(uri)


def _fetch(hub_id: str, *patterns: str) -> Path:
    remedy = "give a checkpoint's or a run's URI, or a diffusers folder"
    return storage.fetch_from_hub(hub_id, patterns, what="checkpoint", remedy=remedy)


def load_open_weights(folder: Path, uri: str, device: str) -> Parts:
    """The parts of a text-to-video folder, of one whose tokens have their own timesteps (text and image to video), or
    of one of Wan 2.1 that sees a first frame, or a first and a last one, beside the noise.

    CheckpointError for a layout that needs more than one transformer, and for a part that is missing or doesn't fit.
    """
    index = _read(folder / _INDEX)
    _check_index(index, folder)
    dtype = precision.sampling(device)
    dit = load_wan(folder, dtype=dtype, device=device)
    vae = VideoAutoencoder.load(str(folder), dtype=dtype, device=device)
    shown = _shown(folder, dit.config, vae, device)
    token_times = bool(index.get("expand_timesteps"))
    return Parts(
        name=storage.name(uri),
        dit=dit,
        vae=vae,
        text_encoder=TextEncoder.load(str(folder), device, dtype),
        whitening=_whitening(folder / "vae" / "config.json"),
        sampling=sampling_of(folder),
        fps=_FPS_TOKEN_TIMES if token_times else _FPS,
        max_tokens=_MAX_TOKENS,
        given=frozenset({_LEARNED[shown.places]} if shown else {"first_frame"} if token_times else ()),
        shown=shown,
    )


def _shown(folder: Path, config: DiTConfig, vae: VideoAutoencoder, device: str) -> Shown | None:
    """What the transformer sees beside the noise; positions of image tokens tell a last frame's from a first one's."""
    beside = config.in_channels - config.out_channels
    if not beside:
        return None
    if config.image_dim is None or beside != vae.compression.time + vae.channels:
        raise CheckpointError(
            f"{folder}: a transformer with {config.in_channels} channels in, {config.out_channels} out and image_dim = "
            f"{config.image_dim}: of those with image channels only Wan 2.1 I2V and FLF2V are served"
        )
    places = (0,) if config.pos_embed_seq_len is None else (0, -1)
    return Shown(places, ImageEncoder.load(folder, device, precision.sampling(device)))


def _check_index(index: dict[str, Any], folder: Path) -> None:
    kind = index.get("_class_name")
    if kind not in _CLASSES:
        raise CheckpointError(f"{folder}: a {kind!r}; only {' and '.join(_CLASSES)} folders can be served")
    if index.get("boundary_ratio") is not None:
        raise CheckpointError(
            f"{folder}: boundary_ratio = {index['boundary_ratio']}: models of two transformers are not served; "
            f"use Wan 2.1 or Wan 2.2 TI2V-5B"
        )


def _whitening(path: Path) -> Whitening:
    return _whitening_of(_read(path), path)


def _whitening_of(values: dict[str, Any], path: Path | str) -> Whitening:
    try:
        return Whitening(tuple(values["latents_mean"]), tuple(values["latents_std"]))
    except KeyError as error:
        raise CheckpointError(f"{path}: no {error.args[0]}; fetch the folder again") from error


def sampling_of(folder: Path) -> Sampling:
    """How the model of a diffusers pipeline's folder is sampled, and was trained: by its scheduler's shift."""
    return Sampling(ShiftLaw(_shift(folder / "scheduler" / "scheduler_config.json")), GUIDANCE)


def _shift(path: Path) -> float:
    """The timestep shift, under either of the names that schedulers give it."""
    values = _read(path)
    shift = values.get("flow_shift", values.get("shift"))
    if not isinstance(shift, int | float):
        raise CheckpointError(f"{path}: neither flow_shift nor shift; fetch the folder again")
    return float(shift)


def _read(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: can't be read as JSON ({error}); fetch the folder again") from error
    return values
