"""Prompts written out by a language model: told beside the prompt, used by the sampler, and refused where nobody is."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest

from services.video.workers.films import request_of
from sora_core.captioner import STYLE
from sora_core.pipeline import Pipeline

from .live import LiveService, config_in

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
SHOT = {"size": "48x32", "seconds": "0.5"}


class Writer(ThreadingHTTPServer):
    """A stand-in for a remote language model, which writes out whatever comes, until it is told to ``say`` else."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.say: str | None = None
        self.asked: list[list[dict[str, str]]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Writer

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
        self.server.asked.append(messages)
        words = json.dumps({"long": f"In warm light, {messages[-1]['content']} rolls.", "short": "a ball"})
        message = {"role": "assistant", "content": self.server.say or words}
        head = {"id": "1", "object": "chat.completion", "created": 0, "model": "writer"}
        data = json.dumps(head | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def writer() -> Iterator[Writer]:
    server = Writer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def service(
    tmp_path: Path, tiny_run: str, tiny_pipeline: Pipeline, unused_port: int, writer: Writer
) -> Iterator[LiveService]:
    endpoint = {"url": f"http://127.0.0.1:{writer.server_address[1]}/v1", "model": "writer", "max_retries": 0}
    config = config_in(tmp_path, tiny_run, api={"prompt_endpoint": endpoint})
    with LiveService(config, tiny_pipeline, unused_port) as live:
        live.publish()
        yield live


def create(service: LiveService, **extra: Any) -> dict[str, Any]:
    video = service.client().videos.create(prompt="a red ball", **SHOT, extra_body=extra)  # type: ignore[arg-type]
    return {"id": video.id, "prompt": video.prompt, **(video.model_extra or {})}


def test_a_prompt_is_written_out_in_the_style_of_captions(service: LiveService, writer: Writer) -> None:
    video = create(service, enhance_prompt=True)
    assert video["prompt"] == "a red ball"
    assert video["revised_prompt"] == "In warm light, a red ball rolls."
    assert STYLE in writer.asked[0][0]["content"]
    job = service.ledger.get(video["id"])
    assert job is not None
    assert request_of(job, 0.0, 1).prompt == "In warm light, a red ball rolls."


def test_nobody_is_asked_unless_the_client_wants_it(service: LiveService, writer: Writer) -> None:
    video = create(service)
    assert video["revised_prompt"] is None
    assert writer.asked == []
    job = service.ledger.get(video["id"])
    assert job is not None
    assert request_of(job, 0.0, 1).prompt == "a red ball"


def test_nonsense_makes_no_video(service: LiveService, writer: Writer) -> None:
    writer.say = "I'd rather not."
    with pytest.raises(openai.InternalServerError, match="leave enhance_prompt out") as raised:
        create(service, enhance_prompt=True)
    assert raised.value.status_code == 503
    assert list(service.client().videos.list()) == []


def test_without_a_language_model_it_is_refused_by_name(door: LiveService) -> None:
    with pytest.raises(openai.BadRequestError, match="leave it out") as raised:
        create(door, enhance_prompt=True)
    assert (raised.value.param, raised.value.code) == ("enhance_prompt", "unsupported")


def test_a_language_that_the_model_cant_read_is_refused_and_nothing_is_made(door: LiveService) -> None:
    for field, texts in (
        ("prompt", {"prompt": "一个红色的球在草地上向左移动"}),
        ("negative_prompt", {"prompt": "a ball", "extra_body": {"negative_prompt": "красный мяч"}}),
    ):
        with pytest.raises(openai.BadRequestError, match="write it in English") as raised:
            door.client().videos.create(**SHOT, **texts)  # type: ignore[arg-type]
        assert (raised.value.param, raised.value.code) == (field, "unsupported_language")
    assert list(door.client().videos.list()) == []


def test_where_there_is_a_language_model_it_is_translated(service: LiveService, writer: Writer) -> None:
    prompt = "一个红色的球在草地上向左移动"
    video = service.client().videos.create(prompt=prompt, **SHOT)  # type: ignore[arg-type]
    assert (video.model_extra or {})["revised_prompt"] == f"In warm light, {prompt} rolls."
    assert "English" in writer.asked[0][0]["content"]


def test_the_answer_says_that_a_prompt_is_cut(door: LiveService) -> None:
    for prompt, cut in (("a red ball", False), ("a red ball and " * 90, True)):
        video = door.client().videos.create(prompt=prompt, **SHOT)  # type: ignore[arg-type]
        assert (video.model_extra or {})["truncated"] is cut
