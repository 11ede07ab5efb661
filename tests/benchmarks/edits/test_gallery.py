"""The gallery shows every kind of edit, and its sheets tell new frames from the source's own."""

import numpy as np
import pytest

from benchmarks.edits.gallery import NEW, OWN, Piece, pieces, scene, sheet
from sora_core.edits import Extend, Room, Transition, plan_windows
from sora_core.edits.spec import ability
from sora_core.pipeline.editing import fit_sources
from sora_core.shapes import Compression, Patch, PixelShape
from sora_core.training.masks import KINDS

ROOM = Room(Compression(), Patch(), 80, 320, 64, frozenset(KINDS))


def test_every_edit_is_shown_and_can_be_made() -> None:
    shown = {"character" if piece.reference is not None else ability(piece.asked) for piece in pieces()}
    assert len(shown) == 11
    for piece in pieces():
        fitted = fit_sources(piece.asked, piece.sources)
        assert plan_windows(piece.asked, [PixelShape(*source.shape[:3]) for source in fitted], ROOM).windows


@pytest.mark.parametrize(("asked", "new"), [(Extend(16), 16 / 33), (Transition(8), 8 / 42)])
def test_borders_say_which_frames_are_new(asked: Extend | Transition, new: float) -> None:
    source = scene("a red ball moves right over grass", 4)
    sources = [source] * (2 if isinstance(asked, Transition) else 1)
    film = np.zeros((17 * len(sources) + asked.num_frames, 64, 64, 3), np.uint8)
    picture = sheet([(Piece("x", asked, sources, ""), film)])
    counts = [int((picture == colour).all(axis=-1).sum()) for colour in (NEW, OWN)]
    assert counts[0] / sum(counts) == pytest.approx(new, abs=0.1)
