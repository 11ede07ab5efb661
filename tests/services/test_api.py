"""The contract of the HTTP side, through the unmodified client and on the wire; the sampler stands still here."""

import base64
import io
import json
import time
from typing import Any

import httpx
import openai
import pytest
from openai.types import Video
from PIL import Image

from services.video.job import Status
from services.video.ledger.tables import LedgerUnavailable
from sora_core import storage
from sora_core.pipeline import Pipeline

from .http import HTTP
from .live import KEYS, LiveService, config_in, eventually

# The client marks its own video calls as deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

AUTH = {"authorization": f"Bearer {KEYS['ann']}"}
SMALL: dict[str, Any] = {"num_frames": 5, "num_inference_steps": 4}


def create(client: openai.OpenAI, prompt: str = "a red ball", **extra: Any) -> Video:
    headers = extra.pop("headers", None)
    return client.videos.create(prompt=prompt, extra_body={"size": "48x32", **SMALL, **extra}, extra_headers=headers)


def refusal(service: LiveService, **extra: Any) -> openai.BadRequestError:
    with pytest.raises(openai.BadRequestError) as raised:
        create(service.client(), **extra)
    return raised.value


def picture(width: int = 48, height: int = 32) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(stream, "PNG")
    return stream.getvalue()


# --- create


def test_what_was_asked_for_is_echoed_and_the_rest_has_the_models_defaults(door: LiveService) -> None:
    client = door.client()
    video = create(client, negative_prompt="blur", guidance_scale=1.5, seed=9, fps=12, priority=2)
    extra = video.model_extra or {}
    assert (video.prompt, video.size, video.seconds) == ("a red ball", "48x32", "0.417")
    assert {key: extra[key] for key in ("seed", "fps", "num_frames", "guidance_scale", "priority", "width")} == {
        "seed": 9,
        "fps": 12.0,
        "num_frames": 5,
        "guidance_scale": 1.5,
        "priority": 2,
        "width": 48,
    }
    card = client.get("/videos/models", cast_to=httpx.Response).json()["data"][0]
    plain = client.videos.create(prompt="x")
    assert (plain.size, plain.model) == (card["default_size"], card["id"])
    assert plain.model_extra is not None
    assert plain.model_extra["num_frames"] == card["default_num_frames"]


