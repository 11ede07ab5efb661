"""Everything that leaves the service says where it comes from, and says so again when it is asked."""

import base64
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image
from prometheus_client import generate_latest

from services.video.admin import main
from services.video.ledger import Ledger
from services.video.moderation.guard import Guard
from services.video.provenance.keys import ProvenanceKeys
from services.video.provenance.likenesses import ALIKE
from services.video.provenance.seals import Seals, warn_of_end
from services.video.provenance.store import KnownOrigin, OriginStore
from services.video.workers.patience import Patience
from services.video.workers.render import Renderer
from sora_core import media
from sora_core.errors import ConfigError, MissingObject
from sora_core.pipeline import Pipeline
from sora_core.safety.credentials import read_credentials
from tests.services.http import HTTP
from tests.services.live import KEYS, LiveService, config_in, eventually
from tests.services.postgres import free_port
from tests.services.web import serving

ANN = {"authorization": "Bearer sk-ann"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, learned: str) -> Iterator[LiveService]:
    """A service at work whose checks are open to strangers, two a minute."""
    config = config_in(
        tmp_path_factory.mktemp("live"),
        learned,
        provenance={"open_checks": True, "checks_per_minute": 2},
        api={"fetch_urls": True, "outbound": {"allowed_networks": ["127.0.0.0/8"]}},
    )
    with LiveService(config, Pipeline.load(learned, "cpu"), free_port()) as opened:
        opened.publish()
        opened.work()
        yield opened


def check(service: LiveService, file: bytes, headers: dict[str, str] | None = ANN) -> httpx.Response:
    url = f"{service.url}/v1/content_provenance_checks"
    return HTTP.post(url, files={"file": ("film.mp4", file)}, headers=headers, timeout=60)


def results(service: LiveService, file: bytes) -> dict[str, Any]:
    answer = check(service, file)
    assert answer.status_code == 200, answer.text
    return {result["type"]: result for result in answer.json()["results"]}


def made(service: LiveService, path: str = "/videos", **wish: Any) -> str:
    """The id of a video that was asked for and is there."""
    with httpx.Client(base_url=f"{service.url}/v1", headers=ANN) as client:
        answer = client.post(path, json={"prompt": "a red ball", **wish})
        assert answer.status_code == 200, answer.text
        video_id: str = answer.json()["id"]
        eventually(lambda: client.get(f"/videos/{video_id}").json()["status"] == "completed")
    return video_id


def content(service: LiveService, video_id: str, variant: str = "video") -> bytes:
    url = f"{service.url}/v1/videos/{video_id}/content"
    return HTTP.get(url, params={"variant": variant}, headers=ANN).content


def anchors(service: LiveService) -> str:
    return ProvenanceKeys.load(service.config).anchors


def test_every_variant_is_signed_and_a_whole_file_is_known(service: LiveService, tmp_path: Path) -> None:
    video_id = made(service, size="64x64", num_frames=5)
    for variant, kind in {"video": "video/mp4", "thumbnail": "image/webp", "spritesheet": "image/jpeg"}.items():
        path = tmp_path / variant
        path.write_bytes(content(service, video_id, variant))
        assert read_credentials(path, kind, anchors(service)).state == "trusted", variant
    c2pa = results(service, (tmp_path / "video").read_bytes())["c2pa"]
    assert (c2pa["outcome"], c2pa["validation_state"], c2pa["id"]) == ("detected", "trusted", video_id)
    assert "ann" not in check(service, (tmp_path / "video").read_bytes()).text
    told = generate_latest(service.registry).decode()
    for name in ('sealed_total{layer="mark"}', 'sealed_total{layer="credentials"}', 'checks_total{outcome="detected"'):
        assert name in told


