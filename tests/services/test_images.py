"""Still images by the unmodified client: made by the same sampler and in the same batch as videos."""

import base64
import io
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from services.video.job import Status
from sora_core import storage
from sora_core.edits import Restyle
from sora_core.pipeline import Pipeline, edit

from .editing import SIZE, moving, png
from .http import HTTP
from .live import KEYS, LiveService, config_in, eventually
from .postgres import free_port

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

AUTH = {"authorization": f"Bearer {KEYS['ann']}"}
FEW: dict[str, Any] = {"num_inference_steps": 3, "seed": 5, "guidance_scale": 2.0}


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def sent(pixels: np.ndarray) -> tuple[str, bytes, str]:
    """A file as the clients send it."""
    return "a.png", png(pixels), "image/png"


def with_hole(size: tuple[int, int] = SIZE) -> np.ndarray:
    """A mask that leaves a box open."""
    mask = np.full((*size, 4), 255, np.uint8)
    mask[8:24, 16:32, 3] = 0
    return mask


def pixels_of(answer: Any) -> list[np.ndarray]:
    return [np.asarray(opened(base64.b64decode(image.b64_json))) for image in answer.data]


def test_images_are_what_the_pipeline_makes_alone(live: LiveService, tiny_pipeline: Pipeline) -> None:
    answer = live.client().images.generate(prompt="a red ball", n=2, size="48x32", extra_body=FEW)  # type: ignore[call-overload]
    assert answer.size == "48x32"
    for index, image in enumerate(answer.data):
        served = opened(base64.b64decode(image.b64_json))
        assert served.format == "PNG"
        steps = {"num_inference_steps": 3, "guidance_scale": 2.0, "seed": 5 + index}
        alone = tiny_pipeline("a red ball", num_frames=1, height=32, width=48, **steps)[0]
        assert np.abs(np.asarray(served).astype(int) - alone).max() <= 1


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_link_needs_no_key_and_gives_the_format_that_was_asked_for(live: LiveService, kind: Any) -> None:
    answer = live.client().images.generate(
        prompt="x", size="48x32", response_format="url", output_format=kind, output_compression=80, extra_body=FEW
    )
    url = str((answer.data or [])[0].url)
    fetched = HTTP.get(url)
    assert fetched.headers["content-type"] == f"image/{kind}"
    assert opened(fetched.content).format == kind.upper()
    parts = httpx.URL(url)
    for change in ({"expires": 2_000_000_000}, {"signature": "0" * 64}):
        assert HTTP.get(parts.copy_merge_params(change)).status_code == 404


def test_an_image_is_no_video_and_goes_after_a_while(
    tmp_path: Any, tiny_run: str, tiny_pipeline: Pipeline, unused_port: int
) -> None:
    config = config_in(tmp_path, tiny_run, api={"image_lifetime_s": 1.0})
    with LiveService(config, tiny_pipeline, unused_port) as service:
        service.publish()
        service.work()
        client = service.client()
        keyed: dict[str, Any] = {"extra_body": FEW, "extra_headers": {"Idempotency-Key": "once"}}
        answer = client.images.generate(prompt="x", size="48x32", response_format="url", **keyed)
        assert list(client.videos.list()) == []
        eventually(lambda: HTTP.get(str((answer.data or [])[0].url)).status_code == 404, within_s=10)
        eventually(lambda: not list(storage.list_objects(config.output)), within_s=15)
        with pytest.raises(openai.APIStatusError) as raised:
            client.images.generate(prompt="x", size="48x32", response_format="url", **keyed)
        assert (raised.value.status_code, raised.value.code) == (410, "gone")


def test_a_client_that_hangs_up_cancels_its_images(idle: LiveService) -> None:
    body = {"prompt": "x", "size": "48x32"}
    with pytest.raises(httpx.ReadTimeout):
        HTTP.post(f"{idle.url}/v1/images/generations", json=body, headers=AUTH, timeout=0.5)
    eventually(lambda: not any(idle.ledger.roster.counts().values()), within_s=5)


def test_images_that_fail_are_an_error_with_the_reason(idle: LiveService) -> None:
    def fail() -> None:
        (job,) = eventually(idle.ledger.waiting)
        (held,) = idle.ledger.claim([job.id], "w", 30.0)
        idle.ledger.fail(held.lease, "out_of_memory", "too large")

    worker = threading.Thread(target=fail)
    worker.start()
    with pytest.raises(openai.InternalServerError, match="too large") as raised:
        idle.client(max_retries=2).images.generate(prompt="x", size="48x32")
    worker.join()
    assert raised.value.code == "out_of_memory"
    assert idle.ledger.roster.counts()[Status.QUEUED] == 0, "an error for good must not be tried again"


