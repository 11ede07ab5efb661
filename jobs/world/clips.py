"""One scene to its file; what each process of the pool runs."""

import cv2

from sora_core import storage
from sora_core.media import Mp4Writer
from sora_core.world.render import render
from sora_core.world.scene import Scene


def write_clip(named: tuple[str, Scene], *, output: str, fps: float, crf: int) -> int:
    """Render one scene to its file under ``output``; the file's bytes."""
    name, scene = named
    data = _png(scene) if scene.size.frames == 1 else _mp4(scene, fps, crf)
    storage.write_bytes(storage.join(output, name), data)
    return len(data)


def _png(scene: Scene) -> bytes:
    _, data = cv2.imencode(".png", render(scene)[0, ..., ::-1])
    return data.tobytes()


def _mp4(scene: Scene, fps: float, crf: int) -> bytes:
    with storage.scratch() as folder:
        path = folder / "clip.mp4"
        size = scene.size
        with Mp4Writer(path, height=size.height, width=size.width, fps=fps, crf=crf, preset="ultrafast") as writer:
            writer.add(render(scene))
        return path.read_bytes()
