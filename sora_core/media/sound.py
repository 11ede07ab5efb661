"""The sound of a file as samples, so that it can be laid under frames that were made around its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from av import AudioResampler
from av.error import FFmpegError
from jaxtyping import Int16

from sora_core.media.stream import open_video

SOUND_HZ = 48_000
# Before a seek's target: decoders of sound need some packets to settle.
_LEAD_S = 0.5


def decode_sound(path: Path | str, start_s: float, duration_s: float) -> Int16[np.ndarray, "n 2"] | None:
    """Stereo samples at `SOUND_HZ` from ``start_s`` of the picture's clock on, silence where the file has none.

    None without a sound track, or when none of it decodes.
    """
    samples = np.zeros((round(duration_s * SOUND_HZ), 2), np.int16)
    heard = False
    with open_video(path) as video:
        stream = video.container.streams.best("audio")
        if stream is None or stream.codec_context is None:
            return None
        stream.codec_context.thread_count = 1
        if start_s > _LEAD_S:
            video.seek(start_s - _LEAD_S)
        for time_s, chunk in _chunks(video.container, stream):
            place = round((time_s - video.origin_s - start_s) * SOUND_HZ)
            if place >= len(samples):
                break
            first, last = max(0, -place), min(len(chunk), len(samples) - place)
            if last > first:
                samples[place + first : place + last] = chunk[first:last]
                heard = True
    return samples if heard else None


def _chunks(container: Any, stream: Any) -> Iterator[tuple[float, Int16[np.ndarray, "n 2"]]]:
    """Times in the container's clock and samples from there on; what is damaged is passed over."""
    resampler = AudioResampler(format="s16", layout="stereo", rate=SOUND_HZ)
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, FFmpegError):
            return
        try:
            frames = [item for frame in packet.decode() for item in resampler.resample(frame)]
        except (FFmpegError, ValueError):
            continue
        for frame in frames:
            if frame.time is not None:
                yield float(frame.time), frame.to_ndarray().reshape(-1, 2)
