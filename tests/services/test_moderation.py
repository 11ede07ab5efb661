"""The gate at the service's doors: what may not come in is refused before any work, what may not leave doesn't."""

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from services.video import admin
from services.video.api import create_app
from services.video.config import ModerationSettings
from services.video.job import Status
from services.video.ledger import Ledger
from services.video.moderation.guard import BLOCKED
from services.video.workers.card import model_card
from sora_core.pipeline import Pipeline

from .bench import Bench
from .live import KEYS, config_in

ANN, BOB = ({"authorization": f"Bearer {KEYS[owner]}"} for owner in ("ann", "bob"))
WISH = {"size": "48x32", "num_frames": 5, "num_inference_steps": 4}
BAD = "a masked man executes a kneeling hostage"
NSFW = {"image_model": ModerationSettings().image_model}
ALL_PICTURES = NSFW | {"image_threshold": 0.0, "image_margin": 0.0}


@pytest.fixture(scope="module")
def open_api(tmp_path_factory: pytest.TempPathFactory, tiny_run: str, tiny_pipeline: Pipeline) -> Iterator[Any]:
    """Opens applications by what their config says of moderation."""
    clients: list[tuple[TestClient, Ledger]] = []

    def build(**moderation: Any) -> TestClient:
        folder = tmp_path_factory.mktemp("gate")
        config = config_in(folder, tiny_run, api={"admins": ["bob"]}, moderation=NSFW | moderation)
        ledger = Ledger.open(config.ledger)
        card = model_card(tiny_pipeline, config)
        ledger.roster.publish_model(card.id, card.model_dump(mode="json"))
        ledger.roster.beat("w", card.id, 100.0)
        client = TestClient(create_app(config, ledger), raise_server_exceptions=False)
        clients.append((client, ledger))
        return client

    yield build
    for client, ledger in clients:
        client.app.state.service.intake.close()
        ledger.close()


@pytest.fixture(scope="module")
def api(open_api: Any) -> TestClient:
    client: TestClient = open_api()
    return client


def asked(api: TestClient, path: str = "/v1/videos", **wish: Any) -> httpx.Response:
    return api.post(path, json={"prompt": "a red ball", **WISH, **wish}, headers=ANN)


def refusal(answer: httpx.Response) -> tuple[str, str]:
    """The field and the message of a refusal."""
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, BLOCKED), answer.text
    return error["param"], error["message"]


def cases(api: TestClient, **query: Any) -> list[dict[str, Any]]:
    answer = api.get("/v1/admin/moderation_cases", params=query, headers=BOB)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def picture() -> bytes:
    stream = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def data_url() -> str:
    return f"data:image/png;base64,{base64.b64encode(picture()).decode()}"


def test_a_refusal_names_field_category_rule_and_case_and_makes_no_job(api: TestClient) -> None:
    for _ in range(2):
        field, message = refusal(asked(api, prompt=BAD))
    (case,) = cases(api, owner="ann", limit=1)
    assert field == "prompt"
    assert all(part in message for part in (case["category"], case["rule"], case["id"]))
    assert (case["text"], case["stage"], case["category"], case["count"]) == (BAD, "prompt", "violence", 2)
    assert api.get("/v1/videos", headers=ANN).json()["data"] == []
    assert api.get("/v1/admin/moderation_cases", headers=ANN).status_code == 403


def test_an_operator_lets_it_pass_for_everybody_and_that_is_written_down(api: TestClient) -> None:
    text = "two men beat a homeless stranger, documentary reconstruction"
    refusal(asked(api, prompt=text))
    name = cases(api, only_open=True, limit=1)[0]["id"]
    done = api.post(f"/v1/admin/moderation_cases/{name}/overrule", headers=BOB)
    assert (done.status_code, done.json()["overruled_by"]) == (200, "config:bob")
    assert asked(api, prompt=text).status_code == 200
    assert name not in [case["id"] for case in cases(api, only_open=True)]
    entry = api.get("/v1/admin/audit", headers=BOB).json()["data"][0]
    assert (entry["action"], entry["target"]) == ("moderation.overrule", name)
    assert api.post(f"/v1/admin/moderation_cases/mod_{'0' * 24}/overrule", headers=BOB).status_code == 404


