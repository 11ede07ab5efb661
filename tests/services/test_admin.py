"""Keys of the database, their scopes and ends, usage as rows, the audit log: through the API and the command line."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from services.video import admin
from services.video.accounts.books import Books
from services.video.accounts.keys import Keyring, KeyStore, Scope
from services.video.api import create_app
from services.video.config import ApiSettings, hash_key
from services.video.job import NewJob, new_id
from services.video.ledger import Ledger
from services.video.webhooks.store import WebhookStore
from services.video.workers.card import model_card
from sora_core.pipeline import Pipeline

from .conftest import Clock
from .live import KEYS, config_in

SMALL = {"prompt": "x", "size": "48x32", "num_frames": 5, "num_inference_steps": 4}


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


ANN = bearer(KEYS["ann"])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def api(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_run: str, tiny_pipeline: Pipeline
) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("admin")
    on_postgres = {"ledger": request.getfixturevalue("postgres").new_schema()} if request.param == "postgresql" else {}
    config = config_in(folder, tiny_run, api={"admins": ["ann"]}, **on_postgres)
    ledger = Ledger.open(config.ledger)
    card = model_card(tiny_pipeline, config)
    ledger.roster.publish_model(card.id, card.model_dump(mode="json"))
    ledger.roster.beat("w", card.id, 100.0)
    with TestClient(create_app(config, ledger), raise_server_exceptions=False) as client:
        yield client
    ledger.close()


def ledger_of(api: TestClient) -> Ledger:
    ledger: Ledger = api.app.state.service.ledger  # type: ignore[attr-defined]
    return ledger


def new_key(api: TestClient, owner: str = "eve", **more: Any) -> dict[str, Any]:
    answer = api.post("/v1/admin/keys", json={"owner": owner, **more}, headers=ANN)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_an_owner_has_several_keys_that_overlap_and_end_one_by_one(api: TestClient) -> None:
    old, new = new_key(api, name="old"), new_key(api, name="new")
    video = api.post("/v1/videos", json=SMALL, headers=bearer(old["secret"])).json()
    assert api.get(f"/v1/videos/{video['id']}", headers=bearer(new["secret"])).status_code == 200
    assert api.delete(f"/v1/admin/keys/{old['id']}", headers=ANN).json()["revoked_at"] is not None
    listed = api.get("/v1/admin/keys", params={"owner": "eve"}, headers=ANN)
    assert [key["name"] for key in listed.json()["data"]] == ["new", "old"]
    assert old["secret"] not in listed.text
    assert api.delete("/v1/admin/keys/key_" + "0" * 24, headers=ANN).status_code == 404


def test_a_revoked_and_an_ended_key_are_good_for_seconds_at_most(ledger_url: str, clock: Clock) -> None:
    ledger = Ledger.open(ledger_url, clock)
    store = KeyStore(ledger, clock)
    ring = Keyring(ApiSettings(keys={"ann": hash_key("sk-ann")}), store, clock)
    key, secret = store.add("eve", "", [Scope.READ], clock() + 60)
    assert ring.known("sk-ann")[0]
    assert ring.known(secret) == (False, None)
    caller = ring.ask(secret)
    assert caller is not None
    assert (caller.owner, caller.key_id, ring.known(secret)) == ("eve", key.id, (True, caller))
    clock.forward(6)
    assert not ring.known(secret)[0]
    clock.forward(60)
    assert ring.ask(secret) is None
    ledger.close()


@pytest.mark.parametrize(
    ("scopes", "reads", "makes", "administers"),
    [
        (["read"], 200, 403, 403),
        (["make"], 403, 200, 403),
        (["admin"], 403, 403, 200),
        (["make", "read"], 200, 200, 403),
    ],
)
def test_a_key_does_what_it_is_for(
    api: TestClient, scopes: list[str], reads: int, makes: int, administers: int
) -> None:
    headers = bearer(new_key(api, scopes=scopes)["secret"])
    assert api.get("/v1/videos", headers=headers).status_code == reads
    answer = api.post("/v1/videos", json=SMALL, headers=headers)
    assert answer.status_code == makes
    assert api.get("/v1/admin/jobs", headers=headers).status_code == administers
    if makes == 403:
        assert answer.json()["error"]["code"] == "insufficient_scope"


def test_an_operator_sees_and_stops_jobs_of_all_owners_and_is_written_down(api: TestClient) -> None:
    video = api.post("/v1/videos", json=SMALL, headers=bearer(KEYS["bob"])).json()
    jobs = api.get("/v1/admin/jobs", params={"owner": "bob", "status": "queued"}, headers=ANN).json()
    assert [(job["id"], job["owner"], job["key_id"]) for job in jobs["data"]] == [(video["id"], "bob", "config:bob")]
    assert api.post(f"/v1/admin/jobs/{video['id']}/cancel", headers=bearer(KEYS["bob"])).status_code == 403
    assert api.post(f"/v1/admin/jobs/{video['id']}/cancel", headers=ANN).json()["error_code"] == "cancelled"
    newest = api.get("/v1/admin/audit", headers=ANN).json()["data"][0]
    assert (newest["actor"], newest["action"], newest["target"]) == ("config:ann", "job.cancel", video["id"])


def test_jobs_are_listed_a_page_at_a_time(api: TestClient) -> None:
    made = [api.post("/v1/videos", json=SMALL, headers=bearer(KEYS["bob"])).json()["id"] for _ in range(3)]
    first = api.get("/v1/admin/jobs", params={"owner": "bob", "limit": 2}, headers=ANN).json()
    assert (first["has_more"], [job["id"] for job in first["data"]]) == (True, made[:0:-1])
    after = {"owner": "bob", "limit": 100, "after": first["last_id"]}
    assert api.get("/v1/admin/jobs", params=after, headers=ANN).json()["data"][0]["id"] == made[0]


def test_usage_is_a_row_for_each_job_that_ended_once(api: TestClient) -> None:
    key = new_key(api, owner="una")
    ids = [api.post("/v1/videos", json=SMALL, headers=bearer(key["secret"])).json()["id"] for _ in range(3)]
    ledger = ledger_of(api)
    done, failed, _ = ids
    for job in ledger.claim([done, failed], "w", 30.0):
        if job.id == done:
            ledger.renew({job.lease: 90}, 30.0)
            ledger.finish(job.lease, {"video": {"uri": "x", "bytes": 1}})
        else:
            ledger.renew({job.lease: 45}, 30.0)
            ledger.fail(job.lease, "server_error", "")
    store = WebhookStore(ledger)
    while store.announce():
        pass
    (row,) = api.get("/v1/admin/usage", params={"owner": "una"}, headers=ANN).json()["data"]
    assert (row["key_id"], row["requests"]) == (key["id"], 2)
    assert row["video_seconds"] == pytest.approx(5 / 8)
    job = ledger.get(done)
    assert job is not None
    assert row["device_seconds"] == pytest.approx(1.5 * job.tokens * job.num_steps / 100.0)
    (day,) = api.get("/v1/admin/usage", params={"owner": "una", "group_by": "day"}, headers=ANN).json()["data"]
    assert day["day"] == int((job.completed_at or 0) // 86_400)
    past = {"owner": "una", "until": (job.completed_at or 0) - 60}
    assert api.get("/v1/admin/usage", params=past, headers=ANN).json()["data"] == []


def test_what_is_deleted_before_its_end_was_told_is_still_counted(ledger: Ledger, clock: Clock) -> None:
    shape = {"model": "m", "tokens": 8, "num_steps": 4, "priority": 0, "queued_as": 0.0}
    params = {"num_frames": 5, "fps": 8.0, "key": "k"}
    for job_id in (new_id(clock.now), new_id(clock.now)):
        ledger.create([NewJob(id=job_id, owner="ann", params=params, **shape)])  # type: ignore[arg-type]
        (job,) = ledger.claim([job_id], "w", 30.0)
        ledger.finish(job.lease, {"video": {}})
        ledger.delete(job_id)
        ledger.purge(job_id)
    while WebhookStore(ledger, clock).announce():
        pass
    (used,) = Books(ledger, clock).used(0, clock.now + 1)
    assert (used.owner, used.key_id, used.requests, used.video_seconds) == ("ann", "k", 2, 1.25)


def test_the_command_line_does_the_same(ledger_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
        status = admin.main(["--ledger", ledger_url, *arguments])
        return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    status, (made,) = run("keys", "add", "eve", "--scope", "admin", "--days", "1")
    assert (status, made["scopes"], made["secret"][:3]) == (0, ["admin"], "sk-")
    assert run("keys", "list", "--owner", "eve")[1][0]["id"] == made["id"]
    assert run("keys", "revoke", made["id"])[1][0]["revoked_at"] is not None
    assert run("jobs", "list") == (0, [])
    assert run("usage", "--by", "day") == (0, [])
    assert run("jobs", "cancel", "video_" + "0" * 32) == (1, [])
    assert run("keys", "add", "a=b") == (2, [])
    with pytest.raises(SystemExit, match="2"):
        run("keys", "add", "eve", "--scope", "everything")
