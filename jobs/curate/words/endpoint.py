"""Words from a vision-language model for kept clips that nobody has captioned: many requests in flight."""

import io
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Lock, Semaphore

import numpy as np
from PIL import Image

from jobs.curate.config import CaptionEndpoint
from jobs.curate.rows import Clip, Examined
from jobs.curate.stages.pixels import Decode, clips_pixels
from jobs.curate.words.gate import REFUSED, is_refused
from sora_core import telemetry
from sora_core.captioner import Captioner, NoCaption, Words
from sora_core.errors import ConfigError, SoraError

logger = logging.getLogger(__name__)

# The reason of a clip that the endpoint gave no words for; the next run asks again.
CAPTION_FAILED = "caption_failed"
# Height and width of the picture that is tried before any work.
TRIAL_SIZE = (96, 128)


def captioner_of(endpoint: CaptionEndpoint, api_key: str | None = None) -> Captioner:
    """The client that the config describes; the key is this machine's own unless it is given."""
    return Captioner(
        endpoint.url, endpoint.model, api_key_env=endpoint.api_key_env, api_key=api_key, timeout_s=endpoint.timeout_s,
        max_retries=endpoint.max_retries,
    )  # fmt: skip


def check(endpoint: CaptionEndpoint) -> None:
    """ConfigError or AccessDenied, with the remedy, unless the endpoint serves the model and it captions a picture."""
    captioner = captioner_of(endpoint)
    try:
        captioner.check()
        captioner.caption([_jpeg(_landscape())])
    except NoCaption as error:
        raise ConfigError(
            f"no caption of a trial picture by {endpoint.model!r} ({error}): choose a model that sees pictures and "
            'answers in JSON as it is told, or captioner = "describer"'
        ) from error
    finally:
        captioner.close()


def _landscape() -> np.ndarray:
    """A sun above a meadow."""
    height, width = TRIAL_SIZE
    rows, columns = np.mgrid[:height, :width]
    picture = np.where(
        (rows < height // 2)[..., None], np.array([110, 170, 240], np.uint8), np.array([60, 140, 50], np.uint8)
    )
    picture[np.hypot(rows - height // 4, columns - width // 4) < height // 8] = 250, 230, 90
    return picture


class CaptionWriter:
    """Fills in the captions of clips that wait for one; each answer goes to the clip whose frames were sent.

    SoraError when ``most_in_a_row`` requests failed one after another: then it is no clip's fault, and nothing more is
    decoded or asked.
    """

    def __init__(
        self,
        endpoint: CaptionEndpoint,
        decode: Decode,
        most_in_a_row: int,
        api_key: str | None = None,
        *,
        gate: bool = True,
    ) -> None:
        self._endpoint = endpoint
        self._decode = decode
        self._most_in_a_row = most_in_a_row
        self._gate = gate
        self._failed_in_a_row = 0
        self._counting = Lock()
        # What waits for its turn lies in memory.
        self._room = Semaphore(2 * endpoint.in_flight)
        self._captioner = captioner_of(endpoint, api_key)
        self._threads = ThreadPoolExecutor(endpoint.in_flight, thread_name_prefix="caption")

    def close(self) -> None:
        """Close the connections, once nothing is under way."""
        self._threads.shutdown(cancel_futures=True)
        self._captioner.close()

    def __call__(self, examined: Sequence[Examined]) -> list[Examined]:
        """The same rows with captions, or with clips that failed for want of one."""
        asked = [(row, self._ask(row)) for row in examined]
        return [replace(row, clips=[_answer(clip, asks) for clip in row.clips]) for row, asks in asked]

    def _ask(self, row: Examined) -> dict[str, Callable[[], Clip]]:
        """By clip id, requests under way: calling one waits for the clip with its answer in it."""
        waiting = [clip for clip in row.clips if clip.status == "kept" and clip.caption is None]
        if waiting:
            self._check_up()
        return {clip.clip_id: self._asked(clip, frames) for clip, frames in clips_pixels(row, waiting, self._decode)}

    def _asked(self, clip: Clip, frames: np.ndarray | str) -> Callable[[], Clip]:
        if isinstance(frames, str):
            return lambda: replace(clip, status="failed", reason=frames)
        chosen = np.linspace(0, len(frames) - 1, min(self._endpoint.frames, len(frames))).round().astype(int)
        self._room.acquire()
        future = self._threads.submit(self._words, [_jpeg(frames[number]) for number in chosen])

        def answer() -> Clip:
            try:
                words = future.result()
            except NoCaption as error:
                logger.warning("clip %s has no caption: %s", clip.clip_id, error)
                return replace(clip, status="failed", reason=CAPTION_FAILED)
            telemetry.CURATE_CAPTION_TOKENS.inc(words.prompt_tokens, {"kind": "prompt"})
            telemetry.CURATE_CAPTION_TOKENS.inc(words.completion_tokens, {"kind": "completion"})
            said = replace(clip, caption=words.long, summary=words.short)
            if self._gate and is_refused(words.long):
                return replace(said, status="dropped", reason=REFUSED)
            return said

        return answer

    def _words(self, frames: Sequence[bytes]) -> Words:
        try:
            self._check_up()
            words = self._captioner.caption(frames)
        except NoCaption:
            self._count(failed=True)
            raise
        finally:
            self._room.release()
        self._count(failed=False)
        return words

    def _count(self, *, failed: bool) -> None:
        with self._counting:
            self._failed_in_a_row = self._failed_in_a_row + 1 if failed else 0

    def _check_up(self) -> None:
        if self._failed_in_a_row >= self._most_in_a_row:
            raise SoraError(
                f"{self._captioner.base_url}: no caption for {self._failed_in_a_row} clips in a row, so it is no "
                "clip's fault: see to the endpoint (the log has each error), then run the same command; "
                "max_faults_in_a_row is how many may fail"
            )


def _answer(clip: Clip, asks: dict[str, Callable[[], Clip]]) -> Clip:
    return asks[clip.clip_id]() if clip.clip_id in asks else clip


def _jpeg(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