def test_a_seed_that_is_not_given_is_chosen_and_told(door: LiveService) -> None:
    seeds = {(create(door.client()).model_extra or {})["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_a_client_of_the_first_days_sends_json(door: LiveService) -> None:
    body = {"prompt": "a red ball", "seconds": "0.5", "size": "48x32", "model": None}
    answer = HTTP.post(f"{door.url}/v1/videos", json=body, headers=AUTH)
    assert answer.status_code == 200
    assert answer.json()["seconds"] == "0.625"  # the true length of what 4k + 1 frames allow
    assert answer.json()["num_frames"] == 5


@pytest.mark.parametrize(("seconds", "num_frames"), [("0.1", 1), ("0.375", 5), ("0.5", 5), ("1", 9), ("1.125", 9)])
def test_seconds_become_the_nearest_encodable_number_of_frames(
    door: LiveService, seconds: str, num_frames: int
) -> None:
    """At the model's 8 frames a second, of 4k + 1 frames; the longer one when two are equally near."""
    video = door.client().videos.create(prompt="x", seconds=seconds, size="48x32")  # type: ignore[arg-type]
    assert (video.seconds, (video.model_extra or {})["num_frames"]) == (f"{num_frames / 8:g}", num_frames)


@pytest.mark.parametrize(("aspect", "wide"), [("16:9", True), ("9:16", False)])
def test_an_aspect_becomes_a_size_of_the_usual_area(door: LiveService, aspect: str, wide: bool) -> None:
    video = door.client().videos.create(prompt="x", extra_body={"aspect_ratio": aspect})
    width, height = (int(side) for side in video.size.split("x"))
    assert width % 16 == height % 16 == 0
    assert (width > height) is wide


def test_several_outputs_are_several_videos_from_consecutive_seeds(idle: LiveService) -> None:
    first = create(idle.client(), n=3, seed=5)
    siblings = (first.model_extra or {})["siblings"]
    videos = {video.id: (video.model_extra or {})["seed"] for video in idle.client().videos.list()}
    assert len(siblings) == 2
    assert videos == {first.id: 5, siblings[0]: 6, siblings[1]: 7}


def test_parameters_go_by_the_names_that_peers_give_them(door: LiveService) -> None:
    body = {"prompt": "x", "width": 48, "height": 32, "num_frames": 5, "num_outputs_per_prompt": 2, "flow_shift": 5.0}
    answer = HTTP.post(f"{door.url}/v1/videos", json=body, headers=AUTH)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert (made["size"], len(made["siblings"])) == ("48x32", 1)
    assert answer.headers["x-ignored-parameters"] == "flow_shift"
    form = {"prompt": "x", "num_frames": "5", "extra_body": json.dumps({"seed": 3, "size": "48x32"})}
    assert HTTP.post(f"{door.url}/v1/videos", data=form, headers=AUTH).json()["seed"] == 3
    for wrong, param in (({"width": 48}, "height"), ({"width": 48, "height": 32, "size": "32x32"}, "size")):
        answer = HTTP.post(f"{door.url}/v1/videos", json={"prompt": "x", **wrong}, headers=AUTH)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


# --- refusals


def test_an_unknown_parameter_is_named(door: LiveService) -> None:
    error = refusal(door, guidence_scale=3)
    assert (error.param, error.code) == ("guidence_scale", "unknown_parameter")
    assert "guidance_scale" in error.message


@pytest.mark.parametrize(
    ("param", "value", "remedy"),
    [
        ("size", "50x32", "48x32"),
        ("size", "0x32", "16x32"),
        ("size", "big", "pattern"),
        ("size", "1024x1024", "at most 256x256"),
        ("num_frames", 6, "5 or 9"),
        ("num_frames", 401, "at most 165"),
        ("seconds", 500, "at most 165"),
        ("seconds", 0, "greater than 0"),
        ("fps", -1, "greater than or equal to 0.1"),
        ("num_inference_steps", 1000, "at most 100"),
        ("guidance_scale", "high", "number"),
        ("model", "sora-9", "use tiny"),
        ("seed", -1, "0"),
        ("n", 99, "at most 8"),
        ("aspect_ratio", "0:9", "16:9"),
        ("prompt", "", "1 character"),
        ("prompt", "x" * 5000, "at most 4000"),
        ("input_reference", "https://example.com/a.png", "data URL"),
        ("input_reference", "data:image/png;base64,AAAA", "JPEG, PNG or WebP"),
        ("input_reference", "data:image/png;base64,!!", "base64"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_numbers_and_the_remedy(
    door: LiveService, param: str, value: Any, remedy: str
) -> None:
    extra = {"num_frames": 5, "size": "48x32", param: value}
    before = len(door.ledger.page("ann", limit=1000).jobs)
    winner = {"seconds": "num_frames", "aspect_ratio": "size"}.get(param)
    extra.pop(winner or "", None)
    answer = HTTP.post(f"{door.url}/v1/videos", json={"prompt": "x", **extra}, headers=AUTH)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param), error
    assert remedy in error["message"]
    assert len(door.ledger.page("ann", limit=1000).jobs) == before


def test_guidance_counts_a_clip_twice_against_the_token_budget(
    tmp_path: Any, tiny_run: str, tiny_pipeline: Pipeline, unused_port: int
) -> None:
    config = config_in(tmp_path, tiny_run, sampler={"token_budget": 20})
    with LiveService(config, tiny_pipeline, unused_port) as service:
        service.publish()
        create(service.client(), guidance_scale=1)
        assert "12 tokens, the limit is 10" in refusal(service, guidance_scale=3).message


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("application/json", b"{", 400, "invalid_json"),
        ("application/json", b"[1]", 400, "invalid_json"),
        ("application/json", b'{"prompt": "\\ud800"}', 400, "invalid_value"),
        ("application/json", b"{}", 400, "missing_parameter"),
        ("text/plain", b"hello", 415, "unsupported_type"),
        ("multipart/form-data", b"no boundary", 400, "invalid_form"),
        ("application/x-www-form-urlencoded", b"prompt=a&prompt=b", 400, "invalid_value"),
    ],
)
def test_a_body_that_cannot_be_understood_is_the_callers_error(
    door: LiveService, content_type: str, body: bytes, status: int, code: str | None
) -> None:
    answer = HTTP.post(f"{door.url}/v1/videos", content=body, headers=AUTH | {"content-type": content_type})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_an_upload_is_bounded_before_it_is_read(
    tmp_path: Any, tiny_run: str, tiny_pipeline: Pipeline, unused_port: int
) -> None:
    config = config_in(tmp_path, tiny_run, api={"max_upload_bytes": 1000, "max_image_pixels": 2000})
    with LiveService(config, tiny_pipeline, unused_port) as service:
        service.publish()
        client = service.client()
        with pytest.raises(openai.BadRequestError, match="2304 pixels: at most 2000"):
            client.videos.create(prompt="x", input_reference=("a.png", picture(48, 48), "image/png"))
        with pytest.raises(openai.BadRequestError, match="at most 1000"):
            client.videos.create(prompt="x", input_reference=("a.png", picture() + bytes(2000), "image/png"))
        with pytest.raises(openai.APIStatusError) as raised:
            client.videos.create(prompt="x", input_reference=("a.png", bytes(3_000_000), "image/png"))
        assert raised.value.status_code == 413

        def endless() -> Any:
            for _ in range(100):
                yield bytes(100_000)

        headers = AUTH | {"content-type": "application/json"}
        assert HTTP.post(f"{service.url}/v1/videos", content=endless(), headers=headers).status_code == 413


def test_a_model_that_starts_from_text_alone_refuses_a_picture(idle: LiveService) -> None:
    (card,) = idle.ledger.roster.model_cards()
    idle.ledger.roster.publish_model(card["id"], card | {"inputs": ["text"], "edits": ["restyle"]})
    error = refusal(idle, input_reference={"image_url": _data_url()})
    assert (error.param, error.code) == ("input_reference", "unsupported")


def test_a_data_url_beyond_a_megabyte_arrives(idle: LiveService) -> None:
    noise = Image.effect_noise((1400, 1400), 100)
    stream = io.BytesIO()
    noise.save(stream, "PNG")
    url = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    assert len(url) > 2**20
    video = create(idle.client(), input_reference={"image_url": url})
    job = idle.ledger.get(video.id)
    assert job is not None
    (clip,) = job.params["film"]["clips"]
    assert clip["uri"].endswith(f"{video.id}/work/clip-0.mkv")
    assert storage.exists(clip["uri"])


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("PUT", "/v1/videos", 405, "method_not_allowed"),
        ("GET", "/v1/videos/video_nope", 404, "not_found"),
        ("GET", "/v1/videos/%00", 404, "not_found"),
        ("GET", "/v1/videos?limit=zero", 400, "invalid_value"),
        ("GET", "/v1/videos?limit=0", 400, "invalid_value"),
        ("GET", "/v1/videos?order=up", 400, "invalid_value"),
        ("GET", "/v1/videos?after=video_1", 400, "invalid_value"),
        ("GET", "/v1/models/sora-9", 404, "model_not_found"),
    ],
)
def test_every_error_has_the_envelope_and_a_request_id(
    door: LiveService, method: str, path: str, status: int, code: str
) -> None:
    answer = HTTP.request(method, door.url + path, headers=AUTH)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert answer.headers["x-request-id"].startswith("req_")