def test_images_that_take_too_long_are_cancelled(
    tmp_path: Any, tiny_run: str, tiny_pipeline: Pipeline, unused_port: int
) -> None:
    config = config_in(tmp_path, tiny_run, api={"image_wait_s": 0.3})
    with LiveService(config, tiny_pipeline, unused_port) as service:
        service.publish()
        with pytest.raises(openai.InternalServerError, match=r"longer than 0\.3 s"):
            service.client().images.generate(prompt="x", size="48x32")
        assert not service.ledger.waiting()


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("background", "transparent"),
        ("output_format", "svg"),
        ("stream", True),
        ("n", 99),
        ("size", "50x32"),
        ("partial_images", 2),
        ("num_frames", 5),
    ],
)
def test_what_the_model_cannot_honour_is_refused_by_name(door: LiveService, param: str, value: Any) -> None:
    answer = HTTP.post(f"{door.url}/v1/images/generations", json={"prompt": "x", param: value}, headers=AUTH)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_nulls_and_auto_mean_the_models_defaults(live: LiveService) -> None:
    body = {"prompt": "x", "size": "auto", "n": None, "quality": "auto", "response_format": None, "user": "u", **FEW}
    answer = HTTP.post(f"{live.url}/v1/images/generations", json=body, headers=AUTH, timeout=60)
    card = HTTP.get(f"{live.url}/v1/videos/models", headers=AUTH).json()["data"][0]
    assert (answer.status_code, answer.json()["size"]) == (200, card["default_size"])


def test_official_parameters_that_do_nothing_here_are_taken_and_said(live: LiveService) -> None:
    said = {"quality": "hd", "style": "vivid", "moderation": "low", "user": "u"}
    body = {"prompt": "x", "size": "48x32", "background": "opaque", **said, **FEW}
    answer = httpx.post(f"{live.url}/v1/images/generations", json=body, headers=AUTH, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ignored-parameters"] == ", ".join(said)


# --- edits of images


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory, learned: str) -> Iterator[LiveService]:
    """A service at work whose model has learned every kind of given latents."""
    config = config_in(tmp_path_factory.mktemp("painter"), learned)
    with LiveService(config, Pipeline.load(learned, "cpu"), free_port()) as service:
        service.publish()
        service.work()
        yield service


def test_what_a_mask_does_not_leave_open_comes_back_pixel_for_pixel(painter: LiveService) -> None:
    own, hole = moving()[0], np.s_[8:24, 16:32]
    answer = painter.client().images.edit(prompt="x", image=sent(own), mask=sent(with_hole()), n=2, extra_body=FEW)
    one, other = pixels_of(answer)
    assert answer.size == "48x32"
    for made in (one, other):
        inside = np.abs(made[hole].astype(int) - own[hole])
        assert inside.mean() > 10
        kept = made.copy()
        kept[hole] = own[hole]
        np.testing.assert_array_equal(kept, own)
    assert (one[hole] != other[hole]).any(), "each has a seed of its own"


def test_without_a_mask_all_of_an_image_is_made_anew_from_itself(painter: LiveService) -> None:
    own = moving()[0]
    body = FEW | {"strength": 0.5}
    (served,) = pixels_of(painter.client().images.edit(prompt="x", image=[sent(own)], extra_body=body))
    steps = {"num_inference_steps": 3, "guidance_scale": 2.0, "seed": 5}
    alone = edit(painter.pipeline, Restyle(0.5), [own[None]], "x", **steps)[0]
    assert np.abs(served.astype(int) - alone).max() <= 1
    sized = painter.client().images.edit(prompt="x", image=sent(own), size="32x32", extra_body=body)  # type: ignore[call-overload]
    assert pixels_of(sized)[0].shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("files", "data", "param", "says"),
    [
        ({}, {}, "image", "required"),
        ({"image": moving()[0], "mask": moving()[0]}, {}, "mask", "alpha 0"),
        ({"image": moving()[0], "mask": with_hole((48, 48))}, {}, "mask", "48x48, the image 48x32"),
        ({"image[0]": moving()[0], "image[1]": moving()[0]}, {}, "image", "2 images"),
        ({"image": moving()[0]}, {"size": "50x32"}, "size", "multiples of 16"),
        ({"image": moving()[0]}, {"stream": "true"}, "stream", "False"),
        ({"image": moving()[0], "mask": with_hole()}, {"stream": "false"}, "image", "repaint: model 'tiny'"),
    ],
)
def test_an_edit_of_an_image_that_cannot_be_made_is_refused_by_name(
    door: LiveService, files: dict[str, np.ndarray], data: dict[str, str], param: str, says: str
) -> None:
    uploads = {name: sent(pixels) for name, pixels in files.items()}
    answer = HTTP.post(
        f"{door.url}/v1/images/edits", data={"prompt": "x"} | data, files=uploads or {"user": (None, "u")}, headers=AUTH
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param), error
    assert says in error["message"]
