"""One look at a source gives clips with scores and verdicts, or a reason; nothing is lost, nothing raises."""

import json
from collections import Counter
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from jobs.curate.books.ledger import source_verdict
from jobs.curate.config import CurateConfig
from jobs.curate.listing import make_plan
from jobs.curate.measure.describe import CAPTIONER, Movement, colour_shares, describe, movement
from jobs.curate.measure.score import Meter, look_at_image
from jobs.curate.rows import (
    Examined,
    Scores,
    Source,
    examined_from_table,
    examined_to_table,
    part_from_table,
    part_to_item,
)
from jobs.curate.stages.examine import examine
from jobs.curate.stages.pixels import decode_pixels
from sora_core import storage
from sora_core.media import StillFrame, decode_image, encode_mp4, play
from sora_core.shapes import fit_area
from tests.sora_core.media.made_files import Made, joined, make

Verdicts = dict[str, tuple[str, str | None]]
LARGER = {"a_watch_blur.mp4"}


@pytest.fixture
def examined(verdicts: Verdicts, config: CurateConfig) -> dict[str, Examined]:
    plan = make_plan(config, {})
    rows = [examine(source, config) for source in plan.sources] + plan.others
    return {Path(row.source.uri).name: row for row in rows}


def test_every_source_has_the_verdict_that_it_deserves(examined: dict[str, Examined], verdicts: Verdicts) -> None:
    assert {name: source_verdict(row) for name, row in examined.items()} == verdicts


def test_clips_have_ids_of_their_own_that_stay_the_same(examined: dict[str, Examined], config: CurateConfig) -> None:
    ids = [clip.clip_id for row in examined.values() for clip in row.clips]
    assert len(set(ids)) == len(ids)
    again = [examine(source, config) for source in make_plan(config, {}).sources]
    assert [clip.clip_id for row in again for clip in row.clips] == ids


def test_rows_survive_the_trip_between_actors(examined: dict[str, Examined]) -> None:
    rows = list(examined.values())
    assert examined_from_table(examined_to_table(rows)) == rows
    sources = [row.source for row in rows]
    assert part_from_table(pa.Table.from_pylist([part_to_item(sources)])) == sources


def test_real_footage_is_accounted_for(collection: Path, tmp_path: Path, config: CurateConfig) -> None:
    """Each small real file, the broken ones too."""
    (tmp_path / "in").mkdir()
    files = [path for path in collection.iterdir() if path.stat().st_size < 150_000 or path.name in LARGER]
    for path in files:
        (tmp_path / "in" / path.name).symlink_to(path)
    plan = make_plan(config, {})
    rows = [examine(source, config) for source in plan.sources] + plan.others
    verdicts = {Path(row.source.uri).name: source_verdict(row) for row in rows}
    assert verdicts.keys() == {path.name for path in files}
    assert verdicts["zz_empty.avi"] == ("failed", "empty_file")
    assert verdicts["a_fragmented_baddur.mp4"] == ("failed", "no_decodable_frames")
    assert verdicts["a_watch_blur.mp4"] == ("dropped", "blurred")
    assert verdicts["ph_fruits.jpg"] == ("kept", None)
    assert Counter(status for status, _ in verdicts.values())["kept"] >= 3
    assert "internal_error" not in {reason for _, reason in verdicts.values()}


def picture(footage: Path) -> np.ndarray:
    return decode_image(footage / "ph_tokyo.jpg", (192, 144))


def score_image(frame: np.ndarray) -> Scores:
    return look_at_image(frame).scores(0.0, 99.0)


def test_scores_tell_damage_from_its_original(footage: Path) -> None:
    sharp = picture(footage)
    whole = score_image(sharp)
    assert whole.sharpness is not None
    assert whole.contrast is not None
    blurred = score_image(cv2.GaussianBlur(sharp, (0, 0), 4))
    assert blurred.sharpness is not None
    assert blurred.sharpness < 0.1 * whole.sharpness
    faint = score_image((sharp * 0.1 + 100).astype(np.uint8))
    assert faint.contrast == pytest.approx(0.1 * whole.contrast, rel=0.05)
    assert score_image(np.full_like(sharp, 7)) == Scores(sharpness=None, luma=7, contrast=0, bars=0, blockiness=0)
    assert whole.motion is None


