"""Of clips that show the same the best stays, however they were copied; what only looks alike stays too."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from jobs.curate.ask.judge import judge_again
from jobs.curate.ask.why import find
from jobs.curate.books import ledger
from jobs.curate.config import CurateConfig
from jobs.curate.duplicates import copies
from jobs.curate.pipeline import curate
from sora_core import shards, storage
from sora_core.likeness import MIRRORED, Pictures, likeness, opened, vector
from sora_core.media import decode_clip, decode_image, encode_mp4
from tests.jobs.curate.conftest import Tally

STILLS = {
    "fruits": "ph_fruits.jpg",
    "london": "ph_london.jpg",
    "tokyo": "ph_tokyo.jpg",
    "flower": "oh_flower_720.264",
    "bottles": "in_bottles.mp4",
    "chaplin": "mp_chaplin.mp4",
}


def walk(footage: Path, name: str, frames: int = 17) -> np.ndarray:
    """A camera that walks over a photograph, or over the first frame of a film: ``(frames, 192, 256, 3)``."""
    path = footage / STILLS[name]
    photo = decode_image(path) if path.suffix == ".jpg" else decode_clip(path, max_frames=1)[0]
    scale = 340 / min(photo.shape[:2])
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.stack([photo[2 * t : 2 * t + 192, 4 * t : 4 * t + 256] for t in range(frames)])


def copied(frames: np.ndarray) -> dict[str, tuple[np.ndarray, int]]:
    """What becomes of footage on its way through the world: frames and the quality they are stored at."""
    boxed = np.pad(frames, ((0, 0), (32, 32), (0, 0), (0, 0)))
    return {
        "coarse": (frames, 38),
        "half": (frames[:, ::2, ::2], 23),
        "cropped": (frames[:, 10:182, 14:240], 23),
        "mirrored": (frames[:, :, ::-1], 23),
        "trimmed": (frames[4:], 23),
        "boxed": (boxed, 23),
    }


def fingerprint(frames: np.ndarray) -> np.ndarray:
    pictures = Pictures(
        (t / 8, cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)) for t, frame in enumerate(frames)
    )
    return opened(pictures.fingerprint(0.0, 10.0, (0.0, 0.0, 0.0, 0.0)))


def test_a_mirrored_picture_has_the_vector_with_the_signs_turned(footage: Path) -> None:
    looks = fingerprint(walk(footage, "tokyo", 5))
    mirrored = np.ascontiguousarray(looks[:, :, ::-1])
    np.testing.assert_allclose(vector(mirrored), vector(looks) * MIRRORED, atol=1e-5)


def test_likeness_tells_copies_from_strangers(footage: Path) -> None:
    looks = {name: fingerprint(walk(footage, name, 9)) for name in STILLS}
    for name, ours in looks.items():
        crop = fingerprint(walk(footage, name, 9)[:, 12:180, 20:236])
        assert np.median(likeness(crop, ours)) > 0.8
        assert np.median(likeness(ours, crop)) > 0.8
        for other in looks.keys() - {name}:
            assert np.median(likeness(ours, looks[other])) < 0.6


def test_pictures_stay_few_however_long_a_file_is() -> None:
    frame = np.zeros((8, 8), np.uint8)
    pictures = Pictures((t / 4, frame) for t in range(20_000))
    assert len(pictures.fingerprint(0, 5000, (0, 0, 0, 0))) == 8 * 24 * 24
    assert len(pictures._kept) < 8192


@pytest.fixture
def comparing(config: CurateConfig, tally: Tally) -> CurateConfig:
    Path(config.source).mkdir()
    changes = {"max_likeness": 0.84, "captioner": "describer", "sources_per_part": 5, "max_removed": 1.0}
    return config.model_copy(update=changes)


def write(folder: Path, footage: Path, names: tuple[str, ...], kinds: tuple[str, ...]) -> None:
    for name in names:
        frames = walk(footage, name)
        encode_mp4(folder / f"{name}.mp4", frames, 8)
        for kind in kinds:
            pixels, crf = copied(frames)[kind]
            encode_mp4(folder / f"{name}-{kind}.mp4", np.ascontiguousarray(pixels), 8, crf=crf)


def kept(config: CurateConfig) -> set[str]:
    rows = ledger.read_rows(config.output, ["uri", "clip_id", "status"]).to_pylist()
    return {Path(row["uri"]).stem for row in rows if row["clip_id"] and row["status"] == "kept"}


def test_the_best_of_each_cluster_is_kept_and_the_others_name_it(
    comparing: CurateConfig, tally: Tally, footage: Path
) -> None:
    kinds = ("coarse", "half", "cropped", "mirrored", "trimmed", "boxed")
    write(Path(comparing.source), footage, ("tokyo", "fruits"), kinds)
    write(Path(comparing.source), footage, ("flower",), ())
    curate(comparing)
    assert len({name.partition("-")[0] for name in kept(comparing)}) == len(kept(comparing)) == 3
    assert not {name for name in kept(comparing) if "boxed" in name or "half" in name}
    assert tally.counts["encode"] == 3, "no copy is encoded"
    rows = ledger.read_rows(comparing.output, ["uri", "clip_id", "status", "reason", "same_as"]).to_pylist()
    clips = {row["clip_id"]: row for row in rows if row["clip_id"]}
    for clip in clips.values():
        if clip["status"] == "dropped":
            assert clip["reason"] == "near_duplicate"
            original = clips[clip["same_as"]]
            assert original["status"] == "kept"
            assert Path(original["uri"]).name.partition("-")[0].partition(".")[0] in clip["uri"]
    assert "= tokyo-half.mp4" in storage.read_bytes(storage.join(comparing.output, "report.html")).decode()
    assert any(row["same_as"] for row in find("tokyo-half.mp4", comparing.output))
    tally.counts.clear()
    curate(comparing)
    assert tally.counts.total() == 0, "nothing is left to do"


def test_better_footage_that_comes_later_takes_the_place(
    comparing: CurateConfig, tally: Tally, footage: Path, tmp_path: Path
) -> None:
    source = Path(comparing.source)
    frames = walk(footage, "tokyo")
    encode_mp4(source / "small.mp4", np.ascontiguousarray(frames[:, ::2, ::2]), 8)
    write(source, footage, ("london",), ())
    curate(comparing)
    assert kept(comparing) == {"small", "london"}
    tally.counts.clear()
    encode_mp4(source / "whole.mp4", frames, 8)
    curate(comparing)
    assert kept(comparing) == {"whole", "london"}
    assert (tally.counts["examine"], tally.counts["encode"]) == (1, 1)
    fresh = comparing.model_copy(update={"output": str(tmp_path / "fresh")})
    curate(fresh)
    assert ids(fresh) == ids(comparing)


def test_judge_compares_again_without_a_look(comparing: CurateConfig, tally: Tally, footage: Path) -> None:
    write(Path(comparing.source), footage, ("tokyo", "london"), ("half",))
    apart = comparing.model_copy(update={"max_likeness": None})
    curate(apart)
    assert len(kept(apart)) == 4
    tally.counts.clear()
    judge_again(comparing)
    assert kept(comparing) == {"tokyo", "london"}
    judge_again(apart)
    assert tally.counts.total() == 0
    assert kept(apart) == {"tokyo", "london"}, "the copies have lost their latents, and wait"


def test_peoples_words_go_before_quality(comparing: CurateConfig, footage: Path) -> None:
    write(Path(comparing.source), footage, ("tokyo",), ("half",))
    (Path(comparing.source) / "tokyo-half.txt").write_text("a tower")
    curate(comparing)
    assert kept(comparing) == {"tokyo-half"}


def test_large_corpora_are_searched_by_the_graph_with_the_same_answer(
    comparing: CurateConfig, footage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(Path(comparing.source), footage, ("tokyo", "london"), ("half",))
    monkeypatch.setattr(copies, "_EXACT", 0)
    curate(comparing)
    assert kept(comparing) == {"tokyo", "london"}


def ids(config: CurateConfig) -> set[str]:
    manifest = shards.read_manifest(config.output)
    return {row.clip_id for shard in manifest.shards for row in shards.read_rows(config.output, shard)}
