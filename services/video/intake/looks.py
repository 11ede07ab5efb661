"""What of a request the gate is shown: all that it says, and frames of all that it brings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from services.video.intake.material import Asked
from services.video.intake.sources import Part
from services.video.moderation.guard import Asker, Guard
from services.video.schemas import Wish
from sora_core import media
from sora_core.safety.gate.verdict import Picture, Stage

_MOST_FRAMES = 16  # of a clip that comes in
_GUIDED = 1.0  # below it a negative prompt leads a video to what it says


def check_words(guard: Guard, asker: Asker, wish: Wish) -> None:
    """ApiError 400 for a request whose words are refused."""
    guard.check_text(asker, Stage.PROMPT, "prompt", wish.prompt)
    leads = wish.guidance_scale is not None and wish.guidance_scale < _GUIDED
    stage = Stage.PROMPT if leads else Stage.NEGATIVE_PROMPT
    guard.check_text(asker, stage, "negative_prompt", wish.negative_prompt)


def check_parts(guard: Guard, asked: Asked, parts: Sequence[Part]) -> None:
    """ApiError 400 for a request with pictures or clips that are refused."""
    asker = Asker(asked.owner, asked.key_id)
    for index, part in enumerate(parts):
        frames = frames_of(part, asked.folder / f"seen-{index}")
        guard.check_pictures(asker, asked.starts_from, frames)


def frames_of(part: Part, place: Path) -> list[Picture]:
    """Frames of a clip, spread evenly from its first to its last."""
    count = part.shape.frames
    chosen = np.unique(np.linspace(0, count - 1, min(count, _MOST_FRAMES)).round().astype(int))
    frames = media.read_film(part.path, place, part.shape)
    return [np.array(frames[index]) for index in chosen]
