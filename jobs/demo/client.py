"""One video over HTTP with the stock ``openai`` client, as any program would make it."""

import time
from pathlib import Path
from typing import cast

from openai import OpenAI
from openai.types import Video

from jobs.progress import Line, Pace, spoken
from sora_core.errors import SoraError

TIMEOUT_S = 300.0
POLL_S = 0.3


def make_video(client: OpenAI, path: Path, *, prompt: str, size: str, num_frames: int, seed: int) -> Video:
    """Create a video, show its progress, store the mp4 at ``path``. SoraError when it fails or takes too long."""
    settings = {"size": size, "num_frames": str(num_frames), "seed": str(seed)}
    video = client.videos.create(prompt=prompt, extra_body=settings)
    deadline = time.monotonic() + TIMEOUT_S
    line, pace = Line(), Pace(100)
    while video.status in ("queued", "in_progress"):
        if time.monotonic() > deadline:
            raise SoraError(f"{video.id} is still {video.status} after {TIMEOUT_S:.0f} s; see the dashboard's logs")
        pace.at(video.progress)
        line.show(f"{video.id} {size}x{num_frames}: {video.progress} %, {spoken(pace.left_s)}")
        time.sleep(POLL_S)
        video = client.videos.retrieve(video.id)
    line.end(f"{video.id} {size}x{num_frames}: {video.status}")
    if video.status != "completed":
        raise SoraError(f"{video.id} {video.status}: {video.error.message if video.error else 'no reason given'}")
    client.videos.download_content(video.id).write_to_file(path)
    return video


def sign_in_secret(client: OpenAI) -> str:
    """What signs a browser in once, as the client's owner."""
    answer = cast(dict[str, str], client.post("/sign_ins", cast_to=object))
    return answer["secret"]
