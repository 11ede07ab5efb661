"""From a request to what its edit works on: parts in local files, and the edit in the frames and pixels of its film."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int16

from services.video.config import ApiSettings
from services.video.edit_schemas import (
    DEFAULT_STRENGTH,
    CutWish,
    EditStill,
    EditVideo,
    ExtendVideo,
    FromVideo,
    JoinVideos,
)
from services.video.errors import refused
from services.video.intake import regions
from services.video.intake.decoders import Decoders
from services.video.intake.pictures import REFERENCE, Pictures
from services.video.intake.sizing import checked_size, grown
from services.video.intake.sources import Clip, Fitting, Part, Sources, Wanted, as_made, contained, filling
from services.video.intake.stills import IMAGE, MASK, Stills, as_part
from services.video.ledger import Ledger
from services.video.limits import check_film
from services.video.schemas import CreateVideo, ModelCard, Wish
from sora_core import media
from sora_core.edits import Edit, Extend, Interpolate, Join, Keyframes, Loop, Outpaint, Repaint, Restyle, Transition
from sora_core.edits.plan import Layer
from sora_core.errors import InputError
from sora_core.shapes import Fit, PixelShape

VIDEO, MASK_VIDEO = "video", "mask_video"
JOINED = ("videos[0]", "videos[1]")
CLIPS = "clips"


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """An edit, its parts in the order in which it takes them, and the film's rate, which in the end grows so much."""

    edit: Edit
    parts: Sequence[Part]
    fps: float
    factor: int = 1


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, its files by the name of their part, and a local folder for what is read of them."""

    owner: str
    wish: Wish
    files: Mapping[str, Path]
    card: ModelCard
    folder: Path
    key_id: str = ""
    used: list[Path] = field(default_factory=list)  # files of videos of the same key

    @property
    def starts_from(self) -> str:
        """The parameter by which it is more than words."""
        if not isinstance(self.wish, CreateVideo):
            return {JoinVideos: "videos", EditStill: IMAGE, CutWish: CLIPS}.get(type(self.wish), VIDEO)
        if self.wish.loop:
            return "loop"
        return "frame_images" if self.wish.frame_images else REFERENCE


class Materials:
    """Reads what requests bring; ApiError names what can't be used. Safe to use from several threads."""

    def __init__(self, limits: ApiSettings, ledger: Ledger, decoders: Decoders) -> None:
        self._limits = limits
        self._pictures = Pictures(limits, decoders)
        self._stills = Stills(self._pictures)
        self._sources = Sources(limits, ledger, decoders)

    def of(self, asked: Asked, shape: PixelShape | None) -> Material | None:
        """The material of a request, None for one of words alone; ``shape`` is that of a video to create."""
        material = self._read(asked, shape)
        if material is None or isinstance(material.edit, Interpolate):
            return material
        if asked.wish.enable_frame_interpolation and isinstance(material.edit, Loop):
            why = "nothing would be made between a loop's last frame and its first: leave it out"
            raise refused("enable_frame_interpolation", why)
        return replace(material, factor=asked.wish.rate_factor)

    def _read(self, asked: Asked, shape: PixelShape | None) -> Material | None:
        match asked.wish:
            case CreateVideo() as wish:
                assert shape is not None
                return self._created(asked, wish, shape)
            case EditVideo() as wish:
                return self._edited(asked, wish)
            case ExtendVideo() as wish:
                return self._extended(asked, wish)
            case JoinVideos() as wish:
                return self._joined(asked, wish)
            case CutWish() as wish:
                return self._cut(asked, wish)
            case EditStill() as wish:
                return Material(*self._stills.edited(wish, asked.files, asked.card, asked.folder), asked.card.fps)
        return None

    # --- videos from words and stills

    def _created(self, asked: Asked, wish: CreateVideo, shape: PixelShape) -> Material | None:
        fps = asked.card.fps if wish.fps is None else wish.fps
        stills = self._stills.at_places(wish, asked.files, shape, asked.folder)
        if not wish.loop:
            of_words = not stills and not wish.enable_frame_interpolation
            return None if of_words else Material(Keyframes(tuple(stills), shape), list(stills.values()), fps)
        if stills:
            raise refused("loop", "a loop is made from words alone: leave the stills out, or extend a video with loop")
        step = asked.card.frame_multiple
        latents = (shape.frames - 1) // step
        if latents < 2:
            raise refused("loop", f"{shape.frames} frames are too few for a loop: use {2 * step + 1} or more")
        new = step * max(1, latents // 3)
        return Material(Loop(new, PixelShape(shape.frames - new, shape.height, shape.width)), [], fps)

    # --- videos from videos

    def _edited(self, asked: Asked, wish: EditVideo) -> Material:
        paints = bool(
            wish.boxes or wish.mask or wish.mask_video or wish.remove_bars or {MASK, MASK_VIDEO} & {*asked.files}
        )
        resizes = bool(wish.size or wish.aspect_ratio)
        if paints and resizes:
            raise refused("size", "one edit at a time: a mask or boxes, or another size or aspect")
        if resizes:
            return self._outpainted(asked, wish)
        clip = self._source(asked, wish)
        if paints:
            return self._repainted(asked, wish, clip)
        if wish.enable_frame_interpolation:
            factor = 2**wish.frame_interpolation_exp
            finer = replace(clip.shape, frames=(clip.shape.frames - 1) * factor + 1)
            self._check("frame_interpolation_exp", finer, clip.fps * factor)
            edit = Interpolate(factor) if wish.strength is None else Interpolate(factor, wish.strength)
            return Material(edit, [clip], clip.fps * factor)
        return Material(Restyle(wish.strength or DEFAULT_STRENGTH), [clip], clip.fps)

    def _outpainted(self, asked: Asked, wish: EditVideo) -> Material:
        if wish.strength is not None:
            raise refused("strength", "what lies around the source is made from nothing: leave strength out")
        if wish.size is not None:
            width, height = checked_size(wish.size, asked.card.size_multiple)
            clip = self._source(asked, wish, contained(height, width))
        else:
            assert wish.aspect_ratio is not None
            clip = self._source(asked, wish)
            width, height = grown(wish.aspect_ratio, clip.shape, asked.card.size_multiple)
        self._check("size" if wish.size else "aspect_ratio", PixelShape(clip.shape.frames, height, width), clip.fps)
        down, across = height - clip.shape.height, width - clip.shape.width
        if not down and not across:
            param = "size" if wish.size else "aspect_ratio"
            raise refused(param, f"the source fills {width}x{height}: there is nothing to paint around it")
        return Material(Outpaint(height, width, down // 2, across // 2), [clip], clip.fps)

    def _repainted(self, asked: Asked, wish: EditVideo, clip: Clip) -> Material:
        strength = wish.strength or 1.0
        mask = self._mask(asked, wish, clip)
        if mask is not None:
            if wish.boxes or wish.remove_bars:
                raise refused("boxes", "give boxes or a mask, not both")
            frames = media.read_film(mask.path, asked.folder / "mask.raw", mask.shape)
            return Material(Repaint(regions.of_mask(frames, clip.shape), True, strength), [clip, mask], clip.fps)
        found = [regions.of_box(box, clip) for box in wish.boxes]
        if wish.remove_bars:
            found += regions.of_bars(media.read_film(clip.path, asked.folder / "bars.raw", clip.shape))
        return Material(Repaint(tuple(found), strength=strength), [clip], clip.fps)

    def _mask(self, asked: Asked, wish: EditVideo, clip: Clip) -> Part | None:
        """What shall be painted anew as white, in the frames and pixels of the source; None when there is no mask."""
        same = _same_size(clip)
        picture = self._pictures.read(asked.files.get(MASK), wish.mask, MASK)
        if picture is not None:
            try:
                fit = same(*picture.shape[:2])
            except InputError as error:
                raise refused(MASK, str(error)) from error
            return as_part(asked.folder / MASK, regions.fitted(picture, fit))
        if wish.mask_video is None and MASK_VIDEO not in asked.files:
            return None
        reference = wish.mask_video.id if wish.mask_video else None
        wanted = Wanted(same, clip.fps, 0.0, clip.shape.frames / clip.fps)
        mask = self._sources.read(self._file(asked, MASK_VIDEO, reference), MASK_VIDEO, wanted)
        if mask.shape != clip.shape:
            message = f"the mask has {mask.shape.frames} frames, the source {clip.shape.frames}: give as many"
            raise refused(MASK_VIDEO, message)
        return mask

    def _extended(self, asked: Asked, wish: ExtendVideo) -> Material:
        clip = self._source(asked, wish)
        new = self._new_frames(wish, clip.fps, clip.shape)
        if not wish.loop:
            return Material(Extend(new, wish.direction), [clip], clip.fps)
        if wish.direction != "forward":
            raise refused("direction", "a loop has no direction: leave it out")
        return Material(Loop(new), [clip], clip.fps)

    def _joined(self, asked: Asked, wish: JoinVideos) -> Material:
        references: list[str | None] = [video.id for video in wish.videos] or [None, None]
        if len(references) != 2:
            raise refused("videos", f"{len(references)} videos: give two")
        first = self._clip(asked, JOINED[0], references[0], fps=wish.fps)
        size = filling(first.shape.height, first.shape.width)
        second = self._clip(asked, JOINED[1], references[1], fps=first.fps, fit=size)
        both = replace(first.shape, frames=first.shape.frames + second.shape.frames)
        new = self._new_frames(wish, first.fps, both)
        return Material(Transition(new), [first, second], first.fps)

    def _cut(self, asked: Asked, wish: CutWish) -> Material:
        """The parts, each a file of its own: the same video may come twice."""
        first, *others = wish.clips
        parts = [self._clip(asked, CLIPS, first.id, span=(first.start_s, first.end_s), place="clip-0")]
        fps, size = parts[0].fps, filling(parts[0].shape.height, parts[0].shape.width)
        for number, cut in enumerate(others, 1):
            span = cut.start_s, cut.end_s
            parts.append(self._clip(asked, CLIPS, cut.id, fps=fps, fit=size, span=span, place=f"clip-{number}"))
        return Material(Join(), parts, fps)

    def _new_frames(self, wish: ExtendVideo | JoinVideos, fps: float, beside: PixelShape) -> int:
        """How many frames shall be made between or beside those that are there."""
        if wish.num_frames is None and wish.seconds is None:
            raise refused("seconds", "parameter 'seconds' is required", "missing_parameter")
        new = wish.num_frames or max(1, round((wish.seconds or 0.0) * fps))
        param = "seconds" if wish.num_frames is None else "num_frames"
        self._check(param, replace(beside, frames=beside.frames + new), fps)
        return new

    def _check(self, param: str, film: PixelShape, fps: float) -> None:
        check_film(param, film, fps, self._limits)

    # --- files

    def _source(self, asked: Asked, wish: FromVideo, fit: Fitting | None = None) -> Clip:
        span = wish.start_s, wish.end_s
        return self._clip(asked, VIDEO, wish.source_id, fps=wish.fps, fit=fit, span=span)

    def _clip(
        self,
        asked: Asked,
        param: str,
        reference: str | None,
        *,
        fps: float | None = None,
        fit: Fitting | None = None,
        span: tuple[float, float | None] = (0.0, None),
        place: str | None = None,
    ) -> Clip:
        """A source. Unless asked otherwise a video of ours keeps its rate and size; a file gets the model's rate, and
        its usual size if it can't make the file's."""
        file = self._file(asked, param, reference, place)
        if reference is None:
            fps = fps or asked.card.fps
            fit = fit or as_made(asked.card, asked.card.default_num_frames, asked.wish.guidance_scale)
        return self._sources.read(file, param, Wanted(fit or _as_it_is, fps, *span))

    def _file(self, asked: Asked, param: str, reference: str | None, place: str | None = None) -> Path:
        """What was sent, or what a video of the same key holds, as a local file."""
        sent = asked.files.get(param)
        if sent is not None and reference is not None:
            raise refused(param, f"parameter {param!r} is given twice: give a file or an id")
        if reference is not None:
            file = self._sources.fetch(
                self._sources.own(asked.owner, reference, param), param, asked.folder / (place or "")
            )
            asked.used.append(file)
            return file
        if sent is None:
            raise refused(param, f"parameter {param!r} is required: a file, or the id of a video", "missing_parameter")
        self._sources.check_bytes(sent, param)
        return sent


def _as_it_is(height: int, width: int) -> Fit:
    return Fit(height, width, height, width)


def _same_size(clip: Clip) -> Fitting:
    """The way of a clip's pixels, for a mask of the same size as its file."""

    def fit(height: int, width: int) -> Fit:
        if (height, width) != (clip.height, clip.width):
            raise InputError(f"the mask is {width}x{height}, the video {clip.width}x{clip.height}: give one size")
        return clip.fit

    return fit


def sound_of(material: Material, layers: Sequence[Layer], seconds: float) -> Int16[np.ndarray, "n 2"] | None:
    """The sources' sound where their time is in the film, and silence elsewhere; None when they have none."""
    samples = np.zeros((round(seconds * media.SOUND_HZ), 2), np.int16)
    heard = False
    for part, layer in zip(material.parts, layers, strict=False):
        if part.sound is not None:
            begin = round(layer.at / material.fps * media.SOUND_HZ)
            own = part.sound[: len(samples) - begin]
            samples[begin : begin + len(own)] = own
            heard = True
    return samples if heard else None
