"""Prompt to mp4 through the unmodified client: real HTTP, real ledger, real model."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image

from sora_core import media
from sora_core.pipeline import Pipeline

from .http import HTTP
from .live import KEYS, LiveService, eventually

# The client marks its own video calls as deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

SMALL: dict[str, Any] = {"num_frames": 5, "num_inference_steps": 3, "seed": 11}


def create(client: openai.OpenAI, prompt: str = "a red ball moves left", size: str = "48x32", **extra: Any) -> Any:
    return client.videos.create(prompt=prompt, size=size, extra_body={**SMALL, **extra})  # type: ignore[arg-type]


def finished(client: openai.OpenAI, video_id: str) -> Any:
    return client.videos.poll(video_id, poll_interval_ms=50)


def frames_of(data: bytes, folder: Path) -> np.ndarray:
    path = folder / "video.mp4"
    path.write_bytes(data)
    return media.decode_clip(path)


def test_a_prompt_becomes_a_video_that_plays(live: LiveService, tmp_path: Path) -> None:
    client = live.client()
    accepted = create(client)
    assert (accepted.status, accepted.object, accepted.size, accepted.seed) == ("queued", "video", "48x32", 11)
    video = finished(client, accepted.id)
    assert (video.status, video.progress, video.error) == ("completed", 100, None)
    assert video.completed_at >= video.created_at
    frames = frames_of(client.videos.download_content(video.id).read(), tmp_path)
    assert frames.shape == (5, 32, 48, 3)
    thumbnail = Image.open(io.BytesIO(client.videos.download_content(video.id, variant="thumbnail").read()))
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (48, 32))
    sheet = Image.open(io.BytesIO(client.videos.download_content(video.id, variant="spritesheet").read()))
    assert sheet.format == "JPEG"


def test_the_server_makes_what_the_pipeline_makes_alone(
    live: LiveService, tiny_pipeline: Pipeline, tmp_path: Path
) -> None:
    """A seed means the same here, in a batch of other shapes, and in a notebook (to rounding and H.264)."""
    client = live.client()
    crowd = [create(client, prompt=f"crowd {index}", size=size, seed=index) for index, size in enumerate(["32x32"] * 3)]
    video = create(client, prompt="a blue cube", guidance_scale=2.0)
    for accepted in [video, *crowd]:
        assert finished(client, accepted.id).status == "completed"
    served = frames_of(client.videos.download_content(video.id).read(), tmp_path).astype(float)
    alone = tiny_pipeline(
        "a blue cube", num_frames=5, height=32, width=48, num_inference_steps=3, guidance_scale=2.0, seed=11
    )
    other = tiny_pipeline(
        "a blue cube", num_frames=5, height=32, width=48, num_inference_steps=3, guidance_scale=2.0, seed=12
    )
    assert np.abs(served - alone).mean() < 8 < 2 * 8 < np.abs(served - other).mean()


@pytest.mark.parametrize("how", ["file", "data url"])
def test_a_picture_is_the_first_frame(live: LiveService, tmp_path: Path, how: str) -> None:
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48] = (200, 40, 40)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    client = live.client()
    if how == "file":
        video = client.videos.create(
            prompt="x",
            size="48x32",
            input_reference=("a.png", stream.getvalue(), "image/png"),
            extra_body=SMALL,  # type: ignore[arg-type]
        )
    else:
        url = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
        video = create(client, input_reference={"image_url": url})
    assert finished(client, video.id).status == "completed"
    first = frames_of(client.videos.download_content(video.id).read(), tmp_path)[0].astype(float)
    left, right = first[:, 4:20].mean((0, 1)), first[:, 28:44].mean((0, 1))
    assert left[0] - right[0] > 60


def test_ranges_and_headers_of_a_download(live: LiveService) -> None:
    client = live.client()
    video_id = finished(client, create(client).id).id
    whole = client.videos.download_content(video_id).read()
    url, auth = f"{live.url}/v1/videos/{video_id}/content", {"authorization": f"Bearer {KEYS['ann']}"}
    head = HTTP.head(url, headers=auth)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(whole)), b"")
    assert head.headers["accept-ranges"] == "bytes"
    assert head.headers["content-type"] == "video/mp4"
    for asked, first, end in (
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, len(whole)),
        ("bytes=-7", len(whole) - 7, len(whole)),
    ):
        part = HTTP.get(url, headers={**auth, "range": asked})
        assert part.status_code == 206
        assert part.content == whole[first:end]
        assert part.headers["content-range"] == f"bytes {first}-{end - 1}/{len(whole)}"
    outdated = HTTP.get(url, headers={**auth, "range": "bytes=0-9", "if-range": '"another"'})
    assert (outdated.status_code, outdated.content) == (200, whole)
    beyond = HTTP.get(url, headers={**auth, "range": f"bytes={len(whole)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(whole)}")
    assert beyond.json()["error"]["code"] == "invalid_range"


def test_a_deleted_video_leaves_no_file(live: LiveService) -> None:
    client = live.client()
    video_id = finished(client, create(client).id).id
    folder = Path(live.config.output) / "videos" / video_id
    assert any(folder.rglob("*.mp4"))
    gone = client.videos.delete(video_id)
    assert (gone.id, gone.deleted, gone.object) == (video_id, True, "video.deleted")
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video_id)
    eventually(lambda: not folder.exists())


def test_the_metrics_of_api_and_sampler_are_scraped(live: LiveService) -> None:
    client = live.client()
    finished(client, create(client).id)
    with pytest.raises(openai.BadRequestError):
        create(client, guidence=1)
    text = HTTP.get(f"{live.url}/metrics").text
    assert 'sora_video_queue_jobs{status="completed"}' in text
    assert "sora_video_predicted_wait_seconds" in text
    assert 'sora_video_jobs_finished_total{status="completed"}' in text
    assert 'sora_video_requests_total{route="/v1/videos",status="200"}' in text
    assert 'sora_video_request_seconds_count{route="/v1/videos/{video_id}"}' in text
    assert 'sora_video_refusals_total{code="unknown_parameter"}' in text
    assert "sora_video_step_seconds_bucket" in text
