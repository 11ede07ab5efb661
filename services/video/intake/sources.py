"""Videos that clients start from: bounded by their headers, then brought to frames of the model's rate and size."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int16, UInt8
from PIL import Image

from services.video.config import ApiSettings
from services.video.errors import ApiError, refused
from services.video.intake.decoders import Decoders
from services.video.intake.sizing import can_make
from services.video.job import VIDEO_ID, Job, Status
from services.video.ledger import Ledger
from services.video.schemas import ModelCard
from sora_core import media, storage
from sora_core.errors import InputError, MissingObject, UnreadableMedia
from sora_core.media import Isolated, MediaInfo
from sora_core.shapes import Fit, PixelShape, fit_area

Fitting = Callable[[int, int], Fit]
"""How a file of some height and width becomes a film; InputError when it can't."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of a file is asked for, at which rate (its own when None), and how its size becomes the film's."""

    fit: Fitting
    fps: float | None = None
    start_s: float = 0.0
    end_s: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What an edit works on: frames in a local file, as `sora_core.media.write_film` keeps them, and their sound."""

    path: Path
    shape: PixelShape
    sound: Int16[np.ndarray, "n 2"] | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Clip(Part):
    """A part that was a video: ``height`` and ``width`` as it is displayed, ``fit`` is how they became the shape's."""

    fps: float
    start_s: float
    height: int
    width: int
    fit: Fit


class Sources:
    """Reads videos within the limits; safe to use from several threads."""

    def __init__(self, limits: ApiSettings, ledger: Ledger, decoders: Decoders) -> None:
        self._limits = limits
        self._ledger = ledger
        self._decoders = decoders

    def own(self, owner: str, video_id: str, param: str) -> Job:
        """A completed video of the same key. ApiError 404 when there is none, 400 while or because it has no film."""
        job = self._ledger.get(video_id, owner) if VIDEO_ID.fullmatch(video_id) else None
        if job is None:
            message = f"no video {video_id!r}: it never was, was deleted, or is another key's"
            raise ApiError(404, message, param=param, code="not_found")
        if job.status is Status.FAILED:
            raise refused(param, f"{job.id} failed, there is nothing to start from", "video_failed")
        if job.result is None:
            raise refused(param, f"{job.id} is {job.status}: wait until it is completed", "video_not_ready")
        return job

    def fetch(self, job: Job, param: str, folder: Path) -> Path:
        """The film of a completed video as a local file."""
        assert job.result is not None
        try:
            return storage.download(job.result["video"]["uri"], folder / param)
        except MissingObject as error:
            message = f"the film of {job.id} is not in the storage any more"
            raise ApiError(404, message, param=param, code="not_found") from error

    def check_bytes(self, file: Path, param: str) -> None:
        """ApiError 400 for a file that is larger than what is taken."""
        size, most = file.stat().st_size, self._limits.max_video_bytes
        if size > most:
            raise refused(param, f"{size} bytes: at most {most}", "too_large")

    def read(self, file: Path, param: str, wanted: Wanted) -> Clip:
        """The part of a file that is wanted, its frames kept beside it; ApiError 400 with the numbers."""
        try:
            with self._decoders.process() as process, process.lent(file) as seen:
                info = _probe(process, seen)
                self._check_header(info, param, wanted)
                assert info.fps is not None
                fit = wanted.fit(info.height, info.width)
                self._check_scaled(info, param, fit)
                fps = wanted.fps or info.fps
                kept = file.with_name(file.name + ".film")
                with closing(self._frames(process, seen, param, wanted, fps, fit)) as frames:
                    shape = media.write_film(kept, frames)
                sound = (
                    process.call(media.decode_sound, seen, wanted.start_s, wanted.start_s + shape.frames / fps)
                    if info.has_audio
                    else None
                )
        except UnreadableMedia as error:
            raise refused(param, str(error), "invalid_video") from error
        except InputError as error:
            raise refused(param, str(error)) from error
        return Clip(kept, shape, sound, fps=fps, start_s=wanted.start_s, height=info.height, width=info.width, fit=fit)

    def _check_header(self, info: MediaInfo, param: str, wanted: Wanted) -> None:
        if info.kind != "video":
            raise refused(param, "a still picture: send a video", "invalid_video")
        pixels, most = info.width * info.height, self._limits.max_video_pixels
        if pixels > most:
            raise refused(param, f"{info.width}x{info.height} is {pixels} pixels: at most {most}", "too_large")
        if info.duration_s is None:
            return  # then its frames are counted
        if wanted.start_s >= info.duration_s:
            raise refused("start_s", f"start_s = {wanted.start_s:g}: the video has {info.duration_s:g} s")
        end_s = info.duration_s if wanted.end_s is None else min(wanted.end_s, info.duration_s)
        if end_s - wanted.start_s > self._limits.max_video_s:
            raise self._too_long(param, f"{end_s - wanted.start_s:g} s")

    def _check_scaled(self, info: MediaInfo, param: str, fit: Fit) -> None:
        """A strip that is to fill a frame grows in its other direction."""
        pixels, most = fit.scaled_height * fit.scaled_width, 4 * self._limits.max_video_pixels
        if pixels > most:
            message = f"{info.width}x{info.height} would be scaled to {pixels} pixels to fill {fit.width}x{fit.height}"
            raise refused(param, f"{message}: at most {most}", "too_large")

    def _too_long(self, param: str, length: str) -> ApiError:
        most = f"{self._limits.max_video_s:g} s and {self._limits.max_video_frames} frames"
        return refused(param, f"{length}: a source has at most {most}; give start_s and end_s", "too_long")

    def _frames(
        self, process: Isolated, file: Path, param: str, wanted: Wanted, fps: float, fit: Fit
    ) -> Generator[UInt8[np.ndarray, "h w 3"]]:
        """The frames, scaled and cut; no more of them than the limits allow."""
        most = min(self._limits.max_video_frames, round(self._limits.max_video_s * fps) + 1)
        top, left = (fit.scaled_height - fit.height) // 2, (fit.scaled_width - fit.width) // 2
        size = (fit.scaled_height, fit.scaled_width)
        decoded = process.each(media.clip_frames, file, wanted.start_s, wanted.end_s, fps=fps, size=size)
        with closing(decoded) as shown:  # or what is left over would be the next one's first answer
            for index, frame in enumerate(shown):
                if index >= most:
                    raise self._too_long(param, f"more than {most} frames at {fps:g} a second")
                yield frame[top : top + fit.height, left : left + fit.width]


