"""What files look like, on both databases: found by any process, the newest attempt alone, and plain ones never."""

import cv2
import numpy as np

from services.video.ledger import Ledger
from services.video.provenance.likenesses import SPAN_S, Likenesses, spans
from sora_core.likeness import Pictures

FPS = 8.0


def film(seed: int, seconds: float = 4.0) -> list[np.ndarray]:
    """Grey frames of blots that drift."""
    random = np.random.default_rng(seed)
    wide = cv2.GaussianBlur(random.uniform(0, 255, (48, 200)).astype(np.float32), (0, 0), 3)
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return [wide[:, 2 * index : 2 * index + 64] for index in range(int(seconds * FPS))]


def looks(frames: list[np.ndarray]) -> list[bytes]:
    pictures = Pictures((index / FPS, frame) for index, frame in enumerate(frames))
    return list(spans(pictures, len(frames) / FPS))


def test_a_part_is_found_by_another_process_and_strangers_are_not(ledger: Ledger) -> None:
    writer, reader = Likenesses(ledger), Likenesses(ledger)
    for seed in range(5):
        writer.remember(f"video_{seed}", looks(film(seed)))
    [part] = looks(film(3)[int(SPAN_S * FPS) :])
    found = reader.find([part])
    assert found is not None
    assert (found.job_id, found.likeness) == ("video_3", 1.0)
    [mirrored] = looks([frame[:, ::-1] for frame in film(2)[:16]])
    assert (again := reader.find([mirrored])) is not None
    assert again.job_id == "video_2"
    assert reader.find(looks(film(99))) is None


def test_what_an_earlier_attempt_left_is_replaced_and_new_ones_are_taken_up(ledger: Ledger) -> None:
    known = Likenesses(ledger)
    assert known.find(looks(film(1))) is None
    known.remember("video_a", looks(film(1)))
    assert known.find(looks(film(1))) is not None
    known.remember("video_a", looks(film(7)))
    assert known.find(looks(film(1))) is None
    assert (found := known.find(looks(film(7)))) is not None
    assert found.job_id == "video_a"


def test_a_plain_picture_says_nothing(ledger: Ledger) -> None:
    known = Likenesses(ledger)
    plain = looks([np.full((48, 64), 90, np.uint8)] * 8)
    known.remember("video_a", plain)
    assert known.find(plain) is None
