"""One key can't block the API: what it sends is read in turns, its waiting costs one look, and slow bodies end."""

import asyncio
import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from services.video.errors import ApiError
from services.video.job import Job
from services.video.routes.turns import Turns
from services.video.routes.watch import Watch
from services.video.webhooks.store import WebhookStore
from sora_core.pipeline import Pipeline

from .editing import AUTH, png
from .http import HTTP
from .live import KEYS, LiveService, config_in
from .postgres import free_port

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread does."""
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.01)


def test_keys_take_turns_and_none_has_more_than_its_share() -> None:
    begun: list[str] = []
    running: list[str] = []
    gate = threading.Semaphore(0)

    def work(owner: str) -> None:
        running.append(owner)
        begun.append(owner)
        assert len(running) <= 3
        assert running.count("ann") <= 2
        gate.acquire(timeout=60)
        running.remove(owner)

    async def main() -> None:
        turns = Turns(at_once=3, of_one=2, waiting=10)
        tasks = [asyncio.create_task(turns.run("ann", lambda: work("ann"))) for _ in range(6)]
        await until(lambda: len(begun) == 2)
        assert begun == ["ann", "ann"]
        tasks += [asyncio.create_task(turns.run(owner, lambda owner=owner: work(owner))) for owner in ("bob", "cid")]
        await until(lambda: len(begun) == 3)
        assert begun == ["ann", "ann", "bob"]  # at once, although four of the other key wait
        for number in (4, 5):
            gate.release()
            await until(lambda number=number: len(begun) == number)
        assert "cid" in begun  # the key that waited less has its turn between those of the other
        gate.release(6)
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert begun.count("ann") == 6


def test_a_key_with_too_much_waiting_is_told_so_and_one_that_hangs_up_frees_its_place() -> None:
    gate = threading.Event()

    async def main() -> None:
        turns = Turns(at_once=1, of_one=1, waiting=1)
        first = asyncio.create_task(turns.run("ann", lambda: gate.wait(60)))
        waits = asyncio.create_task(turns.run("ann", lambda: None))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as refusal:
            await turns.run("ann", lambda: None)
        assert (refusal.value.status, refusal.value.headers["retry-after"]) == (429, "60")
        waits.cancel()
        gate.set()
        await asyncio.gather(first, waits, return_exceptions=True)
        assert await turns.run("ann", lambda: "done") == "done"

    asyncio.run(main())


def test_any_number_of_requests_wait_with_one_look_at_a_time(door: LiveService) -> None:
    client = door.client()
    ids = [client.videos.create(prompt="x").id for _ in range(3)]  # type: ignore[no-untyped-call,unused-ignore]
    jobs = [door.ledger.get(video_id) for video_id in ids]
    looks = []

    def look(asked: Any) -> list[Job]:
        looks.append(list(asked))
        if len(looks) == 1:
            raise ZeroDivisionError("an error that nobody expects")
        return [job for job in (door.ledger.get(one) for one in asked) if job is not None]

    async def main() -> None:
        watch = Watch(look)
        ends = [watch.end_of(job) for job in jobs * 100 if job is not None]
        await asyncio.sleep(0.1)
        door.ledger.cancel(ids[0])
        door.ledger.delete(ids[1])
        first = await asyncio.wait_for(ends[0], 5)
        assert first is not None
        assert first.error_code == "cancelled"
        assert await asyncio.wait_for(ends[1], 5) is None
        assert not ends[2].done()

    asyncio.run(main())
    assert 0 < len(looks) < 20


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, tiny_run: str, tiny_pipeline: Pipeline) -> Iterator[LiveService]:
    folder: Path = tmp_path_factory.mktemp("strict")
    limits = {"requests_per_minute": 2, "max_waiting": 100}
    api = {"body_timeout_s": 1.0, "body_pause_s": 0.3, "limits_by_owner": {"bob": limits}}
    with LiveService(config_in(folder, tiny_run, api=api), tiny_pipeline, free_port()) as service:
        service.publish()
        yield service


def test_a_question_is_answered_at_once_while_many_uploads_are_read(strict: LiveService) -> None:
    picture = png(np.zeros((1500, 1500, 3), np.uint8))

    def upload() -> None:
        files = {"input_reference": ("a.png", picture)}
        HTTP.post(f"{strict.url}/v1/videos", data={"prompt": "x"}, files=files, headers=AUTH["ann"], timeout=60)

    uploads = [threading.Thread(target=upload) for _ in range(40)]
    for thread in uploads:
        thread.start()
    waits = []
    with httpx.Client(headers=AUTH["ann"]) as client:
        while any(thread.is_alive() for thread in uploads):
            began = time.perf_counter()
            assert client.get(f"{strict.url}/v1/videos/models").status_code == 200
            waits.append(time.perf_counter() - began)
    for thread in uploads:
        thread.join()
    # A thread that waits for its turn to decode holds none that answers questions: what a busy machine adds is noise.
    assert np.median(waits) < 1.0, waits


def test_whatever_may_take_long_waits_in_the_turns_of_its_key(
    strict: LiveService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures, files and other people's addresses: none of them in the threads that answer questions."""
    hook = WebhookStore(strict.ledger).add("ann", "x", "https://a.example/b", ["video.failed"], 10)
    assert hook is not None
    picture = png(np.zeros((32, 32, 3), np.uint8))
    data_url = "data:image/png;base64," + base64.b64encode(picture).decode()
    wanted = {"name": "x", "url": hook.url, "event_types": ["video.failed"]}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("videos", {"json": {"prompt": "x", "input_reference": data_url}}),
        ("videos/characters", {"data": {"name": "x"}, "files": {"video": ("a", picture)}}),
        ("videos/edits", {"data": {"prompt": "x"}, "files": {"video": ("a", picture)}}),
        ("images/edits", {"data": {"prompt": "x"}, "files": {"image": ("a", picture)}}),
        ("moderations", {"json": {"input": [{"type": "image_url", "image_url": {"url": data_url}}]}}),
        ("content_provenance_checks", {"files": {"file": ("a.png", picture)}}),
        ("webhook_endpoints", {"json": wanted}),
        (f"webhook_endpoints/{hook.id}", {"json": {"url": hook.url}}),
        (f"webhook_endpoints/{hook.id}/test", {"json": {"event_type": "video.failed"}}),
    ]
    waited = []

    async def full(_: Turns, owner: str, _work: Any) -> None:
        waited.append(owner)
        raise ApiError(429, "full")

    monkeypatch.setattr(Turns, "run", full)
    for path, body in asked:
        answer = httpx.post(f"{strict.url}/v1/{path}", headers=AUTH["ann"], **body)
        assert answer.status_code == 429, (path, answer.text)
    assert waited == ["ann"] * len(asked)


