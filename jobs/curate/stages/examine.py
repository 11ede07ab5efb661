"""One look at a source: probe, split into shots and clips, score, judge. One decode pass, bounded memory."""

import time
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass, field, replace
from functools import lru_cache
from operator import itemgetter
from pathlib import Path

import cv2
import numpy as np

from jobs.curate.config import CurateConfig, Models
from jobs.curate.listing import identity_of, is_named_as_media
from jobs.curate.measure.models import load
from jobs.curate.measure.score import SAMPLE_HEIGHT, SMALL_HEIGHT, Meter, look_at_image
from jobs.curate.measure.split import Cut, Span, cut_out, divide
from jobs.curate.measure.transnet import TransNet
from jobs.curate.rows import Clip, Examined, Source, short_hash
from jobs.curate.stages.pixels import fetched, reason_of
from jobs.curate.verdicts import judged
from jobs.curate.words.beside import read_sidecars
from sora_core import media
from sora_core.errors import InputError, StorageError, UnreadableMedia
from sora_core.likeness import Pictures
from sora_core.media import Isolated, MediaInfo, ShotFinder, SourceFrame
from sora_core.precision import dtype_of, warn_if_slow

_PREVIEW_SIDE = 112
_PREVIEW_FRAMES = 5
_PREVIEW_FPS = 3.0
# Pictures kept of one source while it passes by; twice as many are thinned to every other.
_MAX_KEYFRAMES = 128
_KEYFRAME_EVERY_S = 0.5


def examine(source: Source, config: CurateConfig, isolated: Isolated | None = None) -> Examined:
    """Everything about a source that needs a look at it. Whatever is wrong with it becomes a row with a reason.

    The storage is asked here; only `measured` runs in the ``isolated`` process, if there is one.
    """
    started = time.monotonic()
    try:
        source = bind_caption(source, config)
        with fetched(source, config.scratch_bytes) as path:
            row = judged(_apart(isolated, path, source, config) if isolated else measured(path, source, config), config)
    except Exception as error:  # noqa: BLE001 - it becomes the source's row
        row = _unreadable(source, reason_of(error, source.uri))
    return replace(row, examine_s=time.monotonic() - started)


def _apart(isolated: Isolated, path: Path, source: Source, config: CurateConfig) -> Examined:
    with isolated.lent(path) as readable:
        return isolated.call_twice(measured, readable, source, config)


def examine_again(source: Source, before: Examined, config: CurateConfig) -> Examined:
    """What was measured ``before``, with the caption and the verdicts of now; no look at the footage."""
    try:
        source = bind_caption(source, config)
    except StorageError as error:
        return Examined(source, None, "failed", reason_of(error, source.uri))
    return judged(replace(before, source=source), config)


def _unreadable(source: Source, reason: str) -> Examined:
    if reason == "unreadable_container" and not is_named_as_media(source.uri):
        return Examined(source, None, "dropped", "not_media")
    return Examined(source, None, "failed", reason)


def bind_caption(source: Source, config: CurateConfig) -> Source:
    """The source with the words of its sidecars, which go before a table's; the default where nobody said any."""
    said = read_sidecars(source.caption_uris)
    words = (("sidecar", said.text), (source.captioner, source.caption), ("default", config.caption_default))
    captioner, caption = next(((who, text) for who, text in words if text), ("none", None))
    spans = () if said.text else source.said
    return replace(source, caption=caption, captioner=captioner, licence=said.licence or source.licence, said=spans)


def measured(path: Path, source: Source, config: CurateConfig) -> Examined:
    """The clips of a file with their scores, not yet judged. UnreadableMedia says why there are none."""
    image = media.probe_image(path)
    if image:
        picture = media.decode_image(path, max_pixels=config.limits.pixels)
        preview = media.to_webp([picture], max_side=_PREVIEW_SIDE)
        pictures = Pictures([(0.0, cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))])
        size = (0.0, (image.height, image.width))
        seen = Seen(image, [], look_at_image(picture, load(config.models)), pictures, [size])
        clip = _clip(source, config, Span(0.0, 0.0, 1), config.fps or 1.0, seen, preview)
        return Examined(source, image.kind, "kept", None, [clip])
    seen = look(path, config)
    clips = [_clip(source, config, span, fps, seen, seen.preview(span)) for fps, span in _spans(seen, config)]
    return Examined(source, seen.info.kind, "kept", None, clips, decoded_frames=len(seen.meter.times_s))


def _spans(seen: "Seen", config: CurateConfig) -> Iterator[tuple[float, Span]]:
    """The clips' rate and each one's place; a video of one frame is a photograph."""
    fps = config.fps or seen.info.fps or 1.0
    for start_s, end_s in seen.shots:
        if len(seen.meter.times_s) == 1:
            yield fps, Span(start_s, start_s, 1)
        else:
            yield from ((fps, span) for span in divide(start_s, end_s, fps, config.max_frames, config.min_frames))


