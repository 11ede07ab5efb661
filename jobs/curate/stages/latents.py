"""Kept clips to latents and text states: the one stage that wants a GPU."""

import logging
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from einops import rearrange

from jobs.curate.config import CurateConfig
from jobs.curate.listing import ENCODE_VERSION, filters_of, identity_of
from jobs.curate.rows import Clip, Examined, Source
from jobs.curate.stages.pixels import ENCODE_FAILED, Decode, InARow, clips_pixels, decode_pixels
from sora_core import telemetry
from sora_core.precision import dtype_of, sampling
from sora_core.shapes import Compression, PixelShape
from sora_core.shards import PROVENANCE, Encoder, Half, Provenance, Row
from sora_core.text import TextEncoder
from sora_core.vae import Tiling, VideoAutoencoder

logger = logging.getLogger(__name__)

# The reason of a clip whose latents hold a value that is no number.
NOT_FINITE = "latents_not_finite"
# Decoded clips that wait for others of their shape.
_MAX_WAITING_BYTES = 1 << 30
# A batch's frames side by side are no larger than one tile of the autoencoder.
_BATCH_FRAME_PIXELS = Tiling().side ** 2


@dataclass(frozen=True, slots=True)
class Encoders:
    """What the manifest says about the two models that make latents and text states."""

    vae: Encoder
    text_encoder: Encoder
    compression: Compression
    channels: int
    text_dim: int
    null_text: tuple[tuple[float, ...], ...]


