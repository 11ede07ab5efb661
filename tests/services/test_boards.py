"""Curated sets and training runs over HTTP: whole, page by page, read-only, and for keys that may see them alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from services.video.accounts.keys import KeyStore, Scope
from services.video.api import create_app
from services.video.ledger import Ledger

from .boards import curated, trained
from .editing import AUTH
from .live import config_in

ANN, BOB = AUTH["ann"], AUTH["bob"]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("boards")
    studio = {
        "footage": {"set": curated(folder / "set"), "gone": str(folder / "gone")},
        "training": {"run": trained(folder / "run"), "gone": str(folder / "gone")},
    }
    config = config_in(folder, "none", studio=studio, api={"viewers": ["ann"], "admins": ["ann"]})
    ledger = Ledger.open(config.ledger)
    with TestClient(create_app(config, ledger), base_url="http://test") as client:
        yield client
    ledger.close()


def get(api: TestClient, path: str, **query: Any) -> Any:
    answer = api.get(f"/v1{path}", params=query, headers=ANN)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_came_in_is_what_was_kept_dropped_or_failed(api: TestClient) -> None:
    told = get(api, "/footage/set")
    clips = {(one["status"], one["reason"]): one["count"] for one in told["clips"]}
    objects = {(one["status"], one["reason"]): one["count"] for one in told["objects"]}
    assert clips == {("kept", None): 4, ("dropped", "too_dark"): 2}
    assert objects == {("kept", None): 2, ("failed", "unreadable_container"): 2}
    assert (told["seconds"], told["has_report"]) == (4.0, True)


def test_clips_come_page_by_page_each_once(api: TestClient) -> None:
    seen, after = [], None
    while True:
        page = get(api, "/footage/set/clips", limit=2, **({} if after is None else {"after": after}))
        seen += [clip["clip_id"] for clip in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert sorted(seen) == [f"{part}-{clip}" for part in range(2) for clip in range(3)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"status": "dropped"}, 2),
        ({"reason": "too_dark"}, 2),
        ({"reason": "no_such"}, 0),
        ({"words": "BLOCK 2"}, 2),
        ({"words": "1.mp4", "status": "kept"}, 2),
    ],
)
def test_clips_are_found_by_verdict_reason_and_words(api: TestClient, query: dict[str, str], expected: int) -> None:
    assert len(get(api, "/footage/set/clips", **query)["data"]) == expected


def test_a_picture_is_there_where_one_was_kept(api: TestClient) -> None:
    clips = get(api, "/footage/set/clips")["data"]
    [shown, *_] = [clip for clip in clips if clip["preview"]]
    assert shown["scores"] == {"sharpness": 0.5}
    answer = api.get(f"/v1/footage/set/clips/{shown['place']}/preview", headers=ANN)
    assert (answer.headers["content-type"], answer.content[8:12]) == ("image/webp", b"WEBP")
    [without, *_] = [clip for clip in clips if not clip["preview"]]
    assert api.get(f"/v1/footage/set/clips/{without['place']}/preview", headers=ANN).status_code == 404


def test_a_report_is_a_file_and_nothing_in_it_runs_here(api: TestClient) -> None:
    answer = api.get("/v1/footage/set/report", headers=ANN)
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-security-policy"].startswith("sandbox")


def test_a_run_tells_its_curves_and_its_whole_checkpoints(api: TestClient) -> None:
    run = get(api, "/training/run")
    assert run["curves"]["step"] == list(range(1, 21))
    assert run["curves"]["values"]["loss"][:4] == [1.0, 0.5, None, 0.25]
    newest, older = run["checkpoints"]
    assert (newest["step"], newest["files"]) == (20, ["README.md", "samples/0.mp4"])
    assert (older["step"], older["files"]) == (10, ["README.md"])
    answer = api.get("/v1/training/run/checkpoints/20/files", params={"file": "samples/0.mp4"}, headers=ANN)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")


@pytest.mark.parametrize(
    "file", ["state/0.distcp", "../../metrics/a.jsonl", "samples/../meta.json", "meta.json", "x.mp4"]
)
def test_no_other_file_is_shown(api: TestClient, file: str) -> None:
    answer = api.get("/v1/training/run/checkpoints/20/files", params={"file": file}, headers=ANN)
    assert answer.status_code in (400, 404)


@pytest.mark.parametrize("path", ["/footage/other", "/training/other", "/footage/gone", "/training/gone"])
def test_what_is_not_there_is_not_found(api: TestClient, path: str) -> None:
    assert api.get(f"/v1{path}", headers=ANN).status_code == 404


@pytest.mark.parametrize("path", ["/footage", "/footage/set", "/footage/set/clips", "/training", "/training/run"])
def test_a_key_without_the_scope_sees_nothing(api: TestClient, path: str) -> None:
    answer = api.get(f"/v1{path}", headers=BOB)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_scope")


def test_a_link_signs_in_once_and_is_good_for_nothing_else(api: TestClient) -> None:
    link = {"authorization": f"Bearer {api.post('/v1/sign_ins', headers=ANN).json()['secret']}"}
    assert api.get("/v1/videos", headers=link).status_code == 403
    assert api.post("/v1/sign_ins", headers=link).status_code == 403
    answer = api.post("/v1/sign_ins/redeem", headers=link)
    session = {"authorization": f"Bearer {answer.json()['secret']}"}
    assert get(api, "/service")["scopes"] == ["admin", "data", "make", "read"]
    assert api.get("/v1/service", headers=session).json()["scopes"] == ["data", "make", "read"]
    assert api.post("/v1/sign_ins/redeem", headers=link).status_code == 401
    assert api.post("/v1/sign_ins/redeem", headers=session).status_code == 403


def test_of_two_who_redeem_a_link_at_once_one_gets_in(tmp_path: Path) -> None:
    ledger = Ledger.open(config_in(tmp_path, "none").ledger)
    store = KeyStore(ledger)
    key, _ = store.add("ann", "link", [Scope.SIGN_IN, Scope.READ], None)
    assert store.redeem(key.id) is not None
    assert store.redeem(key.id) is None
    ledger.close()
