"""Near-duplicates: what is found of copies of real footage, and what it costs at a million clips.

``python benchmarks/near_duplicates.py [FOLDER]``  copies of every file in FOLDER, of each kind, sought beside all the
originals; a clip counts as found when it names a clip of its own original
``python benchmarks/near_duplicates.py --cost CLIPS``  index and search on that many made-up vectors
"""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from usearch.index import Index

from jobs.curate.books.commit import commit_measured
from jobs.curate.books.parts import read_parts
from jobs.curate.config import CurateConfig
from jobs.curate.duplicates import copies
from jobs.curate.listing import Plan, make_plan
from jobs.curate.rows import Examined, Source
from jobs.curate.stages.examine import examine
from jobs.launch import load_config
from sora_core import media, storage
from sora_core.errors import UnreadableMedia
from sora_core.likeness import DIM, MIRRORED, likeness

LIKENESS = (0.76, 0.8, 0.84, 0.88)
SECONDS, LINES, FPS = 6.0, 240, 12.0
# Files of the footage that show the same themselves, as was seen by looking.
SAME = (
    {"tv_basketball", "zz_trunc_basketball"},
    {"oh_foreman", "oh_lost_p", "oh_ship_qcif"},
    {"mm_armwrestle", "mm_boxes_overlay"},
)
Frames = np.ndarray


def cut(top: float, height: float, left: float, width: float) -> Callable[[Frames], Frames]:
    def apply(frames: Frames) -> Frames:
        rows, columns = frames.shape[1:3]
        first, start = int(rows * top), int(columns * left)
        return frames[:, first : first + int(rows * height), start : start + int(columns * width)]

    return apply


def scaled(frames: Frames, share: float) -> Frames:
    size = (max(2, int(frames.shape[2] * share)), max(2, int(frames.shape[1] * share)))
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])


def squared(frames: Frames) -> Frames:
    height, width = frames.shape[1:3]
    side = min(height, width)
    return cut((1 - side / height) / 2, side / height, (1 - side / width) / 2, side / width)(frames)


