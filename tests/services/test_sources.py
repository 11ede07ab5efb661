"""Videos as users have them, through the running API: turned, uneven, odd, deep, wide pixels, parts of long ones."""

import struct
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sora_core import media
from sora_core.pipeline import Pipeline

from .editing import AUTH, FEW, ask
from .http import HTTP
from .live import LiveService, config_in, eventually
from .postgres import free_port
from .tiny_model import FPS

SECONDS = 1.5
_QUARTER_TURN = (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, learned: str) -> Iterator[LiveService]:
    """At work, with the limits that a service has unless told."""
    config = config_in(tmp_path_factory.mktemp("sources"), learned)
    with LiveService(config, Pipeline.load(learned, "cpu"), free_port()) as running:
        running.publish()
        running.work()
        yield running


def scene(time_s: float, height: int, width: int) -> np.ndarray:
    """Grey that grows by 40 of 255 a second, anew every three; the upper left quarter is red, the lower half bluish."""
    picture = np.full((height, width, 3), 20 + 40 * (time_s % 3))
    picture[height // 2 :, :, 2] += 60
    picture[: height // 2, : width // 2] = (200, 30, 30)
    return picture.round().clip(0, 255).astype(np.uint8)


def write(
    path: Path,
    size: tuple[int, int],
    times_s: list[float],
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    *,
    turned: bool = False,
    pixel_aspect: Fraction | None = None,
) -> Path:
    """A file that shows the scene at these times; ``turned``: stored on its side, with the turn in its header."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.height, stream.width, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.gop_size = 250
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        for time_s in times_s:
            shown = scene(time_s, *(size[::-1] if turned else size))
            stored = np.rot90(shown) if turned else shown
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time_s), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if turned:
        data = bytearray(path.read_bytes())
        matrix = data.index(b"tkhd") + 4 + 40
        data[matrix : matrix + 36] = struct.pack(">9i", *_QUARTER_TURN)
        path.write_bytes(data)
    return path


def steady(seconds: float, fps: float = 30) -> list[float]:
    return [index / fps for index in range(round(seconds * fps))]


def uneven() -> list[float]:
    """Thirty frames a second, then five: what a phone does in the dark."""
    return [*steady(SECONDS / 2), *(SECONDS / 2 + time_s for time_s in steady(SECONDS, 5))]


def test_sources_come_back_upright_at_the_models_rate_and_in_their_own_aspect(
    service: LiveService, tmp_path: Path
) -> None:
    """Each is extended by a few frames; what comes before them is the source as a viewer sees it."""
    cases: list[tuple[Path, float, float, float]] = [  # file, aspect as displayed, start, the least that a frame lasts
        (write(tmp_path / "turned.mp4", (64, 96), steady(SECONDS), turned=True), 64 / 96, 0.0, 1 / 30),
        (write(tmp_path / "uneven.mp4", (64, 96), uneven()), 96 / 64, 0.0, 1 / 5),
        (write(tmp_path / "deep.mp4", (64, 96), steady(SECONDS), pix_fmt="yuv420p10le"), 96 / 64, 0.0, 1 / 30),
        (write(tmp_path / "odd.mkv", (67, 101), steady(SECONDS), "ffv1", "yuv444p"), 101 / 67, 0.0, 1 / 30),
        (write(tmp_path / "wide.mp4", (64, 64), steady(SECONDS), pixel_aspect=Fraction(3, 2)), 1.5, 0.0, 1 / 30),
        (write(tmp_path / "long.mp4", (64, 96), steady(60)), 96 / 64, 30.0, 1 / 30),
    ]
    few: dict[str, Any] = FEW | {"num_frames": 4}
    asked = [
        ask(service, "/extensions", {"video": file.read_bytes()}, start_s=start_s, end_s=start_s + SECONDS, **few)
        for file, _, start_s, _ in cases
    ]
    for video_id, (file, aspect, _, lasts_s) in zip(asked, cases, strict=True):
        job: Any = eventually(lambda video_id=video_id: (job := service.ledger.get(video_id)) and job.result and job)
        film = media.decode_clip(Path(job.result["video"]["uri"]))
        own = film[: round(SECONDS * FPS)]
        assert (len(film), job.params["fps"]) == (len(own) + 4, FPS), file.name
        height, width = film.shape[1:3]
        assert height % 16 == width % 16 == 0
        assert abs(np.log(width / height / aspect)) < np.log(1.5), f"{file.name}: {width}x{height}"
        red = own[:, : height // 3, : width // 3].mean(axis=(0, 1, 2))
        assert red == pytest.approx((200, 30, 30), abs=25), f"{file.name} isn't upright"
        below, beside = (own[:, rows, -width // 3 :].mean(axis=(1, 2)) for rows in (np.s_[-height // 3 :], np.s_[:4]))
        assert (below - beside)[:, 2].mean() == pytest.approx(60, abs=20), file.name
        seen_s = (beside[:, 1] - 20) / 40
        assert np.abs(seen_s - np.arange(len(own)) / FPS).max() < lasts_s + 0.06, file.name


def test_real_files_are_extended(service: LiveService, footage: Path, tmp_path: Path) -> None:
    """A portrait in HDR of ten bits, oblong pixels, no container at all."""
    names = ("a_hdr10_av1_portrait.mp4", "fx_lecture_room.ogg", "oh_office_720.264")
    files = [footage / name for name in names]
    few: dict[str, Any] = FEW | {"num_frames": 4, "end_s": 1.0}
    asked = [ask(service, "/extensions", {"video": file.read_bytes()}, **few) for file in files]
    for video_id, file in zip(asked, files, strict=True):
        job: Any = eventually(lambda video_id=video_id: (job := service.ledger.get(video_id)) and job.result and job)
        film = media.decode_clip(Path(job.result["video"]["uri"]))
        info = media.probe(file)
        assert (film.shape[2] > film.shape[1]) == (info.width > info.height), file.name
        size = film.shape[1:3]
        own = media.decode_clip(file, 0.0, 1.0, fps=FPS, size=size)
        assert len(film) == len(own) + 4
        # Scaled and then cut by some pixels there, stretched here: alike, but not the same.
        assert np.abs(film[: len(own)].astype(int) - own).mean() < 25, file.name


def test_a_large_upload_takes_no_memory(service: LiveService) -> None:
    """It comes in pieces, goes to disk in pieces, and is read from there."""
    size, piece = 32 << 20, bytes(1 << 16)
    head = b'--x\r\ncontent-disposition: form-data; name="prompt"\r\n\r\nx\r\n--x\r\n'
    head += b'content-disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'

    def pieces() -> Iterator[bytes]:
        yield head
        for _ in range(size // len(piece)):
            yield piece
        yield b"\r\n--x--\r\n"

    headers = AUTH["ann"] | {"content-type": "multipart/form-data; boundary=x"}
    tracemalloc.start()
    answer = HTTP.post(f"{service.url}/v1/videos/edits", content=pieces(), headers=headers, timeout=60)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_video")
    assert most < size / 4
