"""What every answer of the API rests on: a host with room, the ledger's clock, numbers behind a key, a kept house."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from services.video.accounts.administration import Administration
from services.video.accounts.keys import KeyStore
from services.video.api import create_app
from services.video.config import hash_key
from services.video.intake.intake import Intake
from services.video.job import Status
from services.video.ledger import Ledger

from .conftest import Clock
from .live import KEYS, config_in, eventually
from .test_ledger import new_job

AUTH = {"authorization": f"Bearer {KEYS['ann']}"}
Open = Callable[..., TestClient]


@pytest.fixture
def opened(tmp_path: Path, ledger: Ledger) -> Iterator[Open]:
    """The application over a ledger whose clock the test turns, with settings of the test's choice."""
    clients: list[TestClient] = []

    def build(**api: Any) -> TestClient:
        app = create_app(config_in(tmp_path, "run", api=api), ledger)
        clients.append(TestClient(app, headers=AUTH, raise_server_exceptions=False))
        return clients[-1]

    yield build
    for client in clients:
        client.close()


@pytest.mark.parametrize(("error", "status"), [(28, 503), (24, 503), (5, 500)])
def test_a_host_without_room_asks_to_try_again(
    opened: Open, monkeypatch: pytest.MonkeyPatch, error: int, status: int
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(error, "no room")

    monkeypatch.setattr(Intake, "accept", full)
    answer = opened().post("/v1/videos", json={"prompt": "x"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, "server_error")
    assert ("retry-after" in answer.headers) == (status == 503)


def test_keys_and_links_end_by_the_ledgers_clock(opened: Open, ledger: Ledger, clock: Clock) -> None:
    """The hosts' own clocks are years away from this one."""
    key, secret = Administration(ledger).add_key("test", "ann", None, None, 10.0)
    assert key.expires_at == clock.now + 10.0
    assert KeyStore(ledger).of_digest(hash_key(secret)) is not None
    (job,) = ledger.create([new_job(params={**PARAMS})])
    (held,) = ledger.claim([job.id], "w", 30.0)
    ledger.finish(held.lease, {name: {"uri": "nowhere", "bytes": 1} for name in ("video", "thumbnail", "spritesheet")})
    client = opened(link_lifetime_s=100.0)
    links = client.get(f"/v1/videos/{job.id}").json()["links"]
    assert clock.now + 50 <= links["expires_at"] <= clock.now + 100
    link = links["video"].removeprefix("http://testserver")
    assert "not in the storage" in client.get(link).json()["error"]["message"], "the link is good, its file is not"
    clock.forward(101.0)
    assert "has expired" in client.get(link).json()["error"]["message"]
    assert KeyStore(ledger).of_digest(hash_key(secret)) is None


PARAMS = {
    "prompt": "x", "seconds": "1", "width": 32, "height": 32, "remixed_from": None, "seed": 1, "fps": 8.0,
    "num_frames": 5, "negative_prompt": "", "guidance_scale": 1.0, "num_inference_steps": 1, "film": None,
}  # fmt: skip


def test_the_numbers_have_a_key_of_their_own_and_are_asked_for_once(
    opened: Open, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, counts = [], ledger.roster.counts
    monkeypatch.setattr(ledger.roster, "counts", lambda: asked.append(1) or counts())  # type: ignore[func-returns-value]
    client = opened(metrics_key=hash_key("sk-numbers"))
    for headers in ({}, AUTH):
        refused = client.get("/metrics", headers={"authorization": ""} | headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert asked == []
    for _ in range(5):
        answer = client.get("/metrics", headers={"authorization": "Bearer sk-numbers"})
        assert "sora_video_queue_jobs" in answer.text
    assert len(asked) < 5


def test_the_api_keeps_house_while_no_worker_lives(tmp_path: Path) -> None:
    """Scaled to zero: what a dead worker held waits again, and what was deleted goes."""
    config = config_in(tmp_path, "run", sampler={"lease_s": 0.2})
    ledger = Ledger.open(config.ledger)
    lost, deleted = ledger.create([new_job(), new_job()])
    ledger.claim([lost.id], "dead", 0.01)
    ledger.delete(deleted.id)

    def kept() -> bool:
        found = ledger.get(lost.id)
        return found is not None and found.status is Status.QUEUED and not ledger.rows([deleted.id])

    with TestClient(create_app(config, ledger)):
        eventually(kept)
    ledger.close()
