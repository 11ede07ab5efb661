"""Words from a vision-language model for kept clips that nobody has captioned: many requests in flight."""

import io
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from PIL import Image

from jobs.curate.config import CaptionEndpoint
from jobs.curate.rows import Clip, Examined
from jobs.curate.stages.pixels import Decode, clips_pixels
from sora_core import telemetry
from sora_core.captioner import Captioner, NoCaption

logger = logging.getLogger(__name__)

# The reason of a clip that the endpoint gave no words for; the next run asks again.
CAPTION_FAILED = "caption_failed"


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
        asked = [(row, self._ask(row)) for row in examined]
        return [replace(row, clips=[_answer(clip, asks) for clip in row.clips]) for row, asks in asked]

    def _ask(self, row: Examined) -> dict[str, Callable[[], Clip]]:
        """By clip id, requests under way: calling one waits for the clip with its answer in it."""
        waiting = [clip for clip in row.clips if clip.status == "kept" and clip.caption is None]
        return {clip.clip_id: self._asked(clip, frames) for clip, frames in clips_pixels(row, waiting, self._decode)}

    def _asked(self, clip: Clip, frames: np.ndarray | str) -> Callable[[], Clip]:
        if isinstance(frames, str):
            return lambda: replace(clip, status="failed", reason=frames)
        chosen = np.linspace(0, len(frames) - 1, min(self._endpoint.frames, len(frames))).round().astype(int)
        future = self._threads.submit(self._captioner.caption, [_jpeg(frames[number]) for number in chosen])

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


def _answer(clip: Clip, asks: dict[str, Callable[[], Clip]]) -> Clip:
    return asks[clip.clip_id]() if clip.clip_id in asks else clip


def _jpeg(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