def test_the_command_line_reads_the_log_and_overrules(api: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    text = "a gunman opens fire, stage play"
    refusal(asked(api, prompt=text))
    url = api.app.state.service.config.ledger  # type: ignore[attr-defined]
    assert admin.main(["--ledger", url, "cases", "list", "--open", "--limit", "1"]) == 0
    case = json.loads(capsys.readouterr().out)
    assert case["text"] == text
    assert admin.main(["--ledger", url, "cases", "overrule", case["id"]]) == 0
    assert asked(api, prompt=text).status_code == 200


def test_every_text_is_read_and_a_negative_prompt_as_what_it_is(api: TestClient) -> None:
    assert asked(api, negative_prompt="nudity, gore, blurry").status_code == 200
    assert refusal(asked(api, negative_prompt=BAD))[0] == "negative_prompt"
    assert refusal(asked(api, negative_prompt="nude woman, bed", guidance_scale=0.0))[0] == "negative_prompt"
    assert refusal(asked(api, "/v1/images/generations", num_frames=None, prompt=BAD))[0] == "prompt"
    assert asked(api, prompt="a killer whale leaps out of a calm fjord").status_code == 200


def test_a_judge_that_is_away_keeps_requests_waiting_or_lets_them_pass(open_api: Any) -> None:
    away = {"endpoints": [{"url": "http://127.0.0.1:9/v1"}]}
    answer = asked(open_api(**away))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"]
    assert asked(open_api(**away, when_away="open")).status_code == 200


def test_pictures_are_looked_at_before_there_is_a_job(open_api: Any, learned: str) -> None:
    api = open_api(**ALL_PICTURES)
    files = {"input_reference": ("still.png", picture(), "image/png")}
    service = api.app.state.service
    card = model_card(Pipeline.load(learned, "cpu"), service.config)
    service.ledger.roster.publish_model(card.id, card.model_dump(mode="json"))
    answer = api.post("/v1/videos", data={"prompt": "a red ball", "model": card.id, **WISH}, files=files, headers=ANN)
    field, message = refusal(answer)
    assert (field, "sexual (rule open_nsfw" in message) == ("input_reference", True)
    assert (cases(api)[0]["text"], cases(api)[0]["stage"]) == (None, "input")
    assert list(Path(service.config.output).rglob("*.ffv1")) == []


def test_frames_that_may_not_leave_end_their_job_without_a_file(
    tmp_path: Path, tiny_run: str, tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(config_in(tmp_path, tiny_run, moderation=ALL_PICTURES), tiny_pipeline, monkeypatch)
    bench.sampler.begin()
    refused, again = bench.put(), bench.put(seed=2)
    bench.run_dry()
    job = bench.get(refused)
    assert (job.status, job.error_code) == (Status.FAILED, BLOCKED)
    assert "sexual (rule open_nsfw" in (job.error_message or "")
    files = [str(path) for path in Path(bench.config.output).rglob("*") if path.is_file()]
    assert not [path for path in files if refused.id in path or again.id in path]
    case = bench.decoder._renderer._guard._cases.all(owner="ann", only_open=True, before=None, limit=9)[-1]
    assert (case.stage, case.job_id, case.text) == ("output", refused.id, "a red ball")
    bench.decoder._renderer._guard._cases.overrule(case.id, "bob")
    allowed, other = bench.put(), bench.put(seed=3)
    bench.run_dry()
    assert (bench.get(allowed).status, bench.get(other).status) == (Status.COMPLETED, Status.FAILED)
    bench.close()


def test_the_gate_is_served_in_the_shape_of_the_official_client(api: TestClient) -> None:
    said = [{"type": "text", "text": "a red ball"}, {"type": "image_url", "image_url": {"url": data_url()}}]
    for given, flagged in (
        (BAD, [True]),
        (["[a red ball", BAD], [False, True]),
        ("[a red ball", [False]),
        (said, [False]),
    ):
        answer = api.post("/v1/moderations", json={"input": given, "model": "omni-moderation-latest"}, headers=ANN)
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"]
        assert [result["flagged"] for result in results] == flagged
    assert results[0]["category_applied_input_types"]["sexual"] == ["text", "image"]
    assert api.post("/v1/moderations", json={"input": BAD}).status_code == 401
    wrong = api.post("/v1/moderations", json={"input": "x" * 5000}, headers=ANN)
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "input")
