"""The local judge of pictures: Yahoo's open_nsfw, which tells indecency and nothing else."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float

from sora_core.errors import ConfigError
from sora_core.safety.gate.verdict import Finding, Opinion, Picture, Shown

SIDE = 256
_CROP = 224
_MEAN = np.array([104, 117, 123], np.float32)
_DIGITS = 3
_CLIP = 3  # of so many frames and more one alone may be a mistake


def network_input(frame: Picture) -> Float[np.ndarray, "1 224 224 3"]:
    """A picture as the network reads it: BGR less its mean, the middle of 256x256."""
    shrinks = min(frame.shape[:2]) > SIDE
    small = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return middle(small)


def middle(picture: Picture) -> Float[np.ndarray, "1 224 224 3"]:
    """The middle of a picture of 256x256, in BGR less its mean."""
    edge = (SIDE - _CROP) // 2
    pixels: np.ndarray = picture[edge:-edge, edge:-edge, ::-1].astype(np.float32) - _MEAN
    return pixels[None]


def session(weights: bytes) -> Any:
    """An ONNX network to be run on one thread; onnxruntime's own errors for weights that are none."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])


def open_network(weights: bytes) -> Any:
    """The network of a file of weights, to be run on one thread. ConfigError for one that is none."""
    from onnxruntime.capi import onnxruntime_pybind11_state as ort

    wrong = (ort.Fail, ort.InvalidArgument, ort.InvalidGraph, ort.InvalidProtobuf, ort.NoModel, ort.NotImplemented)
    try:
        return session(weights)
    except wrong as error:
        raise ConfigError(f"these weights are no ONNX network: {str(error)[:200]}") from error


@dataclass(frozen=True, slots=True)
class PictureJudge:
    """Objects to pictures whose score is at least ``threshold``; from ``margin`` below to ``margin`` above it isn't
    sure. Of a clip the second highest score counts: one frame alone may be a mistake."""

    network: Any
    threshold: float
    margin: float

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
        classes = self.network.run(None, {self.network.get_inputs()[0].name: network_input(image)})[0]
        return round(float(classes[0, 1]), _DIGITS)
