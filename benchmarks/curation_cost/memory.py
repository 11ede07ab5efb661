"""Peak memory of looking at one file: against its length, and against the size of its frames.

``python -m benchmarks.curation_cost.memory MINUTES WIDTH HEIGHT [SECONDS_A_SHOT]``: a made film, 24 frames a second,
examined in a fresh process without models; its clips are as long as the laptop's config makes them. Prints the
process's memory before the file and at its peak (VmHWM), and the size of the pickled result, which is what leaves it.
"""

import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.curation_cost.limit import NO_MODELS
from benchmarks.curation_cost.stages import costs
from jobs.curate.config import CurateConfig
from jobs.curate.listing import make_plan
from jobs.curate.rows import Examined
from jobs.curate.stages.examine import examine
from jobs.launch import load_config

FPS = 24
_BLOCKS = (9, 16)


def make(path: Path, minutes: float, size: tuple[int, int], shot_s: float) -> None:
    """Coloured blocks that drift, others after every cut; ``size`` is height and width."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "30"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for number in range(round(minutes * 60 * FPS)):
            if number % round(shot_s * FPS) == 0:
                colours = rng.integers(0, 256, (*_BLOCKS, 3), np.uint8)
                scene = cv2.resize(colours, size[::-1], interpolation=cv2.INTER_NEAREST)
            frame = av.VideoFrame.from_ndarray(np.roll(scene, number % size[1], axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def measure(folder: str) -> None:
    """Examine the one file in a folder."""
    cv2.setNumThreads(1)
    config = load_config("curate", CurateConfig, ["--set", f"source={folder}", f"output={folder}-out", *NO_MODELS])
    [source] = make_plan(config, {}).sources
    rows: list[Examined] = []
    cost = costs(lambda: rows.append(examine(source, config)))
    [row] = rows
    result_mib = len(pickle.dumps(row)) / 2**20
    print(
        f"{row.decoded_frames} frames, {len(row.clips)} clips: {cost.before_mib:.0f} MiB before, {cost.peak_mib:.0f} "
        f"at the peak, {result_mib:.1f} the result; {cost.cpu_s:.0f} s of CPU"
    )


def main(minutes: float, width: int, height: int, shot_s: float = 60.0) -> None:
    """Make the film and have it examined."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "film.mp4", minutes, (height, width), shot_s)
        subprocess.run([sys.executable, "-m", __spec__.name, "--measure", folder], check=True)


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        measure(sys.argv[2])
    else:
        main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *map(float, sys.argv[4:]))
