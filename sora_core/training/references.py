"""Which clip of the same subject a training clip is given as its reference, as a function of the seed and the window.

A reference is given clean and at a place of its own (`sora_core.dit.packing`), so that a model learns to show the same
subject in another scene. Its tokens are known before packs are made, and count in them.
"""

from dataclasses import dataclass

import numpy as np

from sora_core.training.order import Ints

_OF_REFERENCES = 0x2EF5
"""Keeps these draws apart from the others of a window, which share the seed."""

KIND = "reference"
"""Its name among the kinds of given latents."""

MAX_REFERENCE_FRAMES = 5
"""Latent frames of a reference at most: what is learned is what may be asked for."""

MAX_REFERENCES = 1
"""Those of one clip."""

NONE = -1


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """For each of some clips, the clip that is its reference or `NONE`, how many of that one's first latent frames are
    given, and the tokens that they add."""

    clips: Ints
    frames: Ints
    tokens: Ints


class References:
    """Draws a reference for a share of the clips, each any other of the same subject.

    ``subjects`` has a number for each clip; ``tokens`` are the clips' lengths, ``frames`` how many frames of tokens
    they have, each of ``patch_frames`` latent ones. A clip that is alone with its subject gets none. Memory: some 20
    bytes a clip.
    """

    def __init__(
        self, subjects: Ints, tokens: Ints, frames: Ints, share: float, seed: int, patch_frames: int = 1
    ) -> None:
        self._subjects = subjects
        self._share = share
        self._seed = seed
        self._frames = frames
        self._patch_frames = patch_frames
        self._frame_tokens = tokens // frames
        self._alike = np.argsort(subjects, kind="stable").astype(np.int32)
        self._place = np.empty_like(self._alike)
        self._place[self._alike] = np.arange(len(subjects), dtype=np.int32)
        self._count = np.bincount(subjects)
        self._first = np.cumsum(self._count) - self._count

    @property
    def num_clips(self) -> int:
        """Clips that have another of their subject."""
        return int(self._count[self._count > 1].sum())

    def draw(self, window: int, clips: Ints, room: Ints) -> Drawn:
        """References of a window's clips; ``room`` is how many tokens each may add to its clip."""
        rng = np.random.default_rng((_OF_REFERENCES, self._seed, window))
        chance, which, length = rng.random((3, len(clips)))
        subject = self._subjects[clips]
        count, first = self._count[subject], self._first[subject]
        own = self._place[clips] - first
        others = np.maximum(1, count - 1)
        chosen = self._alike[first + (own + 1 + (which * others).astype(np.int64)) % count]
        most = np.minimum(self._frames[chosen], max(1, MAX_REFERENCE_FRAMES // self._patch_frames))
        frames = np.minimum(1 + (length * most).astype(np.int64), room // self._frame_tokens[chosen])
        given = (chance < self._share) & (count > 1) & (frames > 0)
        frames = np.where(given, frames, 0)
        tokens = frames * self._frame_tokens[chosen]
        return Drawn(np.where(given, chosen, NONE), frames * self._patch_frames, tokens)