def _probe(process: Isolated, file: Path) -> MediaInfo:
    """What a file's header says; UnreadableMedia for one that is none, or that claims to be enormous."""
    try:
        return process.call(media.probe, file)
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise UnreadableMedia(f"not a video that can be read ({error})", reason="unreadable_container") from error


def filling(height: int, width: int) -> Fitting:
    """Scaled until it fills this size, then cut around the middle."""

    def fit(own_height: int, own_width: int) -> Fit:
        scale = max(height / own_height, width / own_width)
        return Fit(height, width, max(height, round(own_height * scale)), max(width, round(own_width * scale)))

    return fit


def usual(card: ModelCard) -> Fitting:
    """The pixel rule: scaled down to the area of the model's usual size, cut by less than a multiple of its sides."""
    width, height = (int(side) for side in card.default_size.split("x"))
    return lambda own_height, own_width: fit_area(own_height, own_width, width * height, card.size_multiple)


def as_made(card: ModelCard, num_frames: int, guidance_scale: float | None) -> Fitting:
    """A size at which the model makes so many frames in one go stays as it is, as that of a video which it made; any
    other is brought to the `usual` one."""

    def fit(height: int, width: int) -> Fit:
        if can_make(card, PixelShape(num_frames, height, width), guidance_scale):
            return Fit(height, width, height, width)
        return usual(card)(height, width)

    return fit


def contained(height: int, width: int) -> Fitting:
    """Scaled down, never up, until it lies within this size."""

    def fit(own_height: int, own_width: int) -> Fit:
        scale = min(1.0, height / own_height, width / own_width)
        down, across = min(height, round(own_height * scale)), min(width, round(own_width * scale))
        return Fit(down, across, down, across)

    return fit