def test_motion_is_measured_per_second_and_diagonal(footage: Path) -> None:
    still = picture(footage)
    speed, fps = 3, 10.0
    frames = [np.roll(still, speed * i, axis=1) for i in range(11)]

    def motion(scale: float, times: float) -> float:
        meter = Meter()
        for i, frame in enumerate(frames):
            small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            meter.add(StillFrame(i / fps * times, small))
        found = meter.scores(0, 99).motion
        assert found is not None
        return found

    expected = speed / np.hypot(192, 144) * 100 * fps
    assert motion(1, 1) == pytest.approx(expected, rel=0.25)
    assert motion(1, 2) == pytest.approx(expected / 2, rel=0.25)
    assert motion(0.5, 1) == pytest.approx(expected, rel=0.35)


def test_frozen_is_the_share_of_repeated_frames(footage: Path) -> None:
    still = picture(footage)
    meter = Meter()
    for i in range(12):
        meter.add(StillFrame(i / 8, np.roll(still, 5 * max(0, i - 8), axis=1)))
    assert meter.scores(0, 9 / 8).frozen == 1.0
    assert meter.scores(8 / 8, 12 / 8).frozen == 0.0
    assert meter.scores(0, 12 / 8).motion != 0


def test_equal_frames_count_as_the_clip_shows_them(footage: Path) -> None:
    """30 frames a second in a file of 60 are whole at 15, and every other one is a repetition at 60."""
    still = picture(footage)
    meter = Meter()
    for number in range(60):
        meter.add(StillFrame(number / 60, np.roll(still, 5 * (number // 2), axis=1)))
    own, slower, faster = (meter.scores(0, 1, fps) for fps in (None, 15, 120))
    assert own.frozen == own.duplicated == pytest.approx(0.5, abs=0.02)
    assert slower.frozen == slower.duplicated == 0
    assert faster.frozen == pytest.approx(0.75, abs=0.02)


def test_what_moves_alone_on_plain_ground_is_no_shake() -> None:
    """A ball that hops over a lawn, and the same hops of the whole picture."""
    rng = np.random.default_rng(0)
    hops = rng.integers(-9, 10, 25)
    lawn = np.full((72, 128, 3), 90, np.uint8)
    texture = cv2.resize(rng.integers(0, 255, (12, 21, 3), np.uint8), (128, 72))
    ball, camera = Meter(), Meter()
    for number, hop in enumerate(hops):
        frame = cv2.circle(lawn.copy(), (64 + 3 * int(hop), 40 + int(hop)), 9, (200, 40, 40), -1)
        ball.add(StillFrame(number / 25, np.clip(frame + rng.integers(0, 6, frame.shape), 0, 255).astype(np.uint8)))
        camera.add(StillFrame(number / 25, np.roll(texture, int(hop) // 2, axis=1)))
    lone, whole = ball.scores(0, 1).shake, camera.scores(0, 1).shake
    assert lone is not None
    assert whole is not None
    assert lone < 0.4 < whole


def test_h264_tells_how_coarsely_it_was_coded(footage: Path, tmp_path: Path) -> None:
    frames = np.stack([np.roll(picture(footage), 4 * number, axis=1) for number in range(9)])
    found = {}
    for crf in (18, 45):
        encode_mp4(tmp_path / f"{crf}.mp4", frames, 8, crf=crf)
        meter = Meter()
        with play(tmp_path / f"{crf}.mp4") as (_, played):
            for frame in played:
                meter.add(frame)
        found[crf] = meter.scores(0, 2).quantiser
    assert found[18] is not None
    assert found[45] is not None
    assert found[18] < 36 < found[45]
    assert score_image(frames[0]).quantiser is None


def test_bars_are_measured_in_pairs(footage: Path) -> None:
    framed = picture(footage)
    framed[:24], framed[-24:] = 0, 0
    assert score_image(framed).bars == pytest.approx(48 / 192, abs=0.02)


def test_a_sidecar_speaks_for_its_clip(verdicts: Verdicts, config: CurateConfig) -> None:
    (Path(config.source) / "wordless.mp4.json").write_text(json.dumps({"caption": "now with words", "licence": "MIT"}))
    [source] = [item for item in make_plan(config, {}).sources if item.uri.endswith("wordless.mp4")]
    row = examine(source, config)
    assert (row.source.caption, row.source.licence) == ("now with words", "MIT")
    assert source_verdict(row) == ("kept", None)


def test_the_describer_speaks_for_clips_that_nobody_captioned(verdicts: Verdicts, config: CurateConfig) -> None:
    speaking = config.model_copy(update={"captioner": "describer"})
    rows = {Path(source.uri).name: examine(source, speaking) for source in make_plan(speaking, {}).sources}
    [wordless] = rows["wordless.mp4"].clips
    assert (wordless.status, wordless.captioner) == ("kept", CAPTIONER)
    assert wordless.caption == wordless.description
    assert wordless.caption.startswith("A video in yellow")
    assert wordless.caption.endswith("1.1 seconds long.")
    [red] = rows["red-64.mp4"].clips
    assert (red.caption, red.captioner) == ("red stripes", "table")
    assert red.description.startswith("A video in red and brown")


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (np.array([[1, 0, 4], [0, 1, 0]]), "pans left"),
        (np.array([[1, 0, -4], [0, 1, 0]]), "pans right"),
        (np.array([[1, 0, 0], [0, 1, 3]]), "tilts up"),
        (np.array([[1, 0, 0], [0, 1, -3]]), "tilts down"),
        (cv2.getRotationMatrix2D((96, 72), 0, 1.04), "moves in"),
        (cv2.getRotationMatrix2D((96, 72), 0, 0.96), "moves out"),
        (cv2.getRotationMatrix2D((96, 72), 2, 1), "turns"),
        (np.eye(2, 3), "stands still"),
    ],
)
def test_the_camera_is_told_from_the_picture_s_flow(matrix: np.ndarray, expected: str, footage: Path) -> None:
    still = cv2.resize(picture(footage), (192, 144))
    moved = cv2.warpAffine(still, matrix.astype(np.float32), (192, 144), borderMode=cv2.BORDER_REFLECT)
    meter = Meter()
    for number in range(3):
        meter.add(StillFrame(number / 3.9, moved if number % 2 else still))
        meter._previous = StillFrame(0, still)
    long, _ = meter.describe(0.2, 0.4)
    assert expected in long
    said = [
        verb for verb in ("pans", "tilts", "moves in", "moves out", "turns", "stands") if verb in long.split(";")[1]
    ]
    assert len(said) == 1


def test_things_that_move_alone_are_no_camera() -> None:
    flow = np.zeros((96, 128, 2), np.float32)
    flow[30:50, 40:70, 0] = 6
    found = movement(flow, 0.1)
    assert abs(found.right) < 1
    assert found.rest > 1
    assert "the camera stands still; there is some movement" in describe([], [found], 100, 1.0)[0]
    assert (
        describe([colour_shares(np.full((8, 8, 3), 20, np.uint8))], [], 20, 0)[0]
        == "A dark photograph in mostly black."
    )
    assert describe([], [Movement(20, 0, 0, 0, 0)], 200, 2)[1] == "A bright video, the camera pans left quickly."


def test_a_picture_size_that_changes_begins_a_clip_of_its_own_shape(config: CurateConfig, tmp_path: Path) -> None:
    """As recordings of streams and discs have it; the picture itself goes on."""
    sizes = [(64, 128), (64, 64), (32, 64)]
    parts = [make(tmp_path / f"{size}.ts", Made("mpegts", frames=18, size=size)) for size in sizes]
    path = joined(tmp_path / "whole.ts", parts)
    item = storage.head(str(path))
    row = examine(Source(item.uri, item.etag, item.size, "k", "m"), config)
    fits = [fit_area(*size, config.max_area) for size in sizes]
    found = [(size, next(clips)) for size, clips in groupby(row.clips, lambda clip: (clip.height, clip.width))]
    assert [size for size, _ in found] == [(fit.height, fit.width) for fit in fits]
    assert [round(first.start_s * 25) for _, first in found] == [0, 18, 36]
    assert max(clip.end_s * 25 for clip in row.clips) <= 54.01


def test_black_bars_are_cut_off(footage: Path, config: CurateConfig) -> None:
    Path(config.source).mkdir()
    inner = cv2.resize(picture(footage), (160, 90), interpolation=cv2.INTER_AREA)
    framed = np.zeros((9, 120, 160, 3), np.uint8)
    framed[:, 15:105] = [np.roll(inner, 4 * number, axis=1) for number in range(9)]
    encode_mp4(Path(config.source) / "letterbox.mp4", framed, 8)
    (Path(config.source) / "letterbox.txt").write_text("a street")
    [source] = make_plan(config, {}).sources
    [clip] = examine(source, config).clips
    assert clip.scores.bars == pytest.approx(30 / 120, abs=0.02)
    assert clip.width / clip.height == pytest.approx(160 / 90, abs=0.3)
    [pixels] = decode_pixels(Path(source.uri), "video", [clip])
    assert pixels.shape == (9, clip.height, clip.width, 3)
    assert pixels.max(axis=(0, 2, 3)).min() > 60, "every row has something of the picture"