@pytest.mark.parametrize("pauses_s", [(5.0,), (0.2,) * 10])
def test_a_body_that_comes_too_slowly_ends(strict: LiveService, pauses_s: tuple[float, ...]) -> None:
    port = int(strict.url.rpartition(":")[2])
    head = f"POST /v1/videos HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEYS['ann']}\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as sender:
        sender.settimeout(5)
        sender.sendall(head.encode() + b"{")
        began = time.monotonic()
        answer = b""
        for pause_s in pauses_s:
            try:
                sender.settimeout(pause_s)
                answer += sender.recv(4096)
                break
            except TimeoutError:
                sender.sendall(b" ")
        assert b" 408 " in answer.split(b"\r\n")[0]
        assert b'"code":"timeout"' in answer
        assert time.monotonic() - began < 30


def test_limits_are_asked_before_anything_is_decoded(strict: LiveService, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    from services.video.intake.pictures import Pictures

    read = Pictures.read
    monkeypatch.setattr(Pictures, "read", lambda *given: decoded.append(1) or read(*given))
    picture = png(np.zeros((32, 32, 3), np.uint8))
    statuses = []
    for _ in range(3):
        files = {"input_reference": ("a.png", picture)}
        answer = HTTP.post(f"{strict.url}/v1/videos", data={"prompt": "x"}, files=files, headers=AUTH["bob"])
        statuses.append(answer.status_code)
    assert statuses == [200, 200, 429]
    assert len(decoded) == 2
