"""The films that jobs edit, out of storage: their clips and finished windows, and what the next begins with."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int16, UInt8

from services.video.film import Film, StoredClip
from services.video.job import Job
from services.video.workers.failures import ClipLost
from sora_core import media, storage
from sora_core.edits import Canvas, Clip, Plan, Window, assemble, make_canvas, settle
from sora_core.edits.plan import Layer
from sora_core.errors import MissingObject
from sora_core.pipeline import Request
from sora_core.pipeline.editing import window_request
from sora_core.pipeline.generation import MAX_SEED
from sora_core.shapes import PixelShape


@dataclass(frozen=True, slots=True, eq=False)
class OpenFilm:
    """A film at one of its windows; frames are mapped from files and take no memory until they are read.

    ``window`` counts those of the plan, before which others may have been made whose film is its source.
    """

    plan: Plan
    is_last_stage: bool
    window: int
    sources: Sequence[Clip]
    made: Sequence[Clip]
    sound: Int16[np.ndarray, "n 2"] | None

    @classmethod
    def of(cls, job: Job, folder: Path, *, to_assemble: bool) -> "OpenFilm | None":
        """The film of a job, laid out in a local folder; None for a video of words alone.

        Only those frames are read that the window at hand shows, so that it doesn't cost more in a longer film; to
        assemble it, after its last window, all.
        """
        if job.params["film"] is None:
            return None
        film = Film.from_json(job.params["film"])
        plan, clips, ready = _stage_at_hand(film, job.made or ())
        at_hand = len(ready)
        shown = _Shown.by(plan, None if to_assemble and at_hand + 1 >= len(plan.windows) else plan.windows[at_hand])
        layers = [*plan.layers, *(Layer(clip.shape) for clip in clips[len(plan.layers) :])]  # the last for a mask
        sources = [
            _frames(clip.uri, clip.shape, folder / f"clip-{index}", shown.of(layer.at, clip.shape.frames, layer.step))
            for index, (clip, layer) in enumerate(zip(clips, layers, strict=True))
        ]
        made = [
            _frames(uri, window.shape, folder / f"window-{index}", shown.of(window.start, window.shape.frames))
            for index, (uri, window) in enumerate(zip(ready, plan.windows, strict=False))
        ]
        sound = None if film.sound is None else np.load(io.BytesIO(_stored(film.sound)))
        return cls(plan, plan == film.stages()[-1], at_hand, sources, made, sound)

    @property
    def is_last(self) -> bool:
        """Whether the window at hand completes the plan's film."""
        return self.window + 1 == len(self.plan.windows)

    def canvas(self) -> Canvas:
        """What the window at hand begins with."""
        return make_canvas(self.plan, self.window, self.sources, self.made)

    def settled(self, decoded: Clip) -> Clip:
        """The window at hand as it counts."""
        return settle(self.canvas(), decoded)

    def assembled(self, *last: Clip) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """The frames of the whole film, given its last window as it counts, if it has any."""
        return assemble(self.plan, self.sources, [*self.made, *last])


def _stage_at_hand(film: Film, made: Sequence[str]) -> tuple[Plan, Sequence[StoredClip], Sequence[str]]:
    """What is made next, from which clips, and what of it is ready: the last file of a stage holds its whole film."""
    first, *later = film.stages()
    done = len(first.windows)
    if len(made) < done or not later:
        return first, film.clips, made
    return later[0], (StoredClip(made[done - 1], first.film),), made[done:]


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """The frames of a film that are looked at while a window is made."""

    numbers: Int[np.ndarray, " n"]
    cycle: int | None

    @classmethod
    def by(cls, plan: Plan, window: Window | None) -> "_Shown":
        """Those of a window, or all."""
        length = plan.film.frames
        numbers = np.arange(length) if window is None else window.start + np.arange(window.shape.frames)
        return cls(numbers, length if plan.cyclic else None)

    def of(self, at: int, frames: int, step: int = 1) -> range:
        """Which of the frames that lie at ``at``, ``at + step``, ... of the film are among them."""
        offset = self.numbers - at
        number = (offset % self.cycle if self.cycle else offset) // step
        if frames == 1:
            return range(1)  # a still may hold for the frames after it
        found = number[(number >= 0) & (number < frames)]
        return range(int(found.min()), int(found.max()) + 1) if len(found) else range(0)


def _stored(uri: str) -> bytes:
    try:
        return storage.read_bytes(uri)
    except MissingObject as error:
        raise ClipLost(f"a sound that it is made from is gone: {error}") from error


def _frames(uri: str, shape: PixelShape, place: Path, wanted: range) -> Clip:
    if not wanted:
        return np.broadcast_to(np.uint8(0), (shape.frames, shape.height, shape.width, 3))
    try:
        with storage.local_file(uri) as path:
            return media.read_film(path, place, shape, wanted)
    except MissingObject as error:
        raise ClipLost(f"a clip that it is made from is gone: {error}") from error


def _references(job: Job, folder: Path) -> tuple[Clip, ...]:
    """The clips of a job's characters; jobs from before they were offered have none."""
    stored = [StoredClip(clip["uri"], PixelShape(**clip["shape"])) for clip in job.params.get("references", [])]
    shown = [
        _frames(clip.uri, clip.shape, folder / f"reference-{index}", range(clip.shape.frames))
        for index, clip in enumerate(stored)
    ]
    return tuple(np.array(clip) for clip in shown)  # they outlive the folder


def request_of(job: Job, cache_threshold: float, refresh_given_every: int) -> Request:
    """What the pipeline is asked for in the window at hand.

    ClipLost when a clip is gone, StorageError when it can't be read now.
    """
    params = job.params
    request = Request(
        prompt=params.get("revised_prompt") or params["prompt"],
        negative_prompt=params["negative_prompt"],
        num_frames=params["num_frames"],
        height=params["height"],
        width=params["width"],
        num_inference_steps=params["num_inference_steps"],
        guidance_scale=params["guidance_scale"],
        seed=params["seed"],
        cache_threshold=cache_threshold,
        refresh_given_every=refresh_given_every,
    )
    with storage.scratch() as folder:
        request = replace(request, references=_references(job, folder))
        film = OpenFilm.of(job, folder, to_assemble=False)
        if film is None:
            return request
        request = replace(request, seed=(request.seed + job.window - film.window) % MAX_SEED)
        return window_request(request, film.plan, film.window, film.canvas())
