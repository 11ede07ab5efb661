"""Events reach their URLs: signed as the official client verifies, once an end, tried again, over restarts."""

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from services.video.config import WebhookSettings
from services.video.job import NewJob, new_id
from services.video.ledger import Ledger
from services.video.webhooks.courier import Courier
from services.video.webhooks.store import Endpoint, WebhookStore
from sora_core.pipeline import Pipeline

from .conftest import Clock
from .http import HTTP
from .live import KEYS, LiveService, config_in
from .receiver import Receiver

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

LOCAL: dict[str, Any] = {"outbound": {"allowed_networks": ["127.0.0.0/8"], "timeout_s": 1.0}}
BOTH = ["video.completed", "video.failed"]


HANGS_S = 120.0


@pytest.fixture
def hooked(
    tmp_path: Any, tiny_run: str, tiny_pipeline: Pipeline, unused_port: int, request: pytest.FixtureRequest
) -> Iterator[LiveService]:
    """A service at work that may send to this machine."""
    settings = LOCAL | {"poll_s": 0.05, "first_retry_s": 0.1} | getattr(request, "param", {})
    with LiveService(config_in(tmp_path, tiny_run, webhooks=settings), tiny_pipeline, unused_port) as service:
        service.publish()
        service.work()
        yield service


SMALL: dict[str, Any] = {"num_frames": 1, "num_inference_steps": 1, "guidance_scale": 1}


def test_the_ends_of_a_keys_videos_reach_its_url_and_the_client_verifies_them(
    hooked: LiveService, receiver: Receiver
) -> None:
    client = hooked.client()
    endpoint = client.webhooks.create(name="mine", url=receiver.url, event_types=BOTH)  # type: ignore[arg-type]
    receiver.statuses = [500, 302]
    hooked.client("bob").videos.create(prompt="x", size="48x32", extra_body=SMALL)
    client.images.generate(prompt="x", size="48x32", extra_body={"num_inference_steps": 1})
    video = client.videos.create(prompt="x", size="48x32", extra_body=SMALL)
    tries = [receiver.received.get(timeout=20) for _ in range(3)]
    assert len({headers["webhook-id"] for headers, _ in tries}) == 1, "tried again until it is taken"
    headers, body = tries[-1]
    event: Any = client.webhooks.unwrap(body, headers, secret=endpoint.signing_secret)
    assert (event.type, event.data.id, event.id) == ("video.completed", video.id, headers["webhook-id"])
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body.replace(b"completed", b"failed"), headers, secret=endpoint.signing_secret)
    waiting = client.videos.create(
        prompt="x", size="48x32", extra_body={**SMALL, "num_inference_steps": 100, "num_frames": 33}
    )
    client.post(f"/videos/{waiting.id}/cancel", cast_to=httpx.Response)
    headers, body = receiver.received.get(timeout=20)
    failed: Any = client.webhooks.unwrap(body, headers, secret=endpoint.signing_secret)
    assert (failed.type, failed.data.id) == ("video.failed", waiting.id)
    assert receiver.received.empty(), "neither another key's videos nor images are told"


def test_a_rotated_secret_signs_beside_the_old_one_while_it_is_kept(hooked: LiveService, receiver: Receiver) -> None:
    client = hooked.client()
    old = client.webhooks.create(name="mine", url=receiver.url, event_types=["video.completed"])
    new = client.webhooks.rotate_secret(old.id, keep_old_secret_active_for_24_hours=True)
    result = client.webhooks.test(old.id, event_type="video.completed")
    assert (result.status_code, result.webhook_endpoint_id) == (200, old.id)
    headers, body = receiver.received.get(timeout=5)
    for secret in (old.signing_secret, new.signing_secret):
        client.webhooks.unwrap(body, headers, secret=secret)
    newest = client.webhooks.rotate_secret(old.id)
    client.webhooks.test(old.id, event_type="video.completed")
    headers, body = receiver.received.get(timeout=5)
    client.webhooks.unwrap(body, headers, secret=newest.signing_secret)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body, headers, secret=new.signing_secret)


