"""Pictures that clients send: bounded in bytes, pixels and frames by their headers, before anything is decoded."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, UnidentifiedImageError

from services.video.config import ApiSettings
from services.video.errors import refused
from services.video.intake.data_urls import content_of, is_data_url
from services.video.intake.decoders import Decoders
from services.video.outbound import ForbiddenAddress, Outbound, OutboundError
from services.video.schemas import ImageReference
from sora_core import media
from sora_core.errors import UnreadableMedia

REFERENCE = "input_reference"
_FORMATS = ("JPEG", "PNG", "WEBP")


class Pictures:
    """Reads pictures within the limits; safe to use from several threads."""

    def __init__(self, limits: ApiSettings, decoders: Decoders) -> None:
        self._limits = limits
        self._outbound = Outbound(limits.outbound)
        self._decoders = decoders

    def read(
        self, file: Path | None, reference: ImageReference | None, param: str = REFERENCE
    ) -> UInt8[np.ndarray, "h w 3"] | None:
        """The pixels of a whole, small enough picture, or None when there is none; ApiError 400 with the numbers."""
        return self._decoded(file, reference, param, media.decode_image)

    def transparency(
        self, file: Path | None, reference: ImageReference | None, param: str
    ) -> Bool[np.ndarray, "h w"] | None:
        """Where such a picture is fully transparent."""
        return self._decoded(file, reference, param, media.decode_transparency)

    def _decoded(
        self,
        file: Path | None,
        reference: ImageReference | None,
        param: str,
        decode: Callable[[bytes], np.ndarray],
    ) -> np.ndarray | None:
        if file is not None:
            self._check_bytes(file.stat().st_size, param)
            data = file.read_bytes()
        elif reference is not None:
            data = self._referred(reference.image_url, param)
            self._check_bytes(len(data), param)
        else:
            return None
        try:
            self._check_header(data, param)
            with self._decoders.process() as process:
                return process.call(decode, data)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise refused(param, f"{error}: at most {self._limits.max_image_pixels}", "too_large") from error
        except (UnidentifiedImageError, UnreadableMedia, OSError, ValueError) as error:
            message = f"not a picture that can be read ({error}): send a JPEG, PNG or WebP"
            raise refused(param, message, "invalid_image") from error

    def _check_bytes(self, size: int, param: str) -> None:
        if size > self._limits.max_upload_bytes:
            raise refused(param, f"{size} bytes: at most {self._limits.max_upload_bytes}", "too_large")

    def _check_header(self, data: bytes, param: str) -> None:
        with Image.open(BytesIO(data), formats=_FORMATS) as header:
            pixels, most = header.width * header.height, self._limits.max_image_pixels
            if pixels > most:
                raise refused(param, f"{header.width}x{header.height} is {pixels} pixels: at most {most}", "too_large")
            if getattr(header, "is_animated", False) and header.format != "MPO":  # a phone's picture and its preview
                raise refused(param, "an animation: send one picture", "invalid_image")

    def _referred(self, url: str, param: str) -> bytes:
        if is_data_url(url):
            try:
                return content_of(url)
            except ValueError as error:
                raise refused(param, f"image_url: {error}") from error
        if not self._limits.fetch_urls:
            raise refused(param, "image_url must be a data URL (data:image/png;base64,...): URLs are not fetched here")
        return fetched(self._outbound, url, param, self._limits.max_upload_bytes)


def fetched(outbound: Outbound, url: str, param: str, most: int) -> bytes:
    """What lies at a URL that a client names, at most ``most`` bytes; ApiError 400 where there is nothing to be had."""
    try:
        return outbound.fetch(url, max_bytes=most)
    except ForbiddenAddress as error:
        raise refused(param, f"this URL may not be fetched: {error}", "forbidden_url") from error
    except OutboundError as error:
        raise refused(param, f"this URL can't be fetched: {error}", "invalid_url") from error


def cut_to_fill(picture: UInt8[np.ndarray, "h w 3"], height: int, width: int) -> UInt8[np.ndarray, "i j 3"]:
    """The picture scaled until it covers ``height x width``, then cut around its middle: never stretched."""
    scale = max(height / picture.shape[0], width / picture.shape[1])
    down, across = height / scale, width / scale
    top, left = (picture.shape[0] - down) / 2, (picture.shape[1] - across) / 2
    box = (left, top, left + across, top + down)
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC, box))
