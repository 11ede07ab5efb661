"""Image models that look at about a frame a second: words, indecency, and whatever else comes as ONNX weights."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from jobs.curate.config import Models
from sora_core import installed, storage
from sora_core.errors import ConfigError, StorageError
from sora_core.media import Frame, StillFrame, hand_over
from sora_core.safety.gate.pictures import SIDE, middle, session

_ERRORS = (
    ort.Fail, ort.InvalidArgument, ort.InvalidGraph, ort.InvalidProtobuf, ort.NoModel, ort.NotImplemented,
    ort.RuntimeException,
)  # fmt: skip
# Pixels of what the detector of words sees: so that those on an upright picture, too, are large enough.
_TEXT_AREA, _TEXT_MULTIPLE = 256 * 448, 32
_IS_TEXT = 0.3
# A line of words is so many times as wide as high; a bird or a patterned box isn't.
_LEAST_WIDTH = 2.0
_DEFAULT_SIDE = 224


class ImageModel(ABC):
    """A network that gives a picture one score."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        [self._input] = session.get_inputs()

    @abstractmethod
    def score(self, picture: Frame) -> float:
        """What it says of one picture."""

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        output: np.ndarray = self._session.run(None, {self._input.name: pixels})[0]
        return output


class TextDetector(ImageModel):
    """The share of a picture that words cover, by a DBNet detector such as PP-OCR's."""

    def score(self, picture: Frame) -> float:
        small = picture.rgb(_TEXT_MULTIPLE)
        frame = picture.rgb(round((_TEXT_AREA * small.shape[0] / small.shape[1]) ** 0.5))
        height, width = (max(1, round(side / _TEXT_MULTIPLE)) * _TEXT_MULTIPLE for side in frame.shape[:2])
        bgr = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)[..., ::-1]
        words = self._run((bgr.transpose(2, 0, 1)[None] / np.float32(127.5) - 1).astype(np.float32))
        if words.shape != (1, 1, height, width):
            raise ValueError(f"gives {words.shape}, not (1, 1, {height}, {width})")
        _, _, boxes, _ = cv2.connectedComponentsWithStats((words[0, 0] > _IS_TEXT).astype(np.uint8))
        _, _, across, down, area = boxes[1:].T
        return float(area[across >= _LEAST_WIDTH * down].sum() / (height * width))


class OpenNsfw(ImageModel):
    """The probability that a picture is indecent, by Yahoo's open_nsfw."""

    def score(self, picture: Frame) -> float:
        frame = cv2.resize(picture.rgb(SIDE), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        classes = self._run(middle(frame))
        if classes.shape != (1, 2):
            raise ValueError(f"gives {classes.shape}, not (1, 2)")
        return float(classes[0, 1])


class Scorer(ImageModel):
    """Any network of RGB from 0 to 1, ``(1, 3, h, w)``, that gives one number."""

    def score(self, picture: Frame) -> float:
        height, width = (side if isinstance(side, int) else _DEFAULT_SIDE for side in self._input.shape[2:])
        frame = cv2.resize(picture.rgb(height), (width, height), interpolation=cv2.INTER_AREA)
        number = self._run((frame.transpose(2, 0, 1)[None] / 255).astype(np.float32))
        if number.size != 1:
            raise ValueError(f"gives {number.shape}, not one number")
        return float(number.item())


_KINDS: Mapping[str, type[ImageModel]] = {
    "text": TextDetector, "indecency": OpenNsfw, "aesthetic": Scorer, "watermark": Scorer,
}  # fmt: skip


@lru_cache(maxsize=1)
def load(models: Models) -> dict[str, ImageModel]:
    """The models that the config names, by the score they give; kept for the next source. ConfigError names the one
    that isn't there or is of another kind."""
    return {name: _loaded(name, uri) for name, uri in models.weights().items()}


def at_hand(models: Models, folder: Path) -> Models:
    """The same models with weights that lie in a storage fetched to ``folder``, for a process without its keys."""
    local = {}
    for name, uri in models.weights().items():
        if storage.is_s3(uri):
            local[name] = str(folder / f"{name}.onnx")
            Path(local[name]).write_bytes(_read(name, uri))
            hand_over(Path(local[name]))
    hand_over(folder)
    return models.model_copy(update=local)


def fingerprints(models: Models) -> dict[str, str]:
    """What scores depend on: the contents of every file of weights. ConfigError names the one that isn't there."""
    return {name: hashlib.sha256(_read(name, uri)).hexdigest() for name, uri in models.weights().items()}


def _read(name: str, uri: str) -> bytes:
    try:
        file = installed.find(uri)
        return file.read_bytes() if file else storage.read_bytes(uri)
    except (StorageError, OSError) as error:
        raise ConfigError(f"models.{name} = {uri!r} can't be read ({error}); correct it, or leave it empty") from error


def _loaded(name: str, uri: str) -> ImageModel:
    try:
        model = _KINDS[name](session(_read(name, uri)))
        model.score(StillFrame(0.0, np.full((64, 64, 3), 128, np.uint8)))
    except (*_ERRORS, ValueError) as error:
        raise ConfigError(
            f"models.{name} = {uri!r} is no ONNX model of this kind ({str(error)[:200]}); `jobs.curate.measure.models` "
            "says what goes in and out"
        ) from error
    return model
