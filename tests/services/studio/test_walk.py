"""The walk that the documents show, filmed by the test run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from services.video.job import Status
from sora_core import media
from tests.services.editing import post
from tests.services.live import LiveService, eventually

from . import walk
from .conftest import Desk

pytestmark = pytest.mark.slow


def test_a_walk_through_the_studio_is_filmed(desk: Callable[..., Desk], service: LiveService, tmp_path: Path) -> None:
    width, height = walk.SIZE
    service.work()
    for number in range(2):
        made = post(service, "", prompt=f"a boat {number}").json()["id"]
        eventually(lambda made=made: (job := service.ledger.get(made)) and job.status is Status.COMPLETED)
    page = desk(viewport={"width": width, "height": height}).enter()
    recorder = walk.Recorder(page)
    walk.stroll(page, "a paper boat drifts", pause_ms=50)
    recorder.save(tmp_path / "walk.mp4")
    frames = media.decode_clip(tmp_path / "walk.mp4")
    assert frames.shape[1:] == (height, width, 3)
    assert len(frames) >= 8
    assert frames[0].astype(int).std() > 5  # something is seen
