"""What pages in a browser need of the API: files by links without a key, answers that another origin may read, headers
by HEAD, and documentation that loads nothing from elsewhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from services.video.api import create_app
from services.video.job import Job
from services.video.ledger import Ledger
from services.video.workers.card import model_card
from sora_core import storage
from sora_core.pipeline import Pipeline

from .live import KEYS, config_in

AUTH = {"authorization": f"Bearer {KEYS['ann']}"}
PAGE = "https://app.example"
CONTENT = bytes(range(256)) * 4


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, tiny_run: str, tiny_pipeline: Pipeline) -> Iterator[TestClient]:
    folder: Path = tmp_path_factory.mktemp("browser")
    config = config_in(folder, tiny_run, api={"cors_origins": [PAGE], "public_url": "https://videos.example/"})
    ledger = Ledger.open(config.ledger)
    card = model_card(tiny_pipeline, config)
    ledger.roster.publish_model(card.id, card.model_dump(mode="json"))
    with TestClient(create_app(config, ledger), raise_server_exceptions=False) as client:
        yield client
    ledger.close()


@pytest.fixture(scope="module")
def video(api: TestClient) -> str:
    """The id of a completed video."""
    video_id: str = api.post("/v1/videos", json={"prompt": "x", "num_frames": 5}, headers=AUTH).json()["id"]
    service = api.app.state.service  # type: ignore[attr-defined]
    (job,) = service.ledger.claim([video_id], "w", 30.0)
    result = {}
    for variant in ("video", "thumbnail", "spritesheet"):
        uri = f"{service.config.output}/{variant}"
        storage.write_bytes(uri, CONTENT)
        result[variant] = {"uri": uri, "bytes": len(CONTENT)}
    assert isinstance(job, Job)
    assert service.ledger.finish(job.lease, result)
    return video_id


def path_of(link: str) -> str:
    parts = urlsplit(link)
    assert f"{parts.scheme}://{parts.netloc}" == "https://videos.example"
    return f"{parts.path}?{parts.query}"


def test_a_completed_video_tells_links_that_need_no_key_and_can_be_sought_in(api: TestClient, video: str) -> None:
    links = api.get(f"/v1/videos/{video}", headers=AUTH).json()["links"]
    listed = api.get("/v1/videos", headers=AUTH).json()["data"][0]["links"]
    assert listed == links  # so that a browser keeps the file that it has
    for variant in ("video", "thumbnail", "spritesheet"):
        assert api.get(path_of(links[variant])).content == CONTENT
    part = api.get(path_of(links["video"]), headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, CONTENT[10:20])


@pytest.mark.parametrize("change", [{"expires": "1"}, {"signature": "0" * 64}, {"signature": "\u00e9"}])
def test_a_link_that_was_changed_or_has_expired_leads_nowhere(
    api: TestClient, video: str, change: dict[str, str]
) -> None:
    link = urlsplit(api.get(f"/v1/videos/{video}", headers=AUTH).json()["links"]["video"])
    query = {name: values[0] for name, values in parse_qs(link.query).items()} | change
    answer = api.get(link.path, params=query)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert api.get(link.path).status_code == 401


def test_an_unfinished_video_has_no_links(api: TestClient) -> None:
    made = api.post("/v1/videos", json={"prompt": "x", "num_frames": 5}, headers=AUTH).json()
    assert made["links"] is None


def test_a_version_that_the_browser_has_is_not_sent_again(api: TestClient, video: str) -> None:
    path = f"/v1/videos/{video}/content"
    tag = api.get(path, headers=AUTH).headers["etag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = api.get(path, headers=AUTH | {"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert api.get(path, headers=AUTH | {"if-none-match": '"x"'}).status_code == 200


def test_head_answers_wherever_get_does(api: TestClient, video: str) -> None:
    document = api.get("/openapi.json").json()["paths"]
    gets = [path for path, methods in document.items() if "get" in methods and "images" not in path]
    assert len(gets) > 8
    for path in (*gets, "/openapi.json", "/docs", "/health", "/metrics"):
        filled = re.sub(r"{\w+}", video if "{video_id}" in path else "tiny", path)
        got, head = (api.request(method, filled, headers=AUTH) for method in ("GET", "HEAD"))
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert head.headers.get("content-type") == got.headers.get("content-type"), path


def test_pages_of_named_origins_may_read_answers_and_refusals(api: TestClient, video: str) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    allowed = api.options("/v1/videos", headers={"origin": PAGE} | asked)
    assert allowed.status_code == 200
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    for headers in (AUTH, {}):
        answer = api.get("/v1/videos", headers={"origin": PAGE} | headers)
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "openai-poll-after-ms" in answer.headers["access-control-expose-headers"]
    assert (
        "access-control-allow-origin" not in api.get("/v1/videos", headers={"origin": "https://other.example"}).headers
    )


def test_the_documentation_loads_nothing_from_elsewhere(api: TestClient) -> None:
    page = api.get("/docs").text
    assert not re.findall(r"https?://", page)
    for file in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert api.get(f"/{file}").status_code == 200, file


def test_health_needs_no_key(api: TestClient) -> None:
    assert api.get("/health").json() == {"status": "ok"}
