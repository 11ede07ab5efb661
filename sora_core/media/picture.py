"""Photographs: one frame, upright, RGB."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from sora_core.errors import UnreadableMedia

# Pillow's own plugins that read pictures and start no other program.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "GIF")
# Below twice Pillow's own limit, from where on it refuses by itself.
MAX_PICTURE_PIXELS = 1 << 27
_ORIENTATION = 0x0112
_ROTATION = {3: 180, 4: 180, 6: -90, 5: -90, 8: 90, 7: 90}
_MIRRORED = frozenset({2, 4, 5, 7})


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """A picture file's header; sides are as displayed, ``rotation`` in degrees counter-clockwise."""

    height: int
    width: int
    rotation: int
    is_mirrored: bool
    format: str
    mode: str


def open_image(path: Path) -> ImageHeader | None:
    """The header of a still picture; None for anything else, animations included."""
    try:
        with _opened(path) as image:
            # A phone's MPO holds a picture and its preview, no animation.
            if getattr(image, "is_animated", False) and image.format != "MPO":
                return None
            if image.width * image.height > MAX_PICTURE_PIXELS:
                raise _too_large(path.name, f"{image.width}x{image.height}", MAX_PICTURE_PIXELS)
            orientation = image.getexif().get(_ORIENTATION, 1)
            width, height = image.size[::-1] if orientation >= 5 else image.size
            return ImageHeader(
                height,
                width,
                _ROTATION.get(orientation, 0),
                orientation in _MIRRORED,
                str(image.format).lower(),
                image.mode,
            )
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError as error:
        raise _too_large(path.name, str(error), MAX_PICTURE_PIXELS) from error


def decode_image(
    source: Path | str | bytes, size: tuple[int, int] | None = None, *, max_pixels: int = MAX_PICTURE_PIXELS
) -> np.ndarray:
    """A photograph as uint8 ``(h, w, 3)``: EXIF orientation applied, transparency laid on white, area-scaled.

    UnreadableMedia for anything that isn't a whole picture (``truncated_image``, ``damaged_image``,
    ``bad_dimensions``, ``unreadable_image``).
    """
    pixels = _decoded(source, _rgb, max_pixels)
    if size is None or pixels.shape[:2] == size:
        return pixels
    resized: np.ndarray = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
    return resized


def decode_transparency(source: Path | str | bytes, *, max_pixels: int = MAX_PICTURE_PIXELS) -> np.ndarray:
    """Where a picture shows nothing at all (alpha 0), bool ``(h, w)``; the errors of `decode_image`."""
    transparent: np.ndarray = _decoded(source, _alpha, max_pixels) == 0
    return transparent


def _alpha(image: Image.Image) -> Image.Image:
    return image.convert("RGBA").getchannel("A")


def _decoded(source: Path | str | bytes, convert: Callable[[Image.Image], Image.Image], max_pixels: int) -> np.ndarray:
    """A whole picture, upright, as ``convert`` leaves it."""
    name = "the image" if isinstance(source, bytes) else Path(source).name
    try:
        with _opened(source) as image:
            if image.width * image.height > max_pixels:
                raise _too_large(name, f"{image.width}x{image.height}", max_pixels)
            is_jpeg = image.format in ("JPEG", "MPO")
            pixels = np.array(convert(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError as error:
        raise UnreadableMedia(
            f"{name} is no picture that this build reads; use JPEG, PNG or WebP", reason="unreadable_image"
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(name, str(error), max_pixels) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableMedia(f"{name} is cut short or damaged ({error})", reason="truncated_image") from error
    if is_jpeg and not _is_whole_jpeg(source):
        raise UnreadableMedia(f"{name}: part of the picture is missing; upload it again", reason="damaged_image")
    return pixels


def _too_large(name: str, size: str, max_pixels: int) -> UnreadableMedia:
    return UnreadableMedia(f"{name}: {size}, more than {max_pixels} pixels; scale it down", reason="bad_dimensions")


def _is_whole_jpeg(source: Path | str | bytes) -> bool:
    """Whether every block of a JPEG is there; Pillow fills what is missing with grey and says nothing."""
    file = io.BytesIO(source) if isinstance(source, bytes) else f"file:{source}"
    try:
        with av.open(file, format="jpeg_pipe") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            stream.codec_context.options = {"err_detect": "explode"}
            return next(container.decode(stream), None) is not None
    except FFmpegError:
        return False


@contextmanager
def _opened(source: Path | str | bytes) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        # Damaged EXIF and very large sizes warn; the first is harmless, the second is checked here.
        warnings.simplefilter("ignore")
        stream = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
        with Image.open(stream, formats=_FORMATS) as image:
            yield image


def _rgb(image: Image.Image) -> Image.Image:
    profile = _profile(image)
    if image.mode.startswith("I;16"):
        # Pillow clips 16-bit grey at 255 instead of scaling it.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        shown = Image.new("RGB", layer.size, "white")
        shown.paste(_in_srgb(layer.convert("RGB"), profile), mask=layer.getchannel("A"))
        return shown
    return _in_srgb(image, profile)


def _profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The colours that a picture is meant in, where they aren't what a viewer takes for granted."""
    stored = image.info.get("icc_profile")
    if not stored:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(stored))
        return None if ImageCms.getProfileDescription(profile).startswith("sRGB") else profile
    except (ImageCms.PyCMSError, OSError):
        return None


def _in_srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile | None) -> Image.Image:
    if profile:
        try:
            shown = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except ImageCms.PyCMSError:  # damaged, or of another kind of picture
            shown = None
        if shown is not None:
            return shown
    return image.convert("RGB")
