"""Kept clips a second, ours and Data-Juicer's, on the same files and cores: shots, length, size, aspect and motion.

``python -m benchmarks.against_data_juicer PEER_PYTHON [FOLDER]``; ``PEER_PYTHON`` is the Python of an environment with
py-data-juicer, aiohttp, torch, av 13.1, scenedetect, opencv-contrib-python-headless and, beside that Python, ``ffmpeg``
and ``ffprobe``.
The files are the videos in FOLDER that the peer gives clips of. Both work in two processes; starting them and importing
isn't counted. Ours measures more in the same pass (sharpness, exposure, frozen frames, bars, camera, fingerprints) and
cuts nothing out: a clip is a span. The peer's split writes files. No threshold drops anything, so that both keep every
shot that they find. A third row is ours with its models, which the peer has no part of here.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from benchmarks.curation_cost.limit import NO_MODELS
from jobs.curate.config import CurateConfig
from jobs.curate.listing import make_plan
from jobs.curate.measure import models
from jobs.curate.rows import Source
from jobs.curate.stages.examine import examine
from jobs.launch import load_config

PROCESSES = 2
VIDEOS = {".mp4", ".mov", ".avi", ".webm", ".mpeg", ".ogv", ".ogg", ".264"}
# Nothing that is measured drops a clip.
OPEN = (
    "thresholds.min_sharpness=0", "thresholds.min_luma=0", "thresholds.max_luma=255", "thresholds.min_contrast=0",
    "thresholds.max_shake=1e9", "thresholds.max_text=1", "thresholds.max_indecency=1",
)  # fmt: skip
PEER = """
import json, resource, sys, time
from data_juicer.core.data import NestedDataset
from data_juicer.ops.filter.video_aspect_ratio_filter import VideoAspectRatioFilter
from data_juicer.ops.filter.video_duration_filter import VideoDurationFilter
from data_juicer.ops.filter.video_motion_score_filter import VideoMotionScoreFilter
from data_juicer.ops.filter.video_resolution_filter import VideoResolutionFilter
from data_juicer.ops.mapper.video_split_by_scene_mapper import VideoSplitBySceneMapper

folder, processes, files = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
some = dict(num_proc=processes, skip_op_error=True)
ops = [
    VideoSplitBySceneMapper(
        detector="AdaptiveDetector", threshold=3.0, min_scene_len=6, save_dir=folder, **some),
    VideoDurationFilter(min_duration=0, max_duration=10000, **some),
    VideoResolutionFilter(min_width=64, min_height=64, **some),
    VideoAspectRatioFilter(min_ratio="1/5", max_ratio="5/1", **some),
    VideoMotionScoreFilter(min_score=0.0, sampling_fps=4, size=192, relative=True, **some),
]
data = NestedDataset.from_list([{"text": "<__dj__video>", "videos": [file], "file": file} for file in files])

def cpu_s():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)
    return sum(u.ru_utime + u.ru_stime for u in usage)

before, started = cpu_s(), time.monotonic()
data = data.process(ops)
seconds, used = time.monotonic() - started, cpu_s() - before
clips = {row["file"]: len(row["videos"]) for row in data if row["videos"]}
print("RESULT" + json.dumps({"seconds": seconds, "cpu_s": used, "clips": clips}))
"""


@dataclass(frozen=True, slots=True)
class Found:
    """Wall and CPU seconds, and clips by file."""

    seconds: float
    cpu_s: float
    clips: dict[str, int]

    def __str__(self) -> str:
        clips = sum(self.clips.values())
        rates = f"{clips / self.seconds:.2f} | {clips / self.cpu_s:.2f}"
        return f"{self.seconds:.1f} | {self.cpu_s:.1f} | {clips} | {rates} |"


def peer(python: str, files: list[Path]) -> Found:
    """What the peer does with the files."""
    with tempfile.TemporaryDirectory(prefix="sora-peer-") as folder:
        done = subprocess.run(
            [python, "-c", PEER, folder, str(PROCESSES), *map(str, files)],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": f"{Path(python).parent}:/usr/bin:/bin", "HOME": folder, "OMP_NUM_THREADS": "1"},
        )
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not found:
        raise SystemExit(f"the peer failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return Found(**json.loads(found[0].removeprefix("RESULT")))


def ours(files: list[Path], *settings: str) -> Found:
    """What examining does with the files."""
    with tempfile.TemporaryDirectory(prefix="sora-ours-") as folder:
        for file in files:
            (Path(folder) / file.name).symlink_to(file)
        always = [f"source={folder}", f"output={folder}-out", "max_frames=100001", "min_frames=1", *OPEN]
        config = load_config("curate", CurateConfig, ["--set", *always, *settings])
        sources = make_plan(config, {}).sources
        with get_context("spawn").Pool(PROCESSES, models.load, (config.models,)) as pool:
            pool.map(str, range(PROCESSES), chunksize=1)
            started = time.monotonic()
            found = pool.starmap(kept, [(source, config) for source in sources], chunksize=1)
            seconds = time.monotonic() - started
    clips = {source.uri: clips for source, (clips, _) in zip(sources, found, strict=True)}
    return Found(seconds, sum(cpu_s for _, cpu_s in found), clips)


def kept(source: Source, config: CurateConfig) -> tuple[int, float]:
    """Kept clips of a source, and the CPU time that it took."""
    started = time.process_time()
    row = examine(source, config)
    return sum(clip.status == "kept" for clip in row.clips), time.process_time() - started


def main(python: str, folder: Path) -> None:
    """Print the table."""
    files = sorted(path for path in folder.iterdir() if path.suffix in VIDEOS)
    theirs = peer(python, files)
    accepted = [path for path in files if str(path) in theirs.clips]
    size = sum(path.stat().st_size for path in accepted) / 2**20
    print(f"{len(accepted)} of {len(files)} files, {size:.0f} MiB, {PROCESSES} processes\n")
    print("| | wall s | CPU s | clips | clips a second | clips a CPU second |\n|---|---|---|---|---|---|")
    print(f"| Data-Juicer | {theirs}")
    print(f"| ours, all cheap scores and fingerprints | {ours(accepted, *NO_MODELS)}", flush=True)
    print(f"| ours, with its models | {ours(accepted)}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print(__doc__)
    else:
        main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parents[2] / "shared" / "footage")