def test_footage_made_anew_is_found_by_its_mark_without_its_credentials(service: LiveService, tmp_path: Path) -> None:
    """A real clip, restyled hardly at all, so that the picture is one that codecs treat as they treat footage."""
    source = Path(__file__).parents[3] / "examples" / "footage" / "in_bottles.mp4"
    frames = [np.ascontiguousarray(frame[:256, :256]) for frame in media.decode_clip(source, 0.0, 1.0, fps=24)]
    media.encode_mp4(tmp_path / "source.mp4", iter(frames), 24.0, crf=10)
    job = service.ledger.get(made(service, size="64x64", num_frames=5))
    assert job is not None
    film = tmp_path / "made.mp4"
    _render(service, replace(job, params=job.params | {"num_frames": len(frames), "fps": 24.0}), frames, film)
    again = tmp_path / "again.mp4"
    media.encode_mp4(again, iter(media.decode_clip(film)), 24.0, crf=28)
    found = results(service, again.read_bytes())
    assert (found["c2pa"]["validation_state"], found["c2pa"]["recovered"]) == ("not_present", True)
    assert (found["watermark"]["outcome"], found["watermark"]["id"]) == ("detected", job.id)
    assert (found["fingerprint"]["outcome"], found["fingerprint"]["id"]) == ("detected", job.id)
    with httpx.Client(base_url=f"{service.url}/v1/c2pa", headers=ANN) as resolver:
        told = read_credentials(film, "video/mp4")
        assert told.mark is not None
        asked = {"alg": "org.sora-on-ray.pixel-mark.1", "value": _base64(told.mark)}
        (match,) = resolver.get("/matches/byBinding", params=asked).json()["matches"]
        manifest = resolver.get(f"/manifests/{match['manifestId']}")
    assert manifest.headers["content-type"] == "application/c2pa"
    assert job.id.encode() in manifest.content


