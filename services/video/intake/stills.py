"""Pictures that requests bring, as parts of an edit: stills at places of a video, and one that is itself edited."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from services.video.edit_schemas import DEFAULT_STRENGTH, EditStill
from services.video.errors import refused
from services.video.intake import regions
from services.video.intake.pictures import REFERENCE, Pictures, cut_to_fill
from services.video.intake.sizing import checked_size
from services.video.intake.sources import Part, as_made, filling
from services.video.schemas import CreateVideo, ImageReference, ModelCard
from sora_core import media
from sora_core.edits import Edit, Repaint, Restyle
from sora_core.shapes import Fit, PixelShape

IMAGE, MASK = "image", "mask"


class Stills:
    """Reads them within the limits; ApiError names what can't be used. Safe to use from several threads."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def at_places(
        self, wish: CreateVideo, files: Mapping[str, Path], shape: PixelShape, folder: Path
    ) -> dict[int, Part]:
        """The stills of a video to create by their index, each cut to the size of the film."""
        parts = {}

        def keep(index: int, picture: UInt8[np.ndarray, "h w 3"]) -> None:
            """Cut at once: sixteen of the largest would not lie in memory beside one another."""
            parts[index] = as_part(folder / f"still-{index}", cut_to_fill(picture, shape.height, shape.width))

        first = self._pictures.read(files.get(REFERENCE), wish.input_reference)
        if first is not None:
            keep(0, first)
        for still in wish.frame_images:
            index = {"first_frame": 0, "last_frame": shape.frames - 1}.get(still.frame_type or "", still.index or 0)
            if index in parts or index >= shape.frames:
                why = "given twice" if index in parts else f"the video has {shape.frames} frames"
                raise refused("frame_images", f"frame {index}: {why}")
            picture = self._pictures.read(None, ImageReference(image_url=still.image_url), "frame_images")
            assert picture is not None
            keep(index, picture)
        return dict(sorted(parts.items()))

    def edited(
        self, wish: EditStill, files: Mapping[str, Path], card: ModelCard, folder: Path
    ) -> tuple[Edit, list[Part]]:
        """The edit of a picture, and its parts. Without a size asked for, its own if the model makes that."""
        picture = self._pictures.read(files.get(IMAGE), wish.image, IMAGE)
        if picture is None:
            raise refused(IMAGE, f"parameter {IMAGE!r} is required: a file, or a data URL", "missing_parameter")
        if wish.size is None:
            fit = as_made(card, 1, wish.guidance_scale)(*picture.shape[:2])
        else:
            width, height = checked_size(wish.size, card.size_multiple)
            fit = filling(height, width)(*picture.shape[:2])
        still = as_part(folder / IMAGE, regions.fitted(picture, fit, Image.Resampling.BICUBIC))
        white = self._open_parts(wish, files, picture.shape[:2], fit)
        if white is None:
            return Restyle(wish.strength or DEFAULT_STRENGTH), [still]
        mask = as_part(folder / MASK, white)
        return Repaint(regions.of_mask(white[None], still.shape), True, wish.strength or 1.0), [still, mask]

    def _open_parts(
        self, wish: EditStill, files: Mapping[str, Path], size: tuple[int, ...], fit: Fit
    ) -> UInt8[np.ndarray, "h w 3"] | None:
        """The fully transparent parts of the mask as white, None when there is no mask."""
        transparent = self._pictures.transparency(files.get(MASK), wish.mask, MASK)
        if transparent is None:
            return None
        if transparent.shape != size:
            (height, width), (own_height, own_width) = transparent.shape, size
            raise refused(MASK, f"the mask is {width}x{height}, the image {own_width}x{own_height}: give one size")
        if not transparent.any():
            raise refused(MASK, "nothing in the mask is fully transparent: what has alpha 0 is painted anew")
        return regions.fitted(np.repeat(transparent[..., None] * np.uint8(255), 3, axis=2), fit)


def as_part(path: Path, picture: UInt8[np.ndarray, "h w 3"]) -> Part:
    """A picture as a film of one frame."""
    return Part(path, media.write_film(path, [picture]))
