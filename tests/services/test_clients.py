"""The official clients, unmodified: the newest Python one, the first that knew videos, and Node's."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from sora_core.pipeline import Pipeline

from .clients.journey import journey
from .live import KEYS, LiveService, config_in
from .test_api import picture

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

HERE = Path(__file__).parent / "clients"
FIRST_PYTHON = "2.3.0"
NODE = "6.49.0"


def run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed(command: list[str], folder: Path) -> Path:
    """The folder with a package in it; skips the test where no package index is reached."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"{command[-1]} can't be installed here: {done.stderr.strip().splitlines()[-1:]}")
    return folder


def arguments(service: LiveService, folder: Path) -> list[str]:
    path = folder / "picture.png"
    path.write_bytes(picture())
    return [f"{service.url}/v1", KEYS["ann"], str(path)]


def check(seen: dict[str, Any], version: str) -> None:
    """What every client must have seen."""
    assert seen["version"] == version
    assert seen["states"][:3] == ["queued", "completed", 100]
    assert set(seen["states"][3:]) == {"completed"}
    assert (seen["seed"], seen["listed"], seen["deleted"], seen["models"]) == (3, True, [True, True], ["tiny"])
    heads = {variant: bytes.fromhex(head) for variant, head in seen["variants"].items()}
    assert heads["video"][4:8] == b"ftyp"
    assert heads["thumbnail"][8:12] == b"WEBP"
    assert heads["spritesheet"][:3] == b"\xff\xd8\xff"
    expected = {
        "unknown": {"class": "BadRequestError", "code": "unknown_parameter", "param": "guidence", "named": True},
        "gone": {"class": "NotFoundError", "code": "not_found", "param": None, "named": True},
        "key": {"class": "AuthenticationError", "code": "invalid_api_key", "param": None, "named": True},
    }
    remixed, *later = seen["edited"]
    (source,) = {remixed["remixed_from_video_id"]}
    expected_edits = [("restyle", 5, source), ("restyle", 5, None), ("extend", 13, None)]
    for video, (edit, num_frames, source_id) in zip([remixed, *later], expected_edits, strict=False):
        assert (video["status"], video["edit"], video["num_frames"]) == ("completed", edit, num_frames)
        assert video["remixed_from_video_id"] == source_id
    assert source.startswith("video_")
    assert seen["character"] == {"name": "Bo", "alike": True, "status": "completed", "shown": True}
    assert seen["refusals"] == expected


@pytest.fixture
def own(tmp_path: Path, learned: str, unused_port: int) -> Iterator[LiveService]:
    """A service at work with a ledger of its own, and a model that has learned everything."""
    with LiveService(config_in(tmp_path, learned), Pipeline.load(learned, "cpu"), unused_port) as service:
        service.publish()
        service.work()
        yield service


def test_the_newest_python_client_passes(own: LiveService) -> None:
    seen = journey(own.client(), picture())
    check(seen, openai.__version__)
    assert len(seen["edited"]) == 3


@pytest.mark.slow
def test_the_first_python_client_that_knew_videos_passes(own: LiveService, tmp_path: Path) -> None:
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--target",
        ".",
        f"openai=={FIRST_PYTHON}",
        "distro",
    ]
    folder = installed(pip, tmp_path)
    command = [sys.executable, str(HERE / "journey.py"), *arguments(own, tmp_path)]
    check(json.loads(run(command, tmp_path, PYTHONPATH=str(folder))), FIRST_PYTHON)


@pytest.mark.slow
def test_the_node_client_passes(own: LiveService, tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("Node is not installed")
    installed([npm, "install", "--no-audit", "--no-fund", f"openai@{NODE}"], tmp_path)
    seen = json.loads(run(["node", str(HERE / "journey.mjs"), *arguments(own, tmp_path)], tmp_path))
    assert seen.pop("images") == ["PNG", "PNG"]
    check(seen, NODE)
    assert len(seen["edited"]) == 3


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the client's mark on variations
def test_calls_that_are_not_offered_are_refused_with_the_reason(door: LiveService) -> None:
    client = door.client()
    file = ("a.mp4", b"x", "video/mp4")
    (card,) = door.ledger.roster.model_cards()
    assert not card["characters"]
    reasons = {
        "trained with reference clips": (
            lambda: client.videos.create_character(name="x", video=file),
            lambda: client.videos.create(prompt="x", extra_body={"characters": [{"id": "char_1"}]}),
        ),
        "from a prompt": (lambda: client.images.create_variation(image=file),),
    }
    for reason, calls in reasons.items():
        for call in calls:
            with pytest.raises(openai.BadRequestError, match=reason) as raised:
                call()
            assert raised.value.code == "unsupported"
