"""Kept clips a second, ours and Data-Juicer's, on the same files and cores: shots, length, size, aspect and motion.

``python benchmarks/against_data_juicer.py PEER_PYTHON [FOLDER]``; ``PEER_PYTHON`` is the Python of an environment with
py-data-juicer, aiohttp, torch, av 13.1, scenedetect, opencv-contrib-python-headless and, beside that Python, ``ffmpeg``
and ``ffprobe``.
Both work in two processes; starting them and importing isn't counted. Ours measures more in the same pass (sharpness,
exposure, frozen frames, bars, camera, fingerprints) and cuts nothing out: a clip is a span. The peer's split writes
files. No threshold drops anything, so that both keep every shot that they find.
"""

import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from jobs.curate.config import CurateConfig
from jobs.curate.examine import examine
from jobs.curate.listing import make_plan
from jobs.curate.rows import Source
from jobs.launch import load_config

PROCESSES = 2
NAMES = (
    "db_coin", "db_cube_grey", "db_marathon", "db_traffic", "in_bottles", "mm_armwrestle", "mm_gym", "mm_pool",
    "mp_chaplin", "mp_plane", "np_goldengate_tall", "sd_fall_wipes", "sd_museum_cuts", "sl_two_flies",
    "tv_basketball", "tv_segway_plaza", "tv_segway_street", "tv_segway_tv",
)  # fmt: skip
OPEN = ("thresholds.min_sharpness=0", "thresholds.min_luma=0", "thresholds.max_luma=255", "thresholds.min_contrast=0")
PEER = """
import json, resource, sys, time
from data_juicer.core.data import NestedDataset
from data_juicer.ops.filter.video_aspect_ratio_filter import VideoAspectRatioFilter
from data_juicer.ops.filter.video_duration_filter import VideoDurationFilter
from data_juicer.ops.filter.video_motion_score_filter import VideoMotionScoreFilter
from data_juicer.ops.filter.video_resolution_filter import VideoResolutionFilter
from data_juicer.ops.mapper.video_split_by_scene_mapper import VideoSplitBySceneMapper

folder, processes, files = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
some = dict(num_proc=processes)
ops = [
    VideoSplitBySceneMapper(
        detector="AdaptiveDetector", threshold=3.0, min_scene_len=6, save_dir=folder, skip_op_error=False, **some),
    VideoDurationFilter(min_duration=0, max_duration=10000, **some),
    VideoResolutionFilter(min_width=64, min_height=64, **some),
    VideoAspectRatioFilter(min_ratio="1/5", max_ratio="5/1", **some),
    VideoMotionScoreFilter(min_score=0.0, sampling_fps=4, size=192, relative=True, **some),
]
data = NestedDataset.from_list([{"text": "<__dj__video>", "videos": [file]} for file in files])

def cpu_s():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)
    return sum(u.ru_utime + u.ru_stime for u in usage)

before, started = cpu_s(), time.monotonic()
data = data.process(ops)
seconds, used = time.monotonic() - started, cpu_s() - before
print("RESULT" + json.dumps({"seconds": seconds, "clips": sum(len(row["videos"]) for row in data), "cpu_s": used}))
"""


def peer(python: str, files: list[Path]) -> dict[str, float]:
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
    result: dict[str, float] = json.loads(found[0].removeprefix("RESULT"))
    return result


def ours(files: list[Path]) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="sora-ours-") as folder:
        for file in files:
            (Path(folder) / file.name).symlink_to(file)
        settings = [f"source={folder}", f"output={folder}-out", "max_frames=100001", "min_frames=1", *OPEN]
        config = load_config("curate", CurateConfig, ["--set", *settings])
        sources = make_plan(config, {}).sources
        with get_context("spawn").Pool(PROCESSES) as pool:
            pool.map(str, range(PROCESSES), chunksize=1)
            started = time.monotonic()
            found = pool.starmap(kept, [(source, config) for source in sources], chunksize=1)
            seconds = time.monotonic() - started
    return {"seconds": seconds, "clips": sum(clips for clips, _ in found), "cpu_s": sum(cpu_s for _, cpu_s in found)}


def kept(source: Source, config: CurateConfig) -> tuple[int, float]:
    """Kept clips of a source, and the CPU time that it took."""
    started = time.process_time()
    row = examine(source, config)
    return sum(clip.status == "kept" for clip in row.clips), time.process_time() - started


def main() -> None:
    if len(sys.argv) < 2:
        print(__doc__)
        return
    shared = Path(__file__).parents[2] / "shared" / "footage"
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else shared
    files = sorted(path for path in folder.iterdir() if path.stem in NAMES)
    print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 2**20:.0f} MiB, {PROCESSES} processes")
    print(f"{'':14}{'wall s':>8}{'CPU s':>8}{'clips':>7}{'clips/s':>9}{'clips/CPU s':>13}")
    for name, measure in (("ours", ours), ("Data-Juicer", partial(peer, sys.argv[1]))):
        found = measure(files)
        rates = found["clips"] / found["seconds"], found["clips"] / found["cpu_s"]
        print(
            f"{name:14}{found['seconds']:>8.1f}{found['cpu_s']:>8.1f}{found['clips']:>7.0f}{rates[0]:>9.2f}{rates[1]:>13.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
