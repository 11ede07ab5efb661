"""Clients that never give up: they ask for videos, long and short, and keep account of what was accepted."""

import threading
import uuid
from types import TracebackType
from typing import Any, Self

import httpx
import openai

KINDS: tuple[dict[str, Any], ...] = (
    {"size": "48x32", "num_frames": 5, "num_inference_steps": 4},
    {"size": "32x32", "num_frames": 9, "num_inference_steps": 8, "guidance_scale": 2.0},
    {"size": "64x48", "num_frames": 17, "num_inference_steps": 100},
)

# What a service that is away answers; a proxy of Serve that has just started knows no routes yet.
_AWAY = (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError, openai.NotFoundError)


class Load:
    """Asks for a video every ``pause_s`` seconds while the ``with`` block lasts; every ninth one is cancelled."""

    def __init__(self, url: str, key: str, pause_s: float) -> None:
        self.accepted: list[str] = []
        self.cancelled: set[str] = set()
        self.refused = 0
        self.untold: list[str] = []
        self._client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=10)
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")

    def ask(self, kind: dict[str, Any]) -> str:
        """A video, accepted; the same request again, under the same key, until the service answers."""
        asked = dict(kind)
        size, headers = asked.pop("size"), {"Idempotency-Key": uuid.uuid4().hex}
        while True:
            try:
                video = self._client.videos.create(
                    prompt="a red ball", size=size, extra_body=asked | {"seed": 3}, extra_headers=headers
                )
            except _AWAY as error:
                self.refused += 1
                if isinstance(error, openai.InternalServerError):
                    self._check_envelope(error.response)
                if self._stop.wait(0.2):
                    raise
            else:
                self.accepted.append(video.id)
                return str(video.id)

    def _check_envelope(self, answer: httpx.Response) -> None:
        """Whoever failed, replica or proxy, it is said in the words of the API."""
        told = answer.headers.get("content-type", "").startswith("application/json") and answer.json().get("error")
        if not told or (answer.status_code == 503 and "retry-after" not in answer.headers):
            self.untold.append(f"{answer.status_code} {dict(answer.headers)} {answer.text[:200]}")

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            try:
                video_id = self.ask(KINDS[number % len(KINDS)])
                number += 1
                if number % 9 == 0:
                    self._client.post(f"/videos/{video_id}/cancel", cast_to=object)
                    self.cancelled.add(video_id)
            except _AWAY:
                continue
            self._stop.wait(self._pause_s)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()
