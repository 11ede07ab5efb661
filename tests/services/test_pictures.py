"""Pictures from clients: what is too large, too long or damaged is refused by its header, before it takes memory."""

import base64
import io
import struct
import tempfile
import tracemalloc
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.video.config import ApiSettings
from services.video.errors import ApiError
from services.video.intake.decoders import Decoders
from services.video.intake.pictures import Pictures
from services.video.schemas import ImageReference
from sora_core.media import Limits

from .web import serving

DECODERS = Decoders(1, Limits())


@pytest.fixture(scope="module", autouse=True)
def _ended() -> Iterator[None]:
    yield
    DECODERS.close()


def pictures_of(limits: ApiSettings) -> Pictures:
    return Pictures(limits, DECODERS)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def assert_same(pixels: np.ndarray | None, data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(pixels), np.asarray(image.convert("RGB")))


def read(pictures: Pictures, data: bytes) -> np.ndarray | None:
    """The pixels of an upload."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return pictures.read(Path(file.name), None)


def refusal(data: bytes, **limits: int) -> ApiError:
    with pytest.raises(ApiError) as raised:
        read(pictures_of(ApiSettings.model_validate(limits)), data)
    assert (raised.value.status, raised.value.param) == (400, "input_reference")
    return raised.value


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that says it is very large, and is: its rows are zeros."""
    rows = zlib.compress(bytes(width // 8 + 1) * height, 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    data = bomb(30_000, 30_000)
    assert len(data) < 200_000
    tracemalloc.start()
    error = refusal(data)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (error.code, "at most 40000000" in error.message) == ("too_large", True)
    assert most < 10 * 2**20


def test_a_bomb_in_the_text_of_a_picture_does_not_go_off() -> None:
    whole = encoded(Image.new("RGB", (16, 16)))
    text = png_chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(200 * 2**20), 9))
    head = whole[:33]
    assert refusal(head + text + whole[33:]).code == "invalid_image"


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), (shade, 0, 0)) for shade in (0, 100, 200)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert "animation" in refusal(data).message


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "PPM"])
def test_other_formats_are_not_opened(kind: str) -> None:
    assert refusal(encoded(Image.new("RGB", (16, 16)), kind)).code == "invalid_image"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_half_a_picture_is_refused(kind: str) -> None:
    whole = encoded(Image.effect_noise((64, 64), 100).convert("RGB"), kind)
    assert_same(read(pictures_of(ApiSettings()), whole), whole)
    assert refusal(whole[: len(whole) // 2]).code == "invalid_image"


def test_bytes_are_counted_after_base64_is_undone() -> None:
    data = encoded(Image.effect_noise((64, 64), 100))
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    pictures = pictures_of(ApiSettings(max_upload_bytes=len(data)))
    assert_same(pictures.read(None, ImageReference(image_url=url)), data)
    assert refusal(data, max_upload_bytes=len(data) - 1).code == "too_large"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "/etc/passwd", "s3://bucket/key", "http://127.0.0.1/a.png"])
def test_places_of_the_server_are_not_read(url: str) -> None:
    with pytest.raises(ApiError, match="URLs are not fetched") as raised:
        pictures_of(ApiSettings()).read(None, ImageReference(image_url=url))
    assert raised.value.status == 400


@pytest.fixture
def gallery() -> Iterator[str]:
    """A web server with one picture."""
    data = encoded(Image.new("RGB", (16, 16)))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/a.png" else 404)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None: ...

    with serving(Handler) as address:
        yield f"http://{address}"


def test_a_url_is_fetched_where_the_operator_allows_it(gallery: str) -> None:
    allowed = {"fetch_urls": True, "outbound": {"allowed_networks": ["127.0.0.0/8"]}}
    pictures = pictures_of(ApiSettings.model_validate(allowed))
    assert_same(pictures.read(None, ImageReference(image_url=f"{gallery}/a.png")), encoded(Image.new("RGB", (16, 16))))
    refusals = {f"{gallery}/b.png": "invalid_url", "http://10.0.0.1/a.png": "forbidden_url", "nowhere": "invalid_url"}
    for url, code in refusals.items():
        with pytest.raises(ApiError) as raised:
            pictures.read(None, ImageReference(image_url=url))
        assert (raised.value.code, raised.value.param) == (code, "input_reference")
    small = pictures_of(ApiSettings.model_validate({**allowed, "max_upload_bytes": 10}))
    with pytest.raises(ApiError, match="more than 10 bytes"):
        small.read(None, ImageReference(image_url=f"{gallery}/a.png"))


def test_allowing_urls_allows_no_private_address(gallery: str) -> None:
    with pytest.raises(ApiError, match="no host on the open internet"):
        pictures_of(ApiSettings(fetch_urls=True)).read(None, ImageReference(image_url=f"{gallery}/a.png"))