def test_the_client_keeps_its_endpoints(hooked: LiveService) -> None:
    client, url = hooked.client(), "http://127.0.0.1:9/hook"
    made = [client.webhooks.create(name=f"n{index}", url=url, event_types=BOTH) for index in range(5)]  # type: ignore[arg-type]
    assert [endpoint.id for endpoint in client.webhooks.list(limit=2)] == [endpoint.id for endpoint in made[::-1]]
    changed = client.webhooks.update(made[0].id, name="other", event_types=["video.failed"])
    assert (changed.name, changed.event_types, changed.url) == ("other", ["video.failed"], url)
    assert client.webhooks.retrieve(made[0].id) == changed
    assert "signing_secret" not in (changed.model_extra or {})
    assert list(hooked.client("bob").webhooks.list()) == []
    with pytest.raises(openai.NotFoundError):
        hooked.client("bob").webhooks.delete(made[0].id)
    assert client.webhooks.delete(made[0].id).deleted is True
    with pytest.raises(openai.NotFoundError):
        client.webhooks.retrieve(made[0].id)
    assert client.webhooks.event_types.list().data == BOTH
    with pytest.raises(openai.BadRequestError, match="can't be reached"):
        client.webhooks.test(made[1].id, event_type="video.failed")
    for _ in range(6):
        client.webhooks.create(name="x", url=url, event_types=BOTH)  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError, match="at most 10"):
        client.webhooks.create(name="x", url=url, event_types=BOTH)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"url": "http://127.0.0.1/hook"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
        ({"url": "https://no-such-host.invalid/"}, "url"),
        ({"url": "ftp://example.com/"}, "url"),
        ({"event_types": ["batch.completed"]}, "event_types.0"),
        ({"event_types": []}, "event_types"),
        ({"secret": "mine"}, "secret"),
    ],
)
def test_what_no_event_may_go_to_is_refused_when_it_is_registered(
    door: LiveService, change: dict[str, Any], param: str
) -> None:
    body = {"name": "n", "url": "https://8.8.8.8/hook", "event_types": BOTH, **change}
    headers = {"authorization": f"Bearer {KEYS['ann']}"}
    answer = HTTP.post(f"{door.url}/v1/webhook_endpoints", json=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


# --- the outbox, on both databases


def ended_job(ledger: Ledger, clock: Clock, owner: str = "ann") -> str:
    shape = {"model": "m", "params": {}, "tokens": 1, "num_steps": 1, "priority": 0, "queued_as": 0.0}
    (job,) = ledger.create([NewJob(id=new_id(clock.now), owner=owner, **shape)])  # type: ignore[arg-type]
    ledger.cancel(job.id)
    return job.id


@pytest.fixture
def store(ledger: Ledger, clock: Clock) -> WebhookStore:
    return WebhookStore(ledger, clock)


def endpoint_at(store: WebhookStore, url: str) -> Endpoint:
    made = store.add("ann", "n", url, BOTH, 10)
    assert made is not None
    return made


def test_an_end_is_announced_once_and_kept_until_it_is_settled(
    ledger: Ledger, store: WebhookStore, clock: Clock
) -> None:
    endpoints = {endpoint_at(store, "https://a").id, endpoint_at(store, "https://b").id}
    ended_job(ledger, clock)
    assert [store.announce(), store.announce()] == [1, 0]
    first = store.claim(10, lease_s=30.0)
    assert {delivery.endpoint.id for delivery in first} == endpoints
    assert store.claim(10, lease_s=30.0) == [], "what is being sent isn't sent by another too"
    store.settle(first[0], None)
    clock.forward(31.0)
    (again,) = WebhookStore(ledger, clock).claim(10, lease_s=30.0)
    assert (again.event_id, again.attempts) == (first[1].event_id, 2), "its sender died"


def test_an_endpoint_gets_one_event_at_a_time_and_a_removed_one_none(
    ledger: Ledger, store: WebhookStore, clock: Clock
) -> None:
    endpoint = endpoint_at(store, "https://a")
    for _ in range(3):
        ended_job(ledger, clock)
    store.announce()
    (first,) = store.claim(10, lease_s=30.0)
    assert store.claim(10, lease_s=30.0, busy=[endpoint.id]) == []
    store.settle(first, None)
    store.remove(endpoint.id, "ann")
    assert store.claim(10, lease_s=30.0) == []


def test_owners_have_turns_however_many_endpoints_one_has(ledger: Ledger, store: WebhookStore, clock: Clock) -> None:
    for number in range(10):
        endpoint_at(store, f"https://{number}")
    for owner in ("bob", "cid"):
        assert store.add(owner, "n", f"https://{owner}", BOTH, 10) is not None
    for owner in ("ann", "ann", "ann", "bob", "cid"):
        ended_job(ledger, clock, owner)
        store.announce()
        clock.forward(1.0)
    owners = [delivery.endpoint.owner for delivery in store.claim(4, lease_s=30.0)]
    assert sorted(owners) == ["ann", "ann", "bob", "cid"]


def test_an_endpoint_that_fails_for_days_is_disabled_until_it_is_changed(
    ledger: Ledger, store: WebhookStore, clock: Clock
) -> None:
    endpoint = endpoint_at(store, "https://a")
    for day in range(4):
        ended_job(ledger, clock)
        store.announce()
        for delivery in store.claim(10, lease_s=30.0):
            store.settle(delivery, clock.now + 3600.0, taken=False)
        assert store.disable_failing(2.5 * 86_400) == ([endpoint.id] if day == 3 else [])
        clock.forward(86_400.0)
    seen = store.get(endpoint.id, "ann")
    assert seen is not None
    assert seen.disabled_at is not None
    ended_job(ledger, clock)
    store.announce()
    assert store.claim(10, lease_s=30.0) == [], "what waited and what comes goes nowhere"
    store.change(endpoint.id, "ann", {"name": "again"})
    ended_job(ledger, clock)
    store.announce()
    (delivery,) = store.claim(10, lease_s=30.0)
    assert delivery.endpoint.failing_since is None
    store.settle(delivery, None, taken=False)
    failing = store.get(endpoint.id, "ann")
    assert failing is not None
    assert failing.failing_since == clock.now


def test_a_url_that_is_away_hears_of_it_after_a_restart(ledger: Ledger, clock: Clock, receiver: Receiver) -> None:
    store = WebhookStore(ledger, clock)
    endpoint = endpoint_at(store, receiver.url)
    job_id = ended_job(ledger, clock)
    receiver.statuses = [503, 503]
    settings = WebhookSettings.model_validate(LOCAL | {"first_retry_s": 10.0, "longest_retry_s": 15.0})
    for wait_s in (0.0, 10.0, 15.0):
        clock.forward(wait_s)
        courier = Courier(WebhookStore(ledger, clock), settings, clock)  # another process each time
        courier.tick()
        courier.start()
        courier.stop()
    bodies = [receiver.received.get(timeout=1)[1] for _ in range(3)]
    assert bodies[0] == bodies[2]
    assert job_id.encode() in bodies[0]
    clock.forward(1e6)
    assert store.claim(10, 1.0) == [], "taken at last"
    assert endpoint.url == receiver.url


def test_the_courier_survives_an_error_that_nobody_expects(
    ledger: Ledger, clock: Clock, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = WebhookStore(ledger, clock)
    endpoint_at(store, receiver.url)
    ended_job(ledger, clock)
    announce, rounds = store.announce, iter([ZeroDivisionError("a fault in the driver")])

    def failing_once() -> int:
        for error in rounds:
            raise error
        return announce()

    monkeypatch.setattr(store, "announce", failing_once)
    courier = Courier(store, WebhookSettings.model_validate(LOCAL | {"poll_s": 0.01}), clock)
    courier.start()
    assert receiver.received.get(timeout=20)
    courier.stop()


def test_an_event_that_nobody_takes_is_given_up_in_the_end(ledger: Ledger, clock: Clock, receiver: Receiver) -> None:
    store = WebhookStore(ledger, clock)
    endpoint_at(store, receiver.url)
    ended_job(ledger, clock)
    receiver.statuses = [500] * 10
    settings = WebhookSettings.model_validate(LOCAL | {"give_up_after_s": 100.0})
    for wait_s in (0.0, 101.0, 5000.0):
        clock.forward(wait_s)
        courier = Courier(store, settings, clock)
        courier.tick()
        courier.start()
        courier.stop()
    assert receiver.received.qsize() == 2


@pytest.mark.parametrize("hooked", [{"outbound": LOCAL["outbound"] | {"timeout_s": HANGS_S}}], indirect=True)
def test_an_endpoint_that_hangs_delays_only_itself(hooked: LiveService, receiver: Receiver) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        client = hooked.client()
        for url in (f"http://127.0.0.1:{deaf.getsockname()[1]}/", receiver.url):
            client.webhooks.create(name="x", url=url, event_types=BOTH)  # type: ignore[arg-type]
        for _ in range(5):
            client.videos.create(prompt="x", size="48x32", extra_body=SMALL)
        for _ in range(5):
            receiver.received.get(timeout=HANGS_S / 2)