class Maker:
    """What a row's columns are, latents and text states aside: the same for whoever makes or compares one."""

    def __init__(self, config: CurateConfig, vae: str, text_encoder: str) -> None:
        """``vae`` and ``text_encoder`` are fingerprints."""
        self._config = config
        self._vae = vae
        self._text_encoder = text_encoder
        self._filters = filters_of(config)

    # What latents depend on besides the clip id, which stands for content, span and size; and what text states do.
    _LATENTS = ("vae", "vae_dtype", "encode_version")
    _TEXT = ("text_encoder", "caption")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that `compare` looks at."""
        return (*PROVENANCE, "caption", "licence", "split")

    def made(self, clip: Clip) -> Provenance:
        return Provenance(
            scaled_height=clip.scaled_height,
            scaled_width=clip.scaled_width,
            top=clip.top,
            left=clip.left,
            vae=self._vae,
            vae_dtype=self._config.encodes_in,
            text_encoder=self._text_encoder,
            captioner=clip.captioner,
            filters=self._filters,
            encode_version=ENCODE_VERSION,
        )

    def split(self, source: Source) -> Literal["train", "val"]:
        return split_of(identity_of(source), self._config.val_fraction)

    def compare(self, row: Mapping[str, Any], source: Source | None, clip: Clip | None) -> str:
        """Whether a stored row is the ``same`` as the wanted one, of the same ``latents`` and words, or ``other``."""
        if source is None or clip is None:
            return "other"
        now = asdict(self.made(clip)) | {
            "caption": clip.caption or "",
            "licence": source.licence,
            "split": self.split(source),
        }
        if all(row[name] == now[name] for name in self.columns):
            return "same"
        return "latents" if all(row[name] == now[name] for name in (*self._LATENTS, *self._TEXT)) else "other"

    def restated(self, row: Row, source: Source, clip: Clip) -> Row:
        """A row with the same latents and words, and everything else as it is now."""
        return replace(row, licence=source.licence, split=self.split(source), made=self.made(clip))

    def row(self, source: Source, clip: Clip, mean: Half, std: Half, text: Half) -> Row:
        """A row with everything in it."""
        return Row(
            clip_id=clip.clip_id,
            uri=source.uri,
            etag=source.etag,
            start_s=clip.start_s,
            end_s=clip.end_s,
            fps=clip.fps,
            pixels=PixelShape(clip.frames, clip.height, clip.width),
            split=self.split(source),
            caption=clip.caption or "",
            licence=source.licence,
            made=self.made(clip),
            latent_mean=mean,
            latent_std=std,
            text=text,
        )


class LatentEncoder:
    """Both models, loaded once for a process. ``decode`` runs `decode_pixels`, perhaps elsewhere."""

    def __init__(self, config: CurateConfig, device: str, decode: Decode | None = None) -> None:
        self._config = config
        self._decode = decode or decode_pixels
        self._unread = InARow(config.max_faults_in_a_row)
        self._unmade = InARow(config.max_faults_in_a_row)
        self._device = device
        self._vae = VideoAutoencoder.load(config.vae, dtype=dtype_of(config.encodes_in), device=device)
        self._text = TextEncoder.load(config.text_encoder, device, sampling(device))
        self.maker = Maker(config, self._vae.fingerprint, self._text.fingerprint)

    def describe(self) -> Encoders:
        """The models' identities, and the states of the empty caption."""
        [null] = self._text.encode([""])
        return Encoders(
            vae=Encoder(self._vae.source, self._vae.fingerprint),
            text_encoder=Encoder(self._text.source, self._text.fingerprint),
            compression=self._vae.compression,
            channels=self._vae.channels,
            text_dim=self._text.dim,
            null_text=tuple(tuple(state) for state in null.tolist()),
        )

    def rows(self, examined: Sequence[Examined], failures: dict[str, str]) -> Iterator[Row]:
        """A row for each kept clip that decodes, in an order that depends on ``examined`` alone.

        Reasons of the others go to ``failures`` by clip id. Pixels in memory are bounded, whatever the footage.
        """
        wanted = {clip.caption or "" for row in examined for clip in row.clips if clip.status == "kept"}
        text = self._text_states(wanted)
        waiting: dict[tuple[int, int, int], list[Decoded]] = {}
        waiting_bytes = 0
        for item in self._decoded(examined, failures):
            shape = (item.clip.frames, item.clip.height, item.clip.width)
            alike = waiting.setdefault(shape, [])
            alike.append(item)
            waiting_bytes += item.frames.nbytes
            full = [shape] if len(alike) >= self._clips_per_batch(item.clip) else []
            for ready in list(waiting) if waiting_bytes > _MAX_WAITING_BYTES else full:
                batch = waiting.pop(ready)
                waiting_bytes -= sum(member.frames.nbytes for member in batch)
                yield from self._encode(batch, text, failures)
        for batch in waiting.values():
            yield from self._encode(batch, text, failures)

    def _clips_per_batch(self, clip: Clip) -> int:
        """As many as the config says, of large frames fewer: activations grow with the pixels of a batch's frame."""
        return max(1, min(self._config.clips_per_batch, _BATCH_FRAME_PIXELS // (clip.height * clip.width)))

    def _text_states(self, captions: set[str]) -> dict[str, Half]:
        """States of each distinct caption."""
        ordered = sorted(captions)
        states = self._text.encode(ordered)
        return {caption: state.numpy().astype(np.float16) for caption, state in zip(ordered, states, strict=True)}

    def _encode(self, batch: list["Decoded"], text: dict[str, Half], failures: dict[str, str]) -> Iterator[Row]:
        """Clips of one shape through the autoencoder together; when that fails, one after another."""
        started = time.monotonic()
        try:
            means, stds = self._latents(batch)
        except Exception:
            if len(batch) > 1:
                for item in batch:
                    yield from self._encode([item], text, failures)
                return
            logger.exception("clip %s of %s can't be encoded", batch[0].clip.clip_id, batch[0].source.uri)
            failures[batch[0].clip.clip_id] = ENCODE_FAILED
            self._unmade.saw(ENCODE_FAILED, batch[0].source.uri)
            return
        self._unmade.saw(None, batch[0].source.uri)
        for item, mean, std in zip(batch, means, stds, strict=True):
            telemetry.CURATE_STAGE_SECONDS.observe((time.monotonic() - started) / len(batch), {"stage": "encode"})
            if np.isfinite(mean).all() and np.isfinite(std).all():
                yield self.maker.row(item.source, item.clip, mean, std, text[item.clip.caption or ""])
            else:
                failures[item.clip.clip_id] = NOT_FINITE

    def _latents(self, batch: list["Decoded"]) -> tuple[Half, Half]:
        """Means and deviations ``(b, c, t, h, w)``."""
        frames = torch.from_numpy(np.stack([item.frames for item in batch])).to(self._device)
        posterior = self._vae.encode(rearrange(frames, "b t h w c -> b c t h w").float() / 127.5 - 1, Tiling())
        return posterior.mean.half().cpu().numpy(), posterior.std.half().cpu().numpy()

    def _decoded(self, examined: Iterable[Examined], failures: dict[str, str]) -> Iterator["Decoded"]:
        for row in examined:
            reason = None
            kept = [clip for clip in row.clips if clip.status == "kept"]
            for clip, frames in clips_pixels(row, kept, self._decode, self._config.scratch_bytes):
                if isinstance(frames, str):
                    failures[clip.clip_id] = reason = frames
                else:
                    yield Decoded(row.source, clip, frames)
            if kept:
                self._unread.saw(reason, row.source.uri)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A kept clip with its pixels, uint8 ``(t, h, w, 3)``."""

    source: Source
    clip: Clip
    frames: np.ndarray


def split_of(identity: str, val_fraction: float) -> Literal["train", "val"]:
    """Which split a source belongs to: all its clips together, so that no scene is on both sides."""
    return "val" if zlib.crc32(identity.encode()) / 2**32 < val_fraction else "train"
