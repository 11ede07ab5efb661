"""Characters through the real API: kept from a clip, shown to videos that name them, and what is refused."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from services.video.files import work_folder
from sora_core.errors import StorageUnavailable
from sora_core.pipeline import Generation, Pipeline

from .editing import AUTH, ask, moving, post
from .http import HTTP
from .live import LiveService, config_in, eventually
from .postgres import free_port

LIMITS = {"max_video_bytes": 100_000, "max_characters_per_key": 3}
SMALL = {"size": "48x32", "num_frames": 5}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, learned: str) -> Iterator[LiveService]:
    """A service whose model learned from references; nobody works unless the test says so."""
    config = config_in(tmp_path_factory.mktemp("stage"), learned, api=LIMITS, sampler={"token_budget": 80})
    with LiveService(config, Pipeline.load(learned, "cpu"), free_port()) as service:
        service.publish()
        yield service


@pytest.fixture
def clip(films: Callable[..., Path]) -> bytes:
    return films(moving(24), 8.0, sound=True).read_bytes()


def at(service: LiveService, path: str = "", method: str = "GET", owner: str = "ann") -> httpx.Response:
    return HTTP.request(method, f"{service.url}/v1/videos/characters{path}", headers=AUTH[owner])


@pytest.fixture
def kept(stage: LiveService, clip: bytes) -> Iterator[str]:
    """A character of ann's called Mira."""
    answer = HTTP.post(
        f"{stage.url}/v1/videos/characters",
        data={"name": "Mira"},
        files={"video": ("a.mp4", clip)},
        headers=AUTH["ann"],
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"id", "created_at", "name"}
    yield answer.json()["id"]
    at(stage, f"/{answer.json()['id']}", "DELETE")


def test_a_character_is_kept_of_a_part_of_a_video_of_the_same_key(stage: LiveService, clip: bytes) -> None:
    stage.work()
    made = ask(stage, "/edits", {"video": clip}, prompt="x", strength=0.1)
    eventually(lambda: (job := stage.ledger.get(made)) and job.result is not None)
    stage.rest()
    address = f"{stage.url}/v1/videos/characters"

    def create(owner: str = "ann", **values: Any) -> httpx.Response:
        return HTTP.post(address, json={"name": "Lu", "video": made} | values, headers=AUTH[owner], timeout=60)

    answer = create(start_s=1.0, end_s=1.6)
    assert answer.status_code == 200, answer.text
    character = stage.ledger.cast.character(answer.json()["id"], "ann")
    assert character is not None
    assert character.shape.frames == 5  # 0.6 s at 8 a second, as many as whole latents hold
    at(stage, f"/{character.id}", "DELETE")
    assert create(owner="bob").status_code == 404
    assert create(start_s=2, end_s=1).json()["error"]["param"] == "end_s"
    assert create(start_s=99).json()["error"]["param"] == "start_s"
    assert create(video=None).json()["error"]["code"] == "missing_parameter"


def test_a_character_is_shown_to_the_videos_that_name_it_and_to_no_other(
    stage: LiveService, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, set[tuple[int, int]]] = {}
    step = stage.pipeline.step

    def watched(generations: list[Generation]) -> None:
        for one in generations:
            counts = shown.setdefault(one.request.prompt, set())
            counts.add((sum(len(clip) for clip in one.request.references), one.num_tokens))
        step(generations)

    monkeypatch.setattr(stage.pipeline, "step", watched)
    with_it = ask(stage, "", prompt="mira moves left", guidance_scale=3, characters=[{"id": kept}], **SMALL)
    without = ask(stage, "", prompt="nobody moves left", guidance_scale=3, **SMALL)
    looped = ask(
        stage, "", prompt="Mira in a loop", loop=True, size="48x32", num_frames=9, **{"characters[][id]": kept}
    )
    tokens = {video_id: stage.ledger.get(video_id).tokens for video_id in (with_it, without)}  # type: ignore[union-attr]
    assert tokens[with_it] > tokens[without] == 2 * 12
    assert at(stage, f"/{kept}", "DELETE").json() == {"id": kept, "object": "character.deleted", "deleted": True}
    stage.work()
    for video_id in (with_it, without, looped):
        job = eventually(lambda video_id=video_id: (job := stage.ledger.get(video_id)) and job.result and job)
        video = HTTP.get(f"{stage.url}/v1/videos/{video_id}", headers=AUTH["ann"], timeout=60).json()
        assert video["characters"] == ([] if video_id == without else [kept])
        eventually(lambda job=job: not Path(work_folder(stage.config.output, job.id)).exists())
    stage.rest()
    assert shown["mira moves left"] == {(17, tokens[with_it])}
    assert shown["nobody moves left"] == {(0, tokens[without])}
    assert {frames for frames, _ in shown["Mira in a loop"]} == {17}


