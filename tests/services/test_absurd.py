"""Every endpoint with absurd values in every parameter that the OpenAPI document names: an answer that isn't a crash,
in little time and memory, and a list that still works."""

import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from services.video.api import create_app
from services.video.ledger import Ledger
from services.video.workers.card import model_card
from sora_core.pipeline import Pipeline

from .live import KEYS, config_in
from .test_api import picture

CPU_S, MEMORY_BYTES = 10.0, 200 * 2**20  # of one request; of all together
ABSURD = (
    -1, 0, 10**30, 1e308, -1e308, 1e-300, True, "", "\0", "\ud83d", "x" * 2_000_000, "99984x99984", "1x99984", "9999:1",
    "data:image/png;base64,", "../../../etc/passwd", "%s%n", [], {}, [[]] * 5000, [{}] * 5000, ["a"] * 5000,
    {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {"j": 1}}}}}}}}}}, {"id": "x" * 100_000},
)  # fmt: skip
AGAIN = (10**30, "\ud83d", "x" * 200_000)
VALID: dict[str, Any] = {
    "prompt": "x", "name": "x", "url": "https://127.0.0.1/x", "event_types": ["video.failed"],
    "event_type": "video.failed", "size": "48x32", "video_id": "video_" + "0" * 32, "num_inference_steps": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, tiny_run: str, tiny_pipeline: Pipeline) -> Iterator[TestClient]:
    folder: Path = tmp_path_factory.mktemp("absurd")
    config = config_in(folder, tiny_run, api={"image_wait_s": 0.2, "limits": {"max_waiting": 2}})
    ledger = Ledger.open(config.ledger)
    card = model_card(tiny_pipeline, config)
    ledger.roster.publish_model(card.id, card.model_dump(mode="json"))
    app = create_app(config, ledger)
    with TestClient(app, headers={"authorization": f"Bearer {KEYS['ann']}"}, raise_server_exceptions=False) as client:
        client.post("/v1/videos", json={"prompt": "x"})
        yield client
    ledger.close()


def operations(api: TestClient) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in api.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def requests(method: str, path: str, operation: dict[str, Any], walked: list[str]) -> Iterator[dict[str, Any]]:
    """One request for each parameter and absurd value, all else being plausible.

    What has the schema of one that was ``walked`` before is asked with a quarter of the values, another one each time.
    """
    named = {parameter["name"]: parameter["in"] for parameter in operation.get("parameters", ())}
    plain = {name: "video_" + "0" * 32 for name, where in named.items() if where == "path"}
    for name, where in named.items():
        for value in ("9" * 400, "%00", "\u00e9" * 500, "a/b"):
            filled = path.format(**plain | ({name: value} if where == "path" else {}))
            beside = {"params": {name: value}} if where == "query" else {}
            head = {"headers": {name: value.encode("latin-1")}} if where == "header" else {}
            yield {"method": method, "url": filled, **beside, **head}
    body = operation.get("requestBody", {}).get("content", {})
    properties = body.get("application/json", {}).get("schema", {}).get("properties", {})
    base = {name: value for name, value in VALID.items() if name in properties}
    for name, schema in properties.items():
        kind = json.dumps({key: value for key, value in schema.items() if key not in ("title", "description")})
        values = (*ABSURD[walked.count(kind) % 4 :: 4], *AGAIN) if kind in walked else ABSURD
        walked.append(kind)
        for value in values:
            sent = json.dumps(base | {name: value}).encode()
            json_head = {"content-type": "application/json"}
            yield {"method": method, "url": path.format(**plain), "content": sent, "headers": json_head}
    if "multipart/form-data" in body:
        yield from forms(path.format(**plain), body["multipart/form-data"]["schema"]["properties"])


def forms(url: str, properties: dict[str, Any]) -> Iterator[dict[str, Any]]:
    base = {"prompt": "x"}
    for name in properties:
        for value in ("x" * 2_000_000, "[" * 5000):
            yield {"method": "post", "url": url, "data": base | {name: value}, "files": {"more": ("a", b"b")}}
        yield {"method": "post", "url": url, "data": base, "files": {name: ("a.png", picture()[:60])}}
    deep = {"a" + "[b]" * 100_000: "1"}
    yield {"method": "post", "url": url, "data": base | deep}
    yield {"method": "post", "url": url, "data": base | deep, "files": {"video": ("a", b"b")}}
    yield {"method": "post", "url": url, "data": {f"a{number}": "1" for number in range(5000)}}


@pytest.mark.slow
def test_absurd_values_are_refused_in_little_time_and_memory(api: TestClient) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    slowest, seen, walked = 0.0, 0, list[str]()
    for operation in operations(api):
        for request in requests(*operation, walked):
            began = time.process_time()
            answer = api.request(**request)
            slowest = max(slowest, time.process_time() - began)
            seen += 1
            shown = f"{str(request)[:400]}: {answer.status_code} {answer.text[:300]}"
            assert answer.status_code < 500 or answer.json()["error"]["code"] in ("unavailable", "timeout"), shown
            assert len(answer.content) < 2**16, shown
            assert slowest < CPU_S, shown
            if answer.status_code >= 400:
                assert set(answer.json()["error"]) == {"message", "type", "param", "code"}, shown
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    assert grown < MEMORY_BYTES, f"{grown} bytes"
    assert seen > 500
    assert api.get("/v1/videos").status_code == 200