def test_a_request_keeps_the_name_that_its_caller_gave_it(door: LiveService) -> None:
    answer = HTTP.get(f"{door.url}/v1/models", headers=AUTH | {"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"


# --- keys


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-eve"}, {"authorization": "Basic abc"}])
@pytest.mark.parametrize("path", ["/v1/videos", "/v1/models", "/v1/videos/models", "/v1/videos/video_x/content"])
def test_nothing_is_told_without_a_key(door: LiveService, headers: dict[str, str], path: str) -> None:
    answer = HTTP.get(door.url + path, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


def test_a_video_does_not_exist_for_another_key(idle: LiveService) -> None:
    video = create(idle.client("ann"))
    bob = idle.client("bob")
    assert list(bob.videos.list()) == []
    for call in (bob.videos.retrieve, bob.videos.delete, bob.videos.download_content):
        with pytest.raises(openai.NotFoundError):
            call(video.id)
    assert HTTP.post(f"{idle.url}/v1/videos/{video.id}/cancel", headers=AUTH).status_code == 200


# --- lists, polling, idempotency


def test_the_client_pages_through_everything_in_both_orders(idle: LiveService) -> None:
    client = idle.client()
    ids = [create(client).id for _ in range(7)]
    assert [video.id for video in client.videos.list(limit=3)] == ids[::-1]
    assert [video.id for video in client.videos.list(limit=3, order="asc")] == ids
    page = client.videos.list(limit=3)
    assert (page.has_more, page.last_id) == (True, ids[4])


def test_a_client_may_delete_what_it_lists_while_it_lists(idle: LiveService) -> None:
    client = idle.client()
    for _ in range(5):
        create(client)
    for video in client.videos.list(limit=2):
        client.videos.delete(video.id)
    assert list(client.videos.list()) == []


def test_a_waiting_video_tells_its_place_and_when_it_should_be_done(idle: LiveService) -> None:
    client = idle.client()
    first, second = create(client), create(client)
    assert (first.queue_position, second.queue_position, second.predicted_end_at) == (1, 2, None)
    (job,) = idle.ledger.claim([first.id], "w", 60.0)
    idle.ledger.roster.beat("w", job.model, job.tokens * job.num_steps / 10.0)
    eventually(lambda: client.videos.retrieve(second.id).queue_position == 1, within_s=5)
    told = {video.id: (video.queue_position, video.predicted_end_at) for video in client.videos.list()}
    now = idle.ledger.now()
    assert told[first.id][0] is None
    assert told[first.id][1] == pytest.approx(now + 10.0, abs=3.0)
    assert told[second.id][1] == pytest.approx(now + 20.0, abs=3.0)
    idle.ledger.cancel(second.id)
    ended = client.videos.retrieve(second.id)
    assert (ended.queue_position, ended.predicted_end_at) == (None, None)


def test_a_polling_client_is_told_how_long_to_wait(idle: LiveService) -> None:
    client = idle.client()
    video = create(client)
    answer = client.videos.with_raw_response.retrieve(video.id)
    assert 500 <= int(answer.headers["openai-poll-after-ms"]) <= 5000
    idle.ledger.cancel(video.id)
    assert "openai-poll-after-ms" not in client.videos.with_raw_response.retrieve(video.id).headers


def test_a_repeated_request_with_its_key_makes_one_video(idle: LiveService) -> None:
    client = idle.client()
    key = {"Idempotency-Key": "once"}
    first = create(client, headers=key, input_reference={"image_url": _data_url()})
    again = create(client, headers=key, input_reference={"image_url": _data_url()})
    assert again.id == first.id
    assert len(list(client.videos.list())) == 1
    with pytest.raises(openai.ConflictError) as raised:
        create(client, prompt="another", headers=key)
    assert raised.value.code == "idempotency_conflict"
    assert raised.value.response.headers["x-should-retry"] == "false"


def test_a_key_gives_its_video_in_a_full_queue_and_while_the_ledger_has_no_hints(
    tmp_path: Any, tiny_run: str, tiny_pipeline: Pipeline, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LiveService(config_in(tmp_path, tiny_run, api={"max_waiting": 1}), tiny_pipeline, unused_port) as service:
        service.publish()
        client, key = service.client(), {"Idempotency-Key": "once"}
        first = create(client, headers=key)
        with pytest.raises(openai.RateLimitError):
            create(client)
        assert create(client, headers=key).id == first.id

        def away(*_: Any, **__: Any) -> Any:
            raise LedgerUnavailable("no hints")

        monkeypatch.setattr(service.ledger.roster, "backlog", away)
        time.sleep(0.6)  # longer than a hint is kept
        assert create(client, headers=key).id == first.id


def test_what_a_key_made_and_is_gone_is_told_so_and_not_made_again(idle: LiveService) -> None:
    client, key = idle.client(), {"Idempotency-Key": "once"}
    video = create(client, headers=key)
    client.videos.delete(video.id)
    with pytest.raises(openai.APIStatusError) as raised:
        create(client, headers=key)
    assert (raised.value.status_code, raised.value.code) == (410, "gone")
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert list(client.videos.list()) == []


def _data_url() -> str:
    return "data:image/png;base64," + base64.b64encode(picture()).decode()


def test_a_full_queue_says_when_to_come_back(
    tmp_path: Any, tiny_run: str, tiny_pipeline: Pipeline, unused_port: int
) -> None:
    config = config_in(tmp_path, tiny_run, api={"limits": {"max_waiting": 2}, "max_waiting": 3})
    with LiveService(config, tiny_pipeline, unused_port) as service:
        service.publish()
        for _ in range(2):
            create(service.client("ann"))
        for owner, times in (("ann", 0), ("bob", 1)):
            for _ in range(times):
                create(service.client(owner))
            with pytest.raises(openai.RateLimitError) as raised:
                create(service.client(owner))
            assert 1 <= int(raised.value.response.headers["retry-after"]) <= 60


def test_a_service_whose_model_still_loads_asks_to_try_again(
    tmp_path: Any, tiny_run: str, tiny_pipeline: Pipeline, unused_port: int
) -> None:
    with LiveService(config_in(tmp_path, tiny_run), tiny_pipeline, unused_port) as service:
        with pytest.raises(openai.InternalServerError) as raised:
            create(service.client())
        assert (raised.value.status_code, raised.value.response.headers["retry-after"]) == (503, "5")
        assert list(service.client().models.list()) == []


# --- the ends of a job


def test_a_cancelled_video_has_failed_with_that_code(idle: LiveService) -> None:
    client = idle.client()
    video = create(client)
    answer = client.post(f"/videos/{video.id}/cancel", cast_to=Video)
    assert answer.status == "failed"
    polled = client.videos.poll(video.id)
    assert polled.error is not None
    assert (polled.status, polled.error.code) == ("failed", "cancelled")


def test_a_failed_video_is_an_answer_not_an_http_error(idle: LiveService) -> None:
    client = idle.client()
    video = create(client)
    (job,) = idle.ledger.claim([video.id], "w", 30.0)
    idle.ledger.fail(job.lease, "out_of_memory", "too large")
    polled = client.videos.poll(video.id)
    assert polled.error is not None
    assert (polled.status, polled.error.code, polled.error.message) == ("failed", "out_of_memory", "too large")
    with pytest.raises(openai.NotFoundError, match="too large") as raised:
        client.videos.download_content(video.id)
    assert raised.value.code == "video_failed"


def test_the_content_of_an_unfinished_video_is_not_there_yet(idle: LiveService) -> None:
    client = idle.client()
    with pytest.raises(openai.NotFoundError) as raised:
        client.videos.download_content(create(client).id)
    assert raised.value.code == "video_not_ready"


def test_a_lost_file_is_a_404_and_not_a_crash(idle: LiveService) -> None:
    client = idle.client()
    video = create(client)
    (job,) = idle.ledger.claim([video.id], "w", 30.0)
    idle.ledger.finish(job.lease, {"video": {"uri": f"{idle.config.output}/gone.mp4", "bytes": 10}})
    with pytest.raises(openai.NotFoundError):
        client.videos.download_content(video.id)


# --- models and the schema


def test_the_models_and_what_they_can_do(door: LiveService) -> None:
    client = door.client()
    (model,) = list(client.models.list())
    assert client.models.retrieve(model.id).id == model.id == "tiny"
    card = client.get("/videos/models", cast_to=httpx.Response).json()["data"][0]
    assert (card["inputs"], card["fps"], card["size_multiple"], card["max_tokens"]) == (["text", "image"], 8.0, 16, 256)


def test_the_openapi_schema_knows_every_parameter(door: LiveService) -> None:
    schema = HTTP.get(f"{door.url}/openapi.json").json()
    body = schema["paths"]["/v1/videos"]["post"]["requestBody"]["content"]
    for kind in ("multipart/form-data", "application/json"):
        assert {"prompt", "size", "seed", "n", "input_reference"} <= set(body[kind]["schema"]["properties"])
    assert "ErrorBody" in json.dumps(schema["paths"]["/v1/videos/{video_id}"]["get"]["responses"]["4XX"])
    assert Status.QUEUED in schema["components"]["schemas"]["Status"]["enum"]
