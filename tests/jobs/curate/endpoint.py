"""A stand-in for a remote vision-language model: it names the colour that it is shown, late, and sometimes fails."""

import base64
import io
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

from jobs.curate.words.endpoint import TRIAL_SIZE

from .stripes import COLOURS

MODEL = "stand-in-vlm"
# ``(colour, how often asked for it before)``: what to answer instead of a caption, or None.
Mischief = Callable[[str, int], tuple[int, str] | None]


def colour_of(url: str) -> str:
    """Its name; ``trial`` of the picture that is sent before any work."""
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"), np.float32)
    if pixels.shape[:2] == TRIAL_SIZE:
        return "trial"
    mean = pixels.mean(axis=(0, 1))
    return min(COLOURS, key=lambda name: float(np.linalg.norm(mean - 0.75 * np.array(COLOURS[name]))))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Endpoint"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._answer(200, {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "x"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        pictures = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
        colours = {colour_of(url) for url in pictures}
        assert len(colours) == 1, "frames of one clip"
        colour = colours.pop()
        with self.server.lock:
            self.server.authorizations.add(self.headers["Authorization"])
            asked = self.server.asked[colour]
            self.server.asked[colour] += colour != "trial"
            self.server.in_flight += 1
            self.server.most_in_flight = max(self.server.most_in_flight, self.server.in_flight)
        time.sleep(random.uniform(0, 0.2) * (colour != "trial"))
        trouble = self.server.mischief(colour, asked)
        with self.server.lock:
            self.server.in_flight -= 1
        words = {"long": f"{colour} stripes that move", "short": f"{colour} stripes"}
        status, said = trouble or (200, json.dumps(words))
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100 * len(pictures), "completion_tokens": 7, "total_tokens": 0}
        head = {"id": "1", "object": "chat.completion", "created": 0, "model": MODEL}
        self._answer(status, head | {"choices": [choice], "usage": usage})

    def _answer(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Endpoint(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, mischief: Mischief) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mischief = mischief
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.authorizations: set[str] = set()
        self.in_flight = self.most_in_flight = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def running(mischief: Mischief = lambda _colour, _asked: None) -> Iterator[Endpoint]:
    endpoint = Endpoint(mischief)
    thread = threading.Thread(target=endpoint.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.shutdown()
        endpoint.server_close()
        thread.join()