@pytest.mark.slow
def test_a_copy_without_a_mark_is_known_by_its_looks(service: LiveService, tmp_path: Path, footage: Path) -> None:
    """A part of it: cut out of its middle, cropped, mirrored, smaller and coarsely coded."""
    frames = list(media.decode_clip(footage / "in_bottles.mp4", 0.0, 4.0, fps=24))
    job = service.ledger.get(made(service, size="64x64", num_frames=5))
    assert job is not None
    job = replace(job, params=job.params | {"num_frames": len(frames), "fps": 24.0})
    _render(service, job, frames, tmp_path / "made.mp4")
    height, width = frames[0].shape[:2]
    inside = (slice(height // 20, -height // 20), slice(width // 20, -width // 20))
    copied = [cv2.resize(frame[inside][:, ::-1], (320, 180), interpolation=cv2.INTER_AREA) for frame in frames[30:78]]
    media.encode_mp4(tmp_path / "copy.mp4", iter(copied), 24.0, crf=33)
    found = results(service, (tmp_path / "copy.mp4").read_bytes())
    assert found["watermark"]["outcome"] == "not_detected"
    assert (found["fingerprint"]["outcome"], found["fingerprint"]["id"]) == ("detected", job.id)
    assert found["fingerprint"]["likeness"] > ALIKE
    assert found["fingerprint"]["model"] == job.model
    other = (footage / "mp_chaplin.mp4").read_bytes()
    assert results(service, other)["fingerprint"] == {
        "type": "fingerprint", "outcome": "not_detected", "id": None, "likeness": None, "model": None,
        "generated_at": None,
    }  # fmt: skip


def _render(service: LiveService, job: Any, frames: list[np.ndarray], film: Path) -> None:
    """What a decoder does with a job's frames, by the service's own parts."""
    seals = Seals.load(service.config, service.ledger)
    guard = Guard.of(service.config.moderation, service.ledger, reads=False)
    renderer = Renderer(service.config.output, Patience(1.0, threading.Event()), seals, guard, crf=18)
    stored = renderer.render(job, iter(frames), None, lambda _: None)
    film.write_bytes(Path(stored["video"]["uri"]).read_bytes())


def _base64(mark: int) -> str:
    return base64.b64encode(mark.to_bytes(6, "big")).decode()


def test_an_edit_carries_the_credentials_of_its_source(service: LiveService, tmp_path: Path) -> None:
    first = made(service, size="64x64", num_frames=5)
    edited = made(service, "/videos/extensions", video={"id": first}, num_frames=4)
    path = tmp_path / "edited.mp4"
    path.write_bytes(content(service, edited))
    told = read_credentials(path, "video/mp4", anchors(service))
    assert (told.state, told.ingredients) == ("trusted", (first,))


def test_an_own_video_and_one_at_a_url_are_checked_without_sending_them(service: LiveService) -> None:
    video_id = made(service, size="64x64", num_frames=5)
    film = content(service, video_id)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(film)

        def log_message(self, *arguments: object) -> None: ...

    with serving(Handler) as address, httpx.Client(base_url=f"{service.url}/v1", headers=ANN, timeout=60) as client:

        def asked(**body: str | None) -> httpx.Response:
            return client.post("/content_provenance_checks", json=body)

        url = f"http://{address}/film.mp4"
        for body in ({"video_id": video_id}, {"url": url}, {"video_id": None, "url": url}):  # null means left out
            c2pa, *_ = asked(**body).json()["results"]
            assert (c2pa["validation_state"], c2pa["id"]) == ("trusted", video_id)
        assert asked(url="http://10.0.0.1/film.mp4").json()["error"]["code"] == "forbidden_url"
        assert asked(video_id="video_none").status_code == 404
        assert asked(video_id=video_id, url="http://a").json()["error"]["param"] == "file"
        other = {"authorization": f"Bearer {KEYS['bob']}"}
        answer = client.post("/content_provenance_checks", json={"video_id": video_id}, headers=other)
        assert answer.status_code == 404, "of another key"


def test_strangers_may_ask_so_often_and_wrong_files_are_named(service: LiveService) -> None:
    png = BytesIO()
    Image.new("RGB", (32, 32)).save(png, "png")
    statuses = [check(service, png.getvalue(), headers=None).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    answer = check(service, b"not a film at all")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
    assert check(service, png.getvalue(), {"authorization": "Bearer wrong"}).status_code == 401


def test_origins_are_remembered_once_a_mark(ledger: Ledger) -> None:
    store = OriginStore(ledger)
    origin = KnownOrigin(
        mark=2**48 - 1, job_id="video_1", model="m", media_type="video/mp4", made_at=1.5, manifest=b"x"
    )
    store.remember(replace(origin, manifest=b"an earlier attempt"))
    store.remember(origin)
    assert store.by_mark(origin.mark) == origin
    assert store.by_mark(1) is None


def test_keys_that_cannot_be_used_are_named_at_start(tmp_path: Path, learned: str) -> None:
    uri = str(tmp_path / "keys.toml")
    assert main(["certificates", uri, "Ann"]) == 0
    assert main(["certificates", uri, "Ann"]) == 1  # what is there stays
    config = config_in(tmp_path, learned, provenance={"keys": uri})
    assert ProvenanceKeys.load(config).mark_keys[0].name == "k1"
    text = Path(uri).read_text()
    assert tomllib.loads(text)["marks"]
    Path(uri).write_text(text.replace("[marks]", "[marks]\nk0 = 'ab'"))
    with pytest.raises(ConfigError, match=r"k0.*16 bytes"):
        ProvenanceKeys.load(config)
    with pytest.raises(MissingObject, match="nowhere"):
        ProvenanceKeys.load(config_in(tmp_path, learned, provenance={"keys": str(tmp_path / "nowhere.toml")}))


def test_a_certificate_that_ends_soon_is_said_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_end(40 * 86_400.0)
    assert not caplog.records
    warn_of_end(20 * 86_400.0)
    assert "ends in 20.0 days" in caplog.text