def test_a_character_is_its_owner_s_alone(stage: LiveService, kept: str) -> None:
    assert at(stage, f"/{kept}").json()["name"] == "Mira"
    assert [one["id"] for one in at(stage).json()["data"]] == [kept]
    assert at(stage, owner="bob").json()["data"] == []
    for path, method in ((f"/{kept}", "GET"), (f"/{kept}", "DELETE"), ("/char_1", "GET")):
        assert at(stage, path, method, "bob").json()["error"]["code"] == "not_found"
    error = post(stage, "", owner="bob", prompt="Mira", characters=[kept], **SMALL).json()["error"]
    assert (error["param"], error["code"]) == ("characters", "not_found")


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"prompt": "somebody moves"}, "prompt", "character_not_named"),
        ({"characters": ["KEPT", "KEPT"]}, "characters", "invalid_value"),
        ({"characters": ["char_" + "0" * 32]}, "characters", "not_found"),
        ({"characters": [{"name": "Mira"}]}, "characters.0.id", "missing_parameter"),
        ({"characters": "Mira"}, "characters", "not_found"),
        ({"num_frames": 17}, "num_frames", "too_long"),
        ({"num_frames": 17, "characters": []}, None, None),
    ],
)
def test_what_no_video_can_show_is_refused_at_the_door(
    stage: LiveService, kept: str, changes: dict[str, Any], param: str | None, code: str | None
) -> None:
    asked: dict[str, Any] = SMALL | {"prompt": "Mira moves", "characters": [kept], "guidance_scale": 3} | changes
    if isinstance(asked["characters"], list):
        asked["characters"] = [kept if one == "KEPT" else one for one in asked["characters"]]
    answer = post(stage, "", **asked).json()
    error = answer["error"] or {"param": None, "code": None}
    assert (error["param"], error["code"]) == (param, code), error
    if code is None:
        stage.ledger.delete(answer["id"])


def test_what_is_no_clip_makes_no_character(
    stage: LiveService, films: Callable[..., Path], clip: bytes, tmp_path: Path
) -> None:
    path = "/characters"
    cases: list[tuple[dict[str, bytes], dict[str, str], str, str]] = [
        ({}, {"name": "x"}, "video", "missing_parameter"),
        ({"video": clip}, {}, "name", "missing_parameter"),
        ({"video": clip}, {"name": ""}, "name", "missing_parameter"),
        ({"video": clip}, {"name": "x", "colour": "red"}, "colour", "unknown_parameter"),
        ({"video": b"x"}, {"name": "x"}, "video", "invalid_video"),
        (
            {"video": films(np.random.default_rng(0).integers(0, 255, (17, 96, 96, 3), np.uint8)).read_bytes()},
            {"name": "x"},
            "video",
            "too_large",
        ),
    ]
    for files, data, param, code in cases:
        sent = {name: (name, content) for name, content in files.items()} or None
        answer = HTTP.post(f"{stage.url}/v1/videos{path}", data=data, files=sent, headers=AUTH["ann"], timeout=60)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"], error["code"]) == (400, param, code), error
    assert at(stage).json()["data"] == []


def test_a_key_keeps_no_more_characters_than_it_may(stage: LiveService, clip: bytes) -> None:
    url = f"{stage.url}/v1/videos/characters"
    answers = [
        HTTP.post(url, data={"name": f"n{number}"}, files={"video": ("a", clip)}, headers=AUTH["bob"], timeout=60)
        for number in range(4)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 400]
    assert answers[-1].json()["error"]["code"] == "too_many"
    folder = Path(stage.config.output) / "characters"
    assert len(list(folder.iterdir())) == 3
    for one in at(stage, owner="bob").json()["data"]:
        at(stage, f"/{one['id']}", "DELETE", "bob")
    assert not list(folder.glob("*/*"))


def test_a_storage_that_is_away_is_no_fault_of_the_request(
    stage: LiveService, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise StorageUnavailable("no answer")

    monkeypatch.setattr("services.video.intake.characters.storage.upload", away)
    url, files = f"{stage.url}/v1/videos/characters", {"video": ("a", clip)}
    answer = httpx.post(url, data={"name": "Bo"}, files=files, headers=AUTH["ann"], timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "5"
    assert at(stage).json()["data"] == []


def test_a_cancelled_video_with_a_character_leaves_no_files(stage: LiveService, kept: str) -> None:
    video_id = ask(stage, "", prompt="Mira", characters=[kept], **SMALL)
    folder = Path(work_folder(stage.config.output, video_id))
    assert [path.name for path in folder.iterdir()] == ["reference-0.mkv"]
    stage.ledger.cancel(video_id)
    stage.work()
    eventually(lambda: not folder.exists())
    stage.rest()
