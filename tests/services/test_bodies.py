"""What clients write into bodies: texts that can't be kept, forms of every habit, pictures inside of URLs."""

import base64
import json
import textwrap
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from services.video.api import create_app
from services.video.errors import ApiError
from services.video.intake.data_urls import content_of
from services.video.ledger import Ledger
from services.video.routes.forms import unflatten
from services.video.workers.card import model_card
from sora_core.pipeline import Pipeline

from .live import KEYS, config_in
from .test_api import picture

AUTH = {"authorization": f"Bearer {KEYS['ann']}"}
SMALL: dict[str, Any] = {"prompt": "x", "size": "48x32", "num_frames": 5, "num_inference_steps": 1}
BOUNDARY = "b0undary"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def api(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_run: str, tiny_pipeline: Pipeline
) -> Iterator[TestClient]:
    """The application, its ledger on either database."""
    folder = tmp_path_factory.mktemp("bodies")
    on_postgres = {"ledger": request.getfixturevalue("postgres").new_schema()} if request.param == "postgresql" else {}
    config = config_in(folder, tiny_run, **on_postgres)
    ledger = Ledger.open(config.ledger)
    card = model_card(tiny_pipeline, config)
    ledger.roster.publish_model(card.id, card.model_dump(mode="json"))
    with TestClient(create_app(config, ledger), headers=AUTH, raise_server_exceptions=False) as client:
        yield client
    ledger.close()


def stored(api: TestClient) -> list[Any]:
    return [api.get(f"/v1/{name}").json()["data"] for name in ("videos", "webhook_endpoints")]


@pytest.mark.parametrize("text", ["\ud83d", "a\0b", "\udc00 and on"])
@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/videos", SMALL | {"prompt": None}, "prompt"),
        ("/v1/videos", SMALL | {"negative_prompt": None}, "negative_prompt"),
        ("/v1/videos", SMALL | {"input_reference": {"image_url": None}}, "input_reference.image_url"),
        ("/v1/videos", SMALL | {"characters": [{"id": None}]}, "characters.0.id"),
        ("/v1/images/generations", {"prompt": "x", "user": None}, "user"),
        ("/v1/videos/edits", {"prompt": "x", "video_id": None}, "video_id"),
        ("/v1/webhook_endpoints", {"url": "https://a.b/c", "event_types": ["video.failed"], "name": None}, "name"),
    ],
)
def test_text_that_no_database_keeps_is_refused_by_name_and_nothing_is_stored(
    api: TestClient, path: str, body: dict[str, Any], param: str, text: str
) -> None:
    before = stored(api)
    written = json.dumps(body).replace("null", json.dumps(text))
    answer = api.post(path, content=written, headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, "invalid_value"), error
    assert param in error["message"]
    assert stored(api) == before


def test_text_inside_of_a_forms_json_is_looked_at_too(api: TestClient) -> None:
    images = json.dumps([{"index": 0, "image_url": "\ud83d"}])
    error = api.post("/v1/videos", data=SMALL | {"frame_images": images}).json()["error"]
    assert error["param"] == "frame_images.0.image_url"


def test_null_and_empty_form_fields_are_left_out(api: TestClient) -> None:
    nothing = dict.fromkeys(("negative_prompt", "seed", "n", "priority", "loop", "characters", "frame_images", "fps"))
    answer = api.post("/v1/videos", json=SMALL | nothing)
    assert answer.status_code == 200, answer.text
    empty = dict.fromkeys((*nothing, "input_reference", "aspect_ratio", "model"), "")
    answer = api.post("/v1/videos", data=SMALL | empty, files={"input_reference": ("", b"")})
    assert answer.status_code == 200, answer.text
    answer = api.post("/v1/images/generations", json={"prompt": None})
    assert answer.json()["error"]["code"] == "missing_parameter"


# --- forms


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ("a[b]=1 a[c][d]=2", {"a": {"b": "1", "c": {"d": "2"}}}),
        ("a[]=1 a[]=2", {"a": ["1", "2"]}),
        ("a[][x]=0 a[][y]=1 a[][x]=2 a[][y]=3", {"a": [{"x": "0", "y": "1"}, {"x": "2", "y": "3"}]}),
        ("a[][id]=0 a[][id]=1", {"a": [{"id": "0"}, {"id": "1"}]}),
        ("a[][b][c]=0 a[][b][d]=1 a[][b][c]=2", {"a": [{"b": {"c": "0", "d": "1"}}, {"b": {"c": "2"}}]}),
        ("a[0][x]=0 a[1][x]=1 a[10][x]=3 a[2][x]=2", {"a": [{"x": "0"}, {"x": "1"}, {"x": "2"}, {"x": "3"}]}),
        ("a= b[]= c[d]= e=1", {"e": "1"}),
    ],
)
def test_lists_of_objects_are_read_as_official_clients_write_them(fields: str, values: dict[str, Any]) -> None:
    assert unflatten((name, value) for name, _, value in (field.partition("=") for field in fields.split())) == values