def boxed(frames: Frames) -> Frames:
    return np.pad(frames, ((0, 0), (frames.shape[1] // 6,) * 2, (0, 0), (0, 0)))


def trimmed(frames: Frames, seconds: float = 0.7) -> Frames:
    return frames[int(seconds * FPS) :] if len(frames) > 2 * FPS else frames


def all_at_once(frames: Frames) -> Frames:
    return scaled(trimmed(cut(0.05, 0.88, 0.06, 0.88)(frames)[:, :, ::-1], 0.4), 0.6)


# What is done to the frames, and the quality (x264's crf) that the copy is stored at.
KINDS: dict[str, tuple[Callable[[Frames], Frames], int]] = {
    "encoded coarsely (crf 36)": (lambda frames: frames, 36),
    "half the size": (lambda frames: scaled(frames, 0.5), 23),
    "10 % of each side cut off": (cut(0.05, 0.9, 0.05, 0.9), 23),
    "20 % cut off one corner": (cut(0.15, 0.8, 0.05, 0.8), 23),
    "cut to a square": (squared, 23),
    "mirrored": (lambda frames: frames[:, :, ::-1], 23),
    "0.7 s trimmed": (trimmed, 23),
    "boxed in black": (boxed, 23),
    "brighter by 20 %": (lambda frames: np.clip(frames * 1.2 + 10, 0, 255).astype(np.uint8), 23),
    "cut, mirrored, trimmed, 60 %, crf 30": (all_at_once, 30),
}


def write(path: Path, frames: Frames, crf: int) -> None:
    even = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
    media.encode_mp4(path, np.ascontiguousarray(even), FPS, crf=crf)


def originals(folder: Path) -> Iterator[tuple[str, Frames]]:
    for path in sorted(folder.iterdir()):
        try:
            info = media.probe(path)
            if info.kind == "image":
                frames = media.decode_image(path)[None]
                yield path.stem, scaled(frames, min(1.0, LINES / frames.shape[1]))
            else:
                share = min(1.0, LINES / info.height)
                size = round(info.height * share), round(info.width * share)
                yield path.stem, media.decode_clip(path, 0, SECONDS, fps=FPS, size=size)
        except UnreadableMedia:
            continue


def make(footage: Path, folder: Path) -> None:
    for name, frames in originals(footage):
        write(folder / f"{name}@original.mp4", frames, 20)
        for kind, (change, crf) in KINDS.items():
            write(folder / f"{name}@{kind.replace(' ', '_')}.mp4", change(frames), crf)


def origin(uri: str) -> str:
    """The name of what is shown; the same for files that show the same."""
    name = storage.name(uri).partition("@")[0]
    return next((min(group) for group in SAME if name in group), name)


def table(footage: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="sora-copies-") as folder:
        (Path(folder) / "in").mkdir()
        make(footage, Path(folder) / "in")
        places = [f"source={folder}/in", f"output={folder}/out", "max_likeness=0.5"]
        config = load_config("curate", CurateConfig, ["--set", *places])
        plan = make_plan(config, {})
        started = time.process_time()
        rows = [examine(source, config) for source in plan.sources]
        print(f"{len(rows)} files looked at in {time.process_time() - started:.0f} s of CPU time")
        commit_measured(rows, config.output)
        for most in LIKENESS:
            print(f"\nmax_likeness = {most}\n{'copy':38}{'clips':>6}{'found':>7}{'recall':>8}{'precision':>11}")
            for kind in KINDS:
                show(kind, plan, rows, config.model_copy(update={"max_likeness": most}))


def show(kind: str, plan: Plan, rows: list[Examined], config: CurateConfig) -> None:
    """A line of the table. Originals have words, so that they are what stays."""
    mark = f"@{kind.replace(' ', '_')}."
    sources: list[Source] = []
    for source in plan.sources:
        if "@original." in source.uri:
            sources.append(replace(source, caption="the original"))
        elif mark in source.uri:
            sources.append(source)
    uris = {clip.clip_id: row.source.uri for row in rows for clip in row.clips}
    passing = {clip.clip_id for row in rows for clip in row.clips if mark in row.source.uri and clip.status == "kept"}
    parts = read_parts(config.output)
    found = [pair for clips in copies.find(Plan(sources, []), config, parts).values() for pair in clips.items()]
    right = Counter(origin(uris[copy]) == origin(uris[stays]) for copy, stays in found)
    hits = sum(copy in passing and origin(uris[copy]) == origin(uris[stays]) for copy, stays in found)
    precision = right[True] / max(1, right.total())
    print(f"{kind:38}{len(passing):>6}{hits:>7}{hits / len(passing):>8.1%}{precision:>11.1%}", flush=True)


def cost(count: int) -> None:
    """Time of one core, and memory, on vectors without any order, which are the hardest to search."""
    random = np.random.default_rng(0)
    index = Index(ndim=DIM, metric="cos", dtype="f16")
    step = 100_000
    started = time.process_time()
    for first in range(0, count, step):
        vectors = random.standard_normal((min(step, count - first), DIM), np.float32)
        index.add(np.arange(first, first + len(vectors)), vectors, threads=1)
        seconds = time.process_time() - started
        print(f"{len(index):>10} clips: {seconds:6.0f} s to build, {index.memory_usage / 2**20:6.0f} MiB", flush=True)
    asked = random.standard_normal((5000, DIM), np.float32)
    started = time.process_time()
    for vectors in (asked, asked * MIRRORED):
        index.search(vectors, copies._NEIGHBOURS, threads=1)
    print(f"search, both ways: {1000 * (time.process_time() - started) / len(asked):.3f} ms a clip")
    pictures = random.integers(0, 256, (2, 8, 24, 24)).astype(np.float32)
    started = time.process_time()
    for _ in range(300):
        likeness(pictures[0], pictures[1])
    print(f"comparison by pictures: {1000 * (time.process_time() - started) / 300:.2f} ms a pair")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--cost", count]:
            cost(int(count))
        case [folder]:
            table(Path(folder))
        case _:
            shared = Path(__file__).parents[2] / "shared" / "footage"
            table(shared if shared.is_dir() else Path(__file__).parents[1] / "examples" / "footage")
            cost(20_000)