def _clip(source: Source, config: CurateConfig, span: Span, fps: float, seen: "Seen", preview: bytes) -> Clip:
    """A span with its size, not yet judged."""
    height, width = seen.size_at(span.start_s)
    bars = seen.meter.bars(span.start_s, span.end_s)
    top, bottom, left, right = bars
    try:
        cut = cut_out(height, width, bars, config.max_area)
    except InputError:  # smaller than the autoencoder takes: the judge drops it
        cut = Cut(0, 0, 0, 0, 0, 0)
    description, summary = seen.meter.describe(span.start_s, span.end_s)
    return Clip(
        clip_id=short_hash(identity_of(source), round(span.start_s, 6), span.frames, fps, astuple(cut)),
        start_s=span.start_s,
        end_s=span.end_s,
        fps=fps,
        frames=span.frames,
        **asdict(cut),
        description=description,
        summary=summary,
        scores=seen.meter.scores(span.start_s, span.end_s, fps),
        status="kept",
        reason=None,
        preview=preview,
        area=round(height * (1 - top - bottom)) * round(width * (1 - left - right)),
        fingerprint=seen.pictures.fingerprint(span.start_s, span.end_s, bars),
    )


@dataclass(slots=True)
class Seen:
    """What one pass over a file left: its facts, shots and measures, and a few small pictures. ``sizes`` are those of
    its pictures as they are shown (height, width), each with the time from which on it holds."""

    info: MediaInfo
    shots: list[tuple[float, float]]
    meter: Meter
    pictures: Pictures
    sizes: list[tuple[float, tuple[int, int]]]
    keyframes: list[tuple[float, np.ndarray]] = field(default_factory=list)

    def size_at(self, time_s: float) -> tuple[int, int]:
        """Height and width of the picture that is shown then."""
        return self.sizes[max(0, bisect_right(self.sizes, time_s, key=itemgetter(0)) - 1)][1]

    def preview(self, span: Span) -> bytes:
        """A small animation of a span; a still of its middle where one picture or none was kept of it."""
        inside = [frame for time_s, frame in self.keyframes if span.start_s <= time_s < span.end_s]
        if not inside:
            middle_s = (span.start_s + span.end_s) / 2
            inside = [min(self.keyframes, key=lambda keyframe: abs(keyframe[0] - middle_s))[1]]
        step = -(-len(inside) // _PREVIEW_FRAMES)
        return media.to_webp(inside[::step], max_side=_PREVIEW_SIDE, fps=_PREVIEW_FPS)


def look(path: Path, config: CurateConfig) -> Seen:
    """Decode a video once, frame by frame; memory doesn't grow with its length but for a few numbers a frame."""
    with media.play(path) as (info, frames):
        limits = config.limits
        if info.width * info.height > limits.pixels:
            raise _over(path, f"{info.width}x{info.height}", "limits.pixels", limits.pixels, "bad_dimensions")
        if (info.duration_s or 0.0) > limits.seconds:
            raise _over(path, f"{info.duration_s:g} s", "limits.seconds", limits.seconds, "too_long")
        return _watched(info, _counted(path, frames, limits.frames), config)


def _counted(path: Path, frames: Iterator[SourceFrame], most: int) -> Iterator[SourceFrame]:
    for number, frame in enumerate(frames):
        if number == most:
            raise _over(path, "more frames", "limits.frames", most, "too_many_frames")
        yield frame


def _over(path: Path, size: str, name: str, most: float, reason: str) -> UnreadableMedia:
    return UnreadableMedia(f"{path.name}: {size}, above {name} = {most:g}; split it or raise the limit", reason=reason)


def _watched(info: MediaInfo, frames: Iterator[SourceFrame], config: CurateConfig) -> Seen:
    arbiter = _transnet(config.models) if config.models.transitions == "transnetv2" else None
    finder = ShotFinder(info.fps or 1.0, arbiter)
    meter, pictures = Meter(load(config.models), max_fps=info.max_fps), Pictures()
    keyframes: list[tuple[float, np.ndarray]] = []
    sizes: list[tuple[float, tuple[int, int]]] = []
    every_s = _KEYFRAME_EVERY_S
    for frame in frames:
        meter.add(frame)
        has_another_size = not sizes or sizes[-1][1] != frame.displayed
        if has_another_size:
            sizes.append((frame.time_s, frame.displayed))
        finder.add(frame.time_s, frame.rgb(SMALL_HEIGHT), is_new=has_another_size)
        if pictures.is_due(frame.time_s):
            pictures.add(frame.time_s, frame.grey(SAMPLE_HEIGHT))
        if not keyframes or frame.time_s - keyframes[-1][0] >= every_s:
            keyframes.append((frame.time_s, _shrunk(frame.rgb(SAMPLE_HEIGHT), _PREVIEW_SIDE)))
            if len(keyframes) == _MAX_KEYFRAMES:
                keyframes, every_s = keyframes[::2], 2 * every_s
    return Seen(info, finder.shots(1 / (info.fps or 1.0)), meter, pictures, sizes, keyframes)


@lru_cache(maxsize=1)
def _transnet(models: Models) -> TransNet:
    warn_if_slow("finding shots", models.finds_shots_in, "cpu")
    return TransNet(dtype_of(models.finds_shots_in))


def _shrunk(frame: np.ndarray, height: int) -> np.ndarray:
    if frame.shape[0] <= height:
        return frame
    width = max(1, round(frame.shape[1] * height / frame.shape[0]))
    small: np.ndarray = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return small