@pytest.mark.parametrize("fields", ["a=1 a=2", "a[b]=1 a[b]=2", "a=1 a[b]=2", "a[]=1 a=2", "a[b]=1 a[]=1"])
def test_what_is_said_twice_is_refused(fields: str) -> None:
    with pytest.raises(ApiError, match="twice"):
        unflatten((name, value) for name, _, value in (field.partition("=") for field in fields.split()))


def test_a_name_that_nests_without_end_is_refused() -> None:
    with pytest.raises(ApiError, match="200 and 8"):
        unflatten([("a" + "[b]" * 9, "1")])
    with pytest.raises(ApiError, match="200 and 8"):
        unflatten([("a" * 201, "1")])
    endless = "a" + "[b]" * 3_000_000
    tracemalloc.start()
    with pytest.raises(ApiError, match="nested 3000000 deep"):
        unflatten([(endless, "1")])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**20


def multipart(*parts: tuple[str, bytes]) -> dict[str, Any]:
    """A form of parts with exactly these headers."""
    body = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
        for head, content in parts
    )
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    return {"content": body + f"--{BOUNDARY}--\r\n".encode(), "headers": headers}


URL = "data:image/png;base64," + base64.b64encode(picture()).decode()


@pytest.mark.parametrize(
    "part",
    [
        ('name="input_reference"; filename="a.png"\r\nContent-Type: image/png', picture()),
        ('name="input_reference"', picture()),
        ('name="input_reference"\r\nContent-Type: image/png', picture()),
        ('name="input_reference"\r\nContent-Type: application/octet-stream', picture()),
        ('name="input_reference"; filename=""', picture()),
        ('name="input_reference"', json.dumps({"image_url": URL}).encode()),
        ('name="input_reference"\r\nContent-Type: application/json', json.dumps({"image_url": URL}).encode()),
        ('name="input_reference[image_url]"', URL.encode()),
        ('name="input_reference"', URL.encode()),
        ('name="frame_images"', json.dumps([{"index": 0, "image_url": URL}]).encode()),
    ],
)
def test_a_picture_comes_in_a_form_as_clients_send_it(api: TestClient, part: tuple[str, bytes]) -> None:
    beside = [(f'name="{name}"', str(value).encode()) for name, value in SMALL.items()]
    answer = api.post("/v1/videos", **multipart(*beside, part))
    assert answer.status_code == 200, answer.text
    job = api.app.state.service.ledger.get(answer.json()["id"])  # type: ignore[attr-defined]
    assert job.params["film"]["edit"]["indices"] == [0]


@pytest.mark.parametrize("part", [('name="video"', '{"id": "ID"}'), ('name="video"', "ID"), ('name="video[id]"', "ID")])
def test_a_video_is_named_in_a_form_as_clients_name_it(api: TestClient, part: tuple[str, str]) -> None:
    video_id = "video_" + "0" * 32
    form = multipart(('name="prompt"', b"x"), (part[0], part[1].replace("ID", video_id).encode()))
    error = api.post("/v1/videos/edits", **form).json()["error"]
    assert (error["code"], error["param"]) == ("not_found", "video")
    assert video_id in error["message"]


# --- data URLs


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "\n".join(textwrap.wrap(URL, 76)),
        URL.replace("data:image/png;base64", "DATA:image/png;name=a b.png;charset=utf-8;Base64"),
        URL.replace("data:image/png", "data:"),
        URL.rstrip("="),
        URL.replace("+", "-").replace("/", "_").replace("data:image_png", "data:image/png"),
        URL.partition(",")[0] + "," + URL.partition(",")[2].replace("+", "%2B").replace("=", "%3D"),
        "data:image/png," + "".join(f"%{byte:02x}" for byte in picture()),
    ],
)
def test_a_data_url_is_read_however_it_is_written(url: str) -> None:
    assert content_of(url) == picture()


@pytest.mark.parametrize("url", ["data:image/png;base64", "data:image/png;base64,!!", "data:;base64,\u00e9"])
def test_a_damaged_data_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"data URL|base64"):
        content_of(url)


# --- messages name the field


@pytest.mark.parametrize(
    ("path", "body", "param", "message"),
    [
        ("/v1/videos", {"frame_images": [{"image_url": URL}]}, "frame_images.0.frame_type", "one of them"),
        ("/v1/videos/edits", {"video_id": "a", "start_s": 3, "end_s": 2}, "end_s", "end_s: 2 must be after"),
        ("/v1/videos/edits", {"video": "a", "video_id": "b"}, "video_id", "not both"),
        ("/v1/images/generations", {"size": "big"}, "size", "size: "),
        ("/v1/videos/edits", {"video_id": "a", "boxes": [{"x": 1}]}, "boxes.0.y", "required"),
    ],
)
def test_a_message_names_its_field(api: TestClient, path: str, body: dict[str, Any], param: str, message: str) -> None:
    error = api.post(path, json={"prompt": "x"} | body).json()["error"]
    assert (error["param"], message in error["message"]) == (param, True), error
    assert "Value error" not in error["message"]
