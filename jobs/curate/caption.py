"""Words from a vision-language model for kept clips that nobody has captioned: many requests in flight."""

import io
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from PIL import Image

from jobs.curate.config import CaptionEndpoint
from jobs.curate.examine import DECODER_CRASHED, SourceReplaced, fetched
from jobs.curate.isolated import ProcessDied
from jobs.curate.latents import Decode
from jobs.curate.rows import Clip, Examined
from sora_core import telemetry
from sora_core.captioner import Captioner, NoCaption
from sora_core.errors import MissingObject, UnreadableMedia

logger = logging.getLogger(__name__)

# The reason of a clip that the endpoint gave no words for; the next run asks again.
CAPTION_FAILED = "caption_failed"
Frames = list[bytes]


def captioner_of(endpoint: CaptionEndpoint) -> Captioner:
    """The client that the config describes."""
    return Captioner(
        endpoint.url, endpoint.model, api_key_env=endpoint.api_key_env, timeout_s=endpoint.timeout_s,
        max_retries=endpoint.max_retries,
    )  # fmt: skip


class CaptionWriter:
    """Fills in the captions of clips that wait for one; each answer goes to the clip whose frames were sent."""

    def __init__(self, endpoint: CaptionEndpoint, decode: Decode) -> None:
        self._endpoint = endpoint
        self._decode = decode
        self._captioner = captioner_of(endpoint)
        self._threads = ThreadPoolExecutor(endpoint.in_flight, thread_name_prefix="caption")

    def __call__(self, examined: Sequence[Examined]) -> list[Examined]:
        """The same rows with captions, or with clips that failed for want of one."""
        asked = [(row, [self._asked(clip, frames) for clip, frames in self._frames(row)]) for row in examined]
        return [replace(row, clips=[answer() for answer in answers]) for row, answers in asked]

    def _frames(self, row: Examined) -> list[tuple[Clip, Frames | str | None]]:
        """Each clip with the frames to show; a reason where there are none; None where nothing is to be asked."""
        if not any(_waits(clip) for clip in row.clips):
            return [(clip, None) for clip in row.clips]
        try:
            with fetched(row.source) as path:
                return [(clip, self._shown(lambda c: self._decode(path, row.kind, c), clip)) for clip in row.clips]
        except (MissingObject, SourceReplaced):
            return [(clip, "object_missing" if _waits(clip) else None) for clip in row.clips]

    def _shown(self, decode: Callable[[Clip], np.ndarray], clip: Clip) -> Frames | str | None:
        if not _waits(clip):
            return None
        try:
            pixels = decode(clip)
        except UnreadableMedia as error:
            return error.reason
        except ProcessDied:
            return DECODER_CRASHED
        chosen = np.linspace(0, len(pixels) - 1, min(self._endpoint.frames, len(pixels))).round().astype(int)
        return [_jpeg(pixels[number]) for number in chosen]

    def _asked(self, clip: Clip, frames: Frames | str | None) -> Callable[[], Clip]:
        """A request under way; calling the result waits for the clip with its answer in it."""
        if frames is None:
            return lambda: clip
        if isinstance(frames, str):
            return lambda: replace(clip, status="failed", reason=frames)
        future = self._threads.submit(self._captioner.caption, frames)

        def answer() -> Clip:
            try:
                words = future.result()
            except NoCaption as error:
                logger.warning("clip %s has no caption: %s", clip.clip_id, error)
                return replace(clip, status="failed", reason=CAPTION_FAILED)
            telemetry.CURATE_CAPTION_TOKENS.inc(words.prompt_tokens, {"kind": "prompt"})
            telemetry.CURATE_CAPTION_TOKENS.inc(words.completion_tokens, {"kind": "completion"})
            return replace(clip, caption=words.long, summary=words.short)

        return answer


def _waits(clip: Clip) -> bool:
    return clip.status == "kept" and clip.caption is None


def _jpeg(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
