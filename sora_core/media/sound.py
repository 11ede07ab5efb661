"""The sound of a file as samples, in the clock of its picture, so that it can be laid under frames."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from av import AudioResampler
from av.error import FFmpegError
from jaxtyping import Int16

from sora_core.errors import InputError
from sora_core.media.container import open_container, picture_stream, sound_stream
from sora_core.media.timeline import Timeline, demuxed, timeline_of

SOUND_HZ = 48_000
_CHANNELS = 2
# Before the first sample that is wanted: decoders of sound need some packets to settle.
_LEAD_S = 0.5
# Stamps are rounded, to milliseconds in some containers; a chunk that begins so near the end of the last follows it.
_ROUNDING_S = 0.03
_MAX_BYTES = 4 << 30


def decode_sound(
    path: Path | str, start_s: float = 0.0, end_s: float | None = None
) -> Int16[np.ndarray, "n channels"] | None:
    """Stereo samples at `SOUND_HZ` from ``start_s`` to ``end_s`` of the picture's clock, silence where there are none.

    To the end of the picture by default. None without a sound track, or when none of it decodes within the span.
    """
    timeline = timeline_of(path)
    end_s = end_s if end_s is not None else timeline.end_s or start_s
    count = round((end_s - start_s) * SOUND_HZ)
    if not 0 <= count * _CHANNELS * 2 <= _MAX_BYTES:
        raise InputError(f"{Path(path).name}: sound from {start_s} s to {end_s} s; ask for a shorter span")
    samples = np.zeros((count, _CHANNELS), np.int16)
    heard, place = False, 0
    for time_s, chunk in _chunks(path, timeline, start_s):
        told = place if time_s is None else round((time_s - start_s) * SOUND_HZ)
        place = place if heard and abs(told - place) < _ROUNDING_S * SOUND_HZ else told
        if place >= len(samples):
            break
        first, last = max(0, -place), min(len(chunk), len(samples) - place)
        if last > first:
            samples[place + first : place + last] = chunk[first:last]
            heard = True
        place += len(chunk)
    return samples if heard else None


def _chunks(
    path: Path | str, timeline: Timeline, start_s: float
) -> Iterator[tuple[float | None, Int16[np.ndarray, "n channels"]]]:
    """Times in the picture's clock, where they are said, and samples from there on, from before ``start_s``."""
    with open_container(path) as container:
        picture, sound = picture_stream(container, Path(path).name), sound_stream(container)
        if sound is None:
            return
        origin_s = float(timeline.origin * picture.time_base)
        for frame in _resampled(_decoded(container, picture, sound, timeline, origin_s + start_s - _LEAD_S)):
            yield (
                None if frame.time is None else float(frame.time) - origin_s,
                frame.to_ndarray().reshape(-1, _CHANNELS),
            )


def _decoded(container: Any, picture: Any, sound: Any, timeline: Timeline, from_s: float) -> Iterator[Any]:
    """Frames of sound, their stamps mended as the timeline says; what is damaged is passed over."""
    number = -1
    # Asked for as they were when the timeline was made: packets are known by their number.
    for packet in demuxed(container, [picture, sound]):
        if packet.stream_index != sound.index:
            continue
        number += 1
        clock = timeline.sound
        packet.pts, packet.dts = clock.mended(number, packet.pts), clock.mended(number, packet.dts)
        if packet.pts is not None and float((packet.pts + (packet.duration or 0)) * sound.time_base) < from_s:
            continue
        try:
            yield from packet.decode()
        except (FFmpegError, ValueError):
            continue
    yield from sound.codec_context.decode(None)


def _resampled(frames: Iterator[Any]) -> Iterator[Any]:
    """Frames in the wanted form, where they change on the way, too."""
    resampler: AudioResampler | None = None
    form = None
    for frame in frames:
        if (frame.format.name, frame.layout.name, frame.sample_rate) != form:
            yield from resampler.resample(None) if resampler else []
            resampler = AudioResampler(format="s16", layout="stereo", rate=SOUND_HZ)
            form = frame.format.name, frame.layout.name, frame.sample_rate
        yield from resampler.resample(frame) if resampler else []
    yield from resampler.resample(None) if resampler else []
