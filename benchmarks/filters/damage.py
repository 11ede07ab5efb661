"""Known damage to real footage: what each filter must find, and what it must let pass."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from sora_core import media

SECONDS = 3.0
_MAX_AREA = 640 * 360
_MAX_FPS = 30.0

Frames = np.ndarray
Damage = Callable[[Frames, float, np.random.Generator], Frames]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Three seconds of one shot. ``has`` names what the footage itself suffers from: it is no clean example of that."""

    file: str
    start_s: float
    has: frozenset[str] = frozenset()

    def read(self, folder: Path) -> tuple[Frames, float]:
        """Its frames, at most 640x360 in area and 30 a second, and their rate."""
        path = folder / self.file
        info = media.probe(path)
        fps = min(info.fps or _MAX_FPS, _MAX_FPS)
        scale = min(1.0, (_MAX_AREA / (info.height * info.width)) ** 0.5)
        size = (int(info.height * scale) // 2 * 2, int(info.width * scale) // 2 * 2)
        return media.decode_clip(path, self.start_s, self.start_s + SECONDS, fps=fps, size=size), fps


def excerpt(file: str, start_s: float = 0.5, *has: str) -> Excerpt:
    return Excerpt(file, start_s, frozenset(has))


# Looked at one by one; a name after the start is a defect that the footage has already.
EXCERPTS = (
    excerpt("a_bbb_square.webm", 0.0),
    excerpt("a_bird_dive.avi", 1.0),
    excerpt("a_concert_dark.mov", 0.0, "dark"),
    excerpt("a_dog_rot270.mp4"),
    excerpt("a_graffiti_dovi.mp4", 0.0, "text"),
    excerpt("a_station_vfr.mp4", 0.5, "shake"),
    excerpt("a_timelapse_roof.mp4"),
    excerpt("db_coin.mov", 0.5, "blur"),
    excerpt("db_cube_grey.mp4", 0.5, "frozen", "duplicated"),
    excerpt("db_man_mjpeg.avi"),
    excerpt("db_marathon.mp4"),
    excerpt("db_traffic.mp4", 0.5, "duplicated"),
    excerpt("fx_cake_tall.webm"),
    excerpt("fx_lecture_room.ogg", 0.5, "frozen", "duplicated"),
    excerpt("fx_lego.webm"),
    excerpt("fx_street_bad.mp4", 0.5, "shake"),
    excerpt("fx_van_sar.mp4", 0.5, "duplicated"),
    excerpt("in_bottles.mp4", 0.5, "duplicated"),
    excerpt("mm_armwrestle.mp4", 0.5, "duplicated"),  # 24 to 28: every seventh frame
    excerpt("mm_gym.mp4", 0.5, "shake"),
    excerpt("mm_makeup.avi", 0.5, "duplicated"),
    excerpt("mm_pool.mp4", 0.5, "shake"),
    excerpt("mp_chaplin.mp4", 0.5, "duplicated", "bars"),
    excerpt("mp_plane.mp4", 0.5, "shake"),
    excerpt("np_goldengate_tall.mp4"),
    excerpt("oh_flower_720.264"),
    excerpt("oh_foreman.264", 0.5, "shake"),
    excerpt("sd_fall_wipes.mp4", 2.5, "frozen", "duplicated", "text"),
    excerpt("sd_museum_cuts.mp4", 0.0),
    excerpt("sl_two_flies.mp4", 0.5, "dark"),
    excerpt("tv_basketball.mp4"),
    excerpt("tv_cartwheel.avi", 0.0, "shake"),
    excerpt("tv_juggle_a.avi", 0.5, "shake", "duplicated", "blocky", "bars"),
    excerpt("tv_juggle_b.avi", 4.0, "shake", "text", "blocky"),
    excerpt("tv_segway_plaza.mp4", 0.5, "shake"),
    excerpt("tv_segway_street.mp4", 0.5, "shake"),
    excerpt("tv_wave_bw.avi", 0.0, "shake", "duplicated", "blocky"),
)


def _each(change: Callable[[Frames], Frames]) -> Damage:
    return lambda frames, _fps, _rng: np.stack([change(frame) for frame in frames])


def blur(share: float) -> Damage:
    """Out of focus: a Gaussian of this share of the height."""
    return _each(lambda frame: cv2.GaussianBlur(frame, (0, 0), share * frame.shape[0]))


def shake(share: float) -> Damage:
    """A hand that trembles six times a second by this share of the diagonal, beyond the camera's own way."""

    def damage(frames: Frames, fps: float, rng: np.random.Generator) -> Frames:
        height, width = frames.shape[1:3]
        steps = rng.normal(size=(len(frames) + 8, 2))
        kernel = np.hanning(max(3, round(fps / 6)) + 2)[1:-1]
        path = np.stack([np.convolve(axis, kernel, "same")[4:-4] for axis in steps.T], 1)
        path *= share * np.hypot(height, width) / path.std()
        margin = int(np.abs(path).max()) + 1
        padded = np.pad(frames, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect")
        shifted = []
        for frame, (x, y) in zip(padded, path, strict=True):
            moved = cv2.warpAffine(frame, np.array([[1, 0, x], [0, 1, y]], np.float32), frame.shape[1::-1])
            shifted.append(moved[2 * margin : height, 2 * margin : width] if height > 4 * margin else moved)
        even = np.stack(shifted)
        return even[:, : even.shape[1] // 2 * 2, : even.shape[2] // 2 * 2]

    return damage


def bars(share: float, *, sides: bool) -> Damage:
    """Black at top and bottom, or at the sides: this share of it at each."""

    def change(frame: Frames) -> Frames:
        framed = frame.copy()
        length = round(share * frame.shape[1 if sides else 0])
        edges: Frames = framed.swapaxes(0, 1) if sides else framed
        edges[:length], edges[-length:] = 0, 0
        return framed

    return _each(change)


def subtitles(lines: tuple[str, ...], share: float) -> Damage:
    """Words burned in near the bottom, white on a black outline; ``share`` is a line's height of the picture's."""

    def change(frame: Frames) -> Frames:
        titled = frame.copy()
        height, width = frame.shape[:2]
        scale = share * height / 22
        for number, line in enumerate(reversed(lines)):
            (length, _), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
            fitted = scale * min(1.0, 0.92 * width / length)
            (length, _), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, fitted, 1)
            place = ((width - length) // 2, round(height * (0.94 - 1.4 * share * number)))
            for colour, thickness in (((0, 0, 0), max(2, round(4 * fitted))), ((255,) * 3, max(1, round(2 * fitted)))):
                cv2.putText(titled, line, place, cv2.FONT_HERSHEY_SIMPLEX, fitted, colour, thickness, cv2.LINE_AA)
        return titled

    return _each(change)


def frozen(frames: Frames, _fps: float, _rng: np.random.Generator) -> Frames:
    """The picture stands from a third on."""
    return frames[np.minimum(np.arange(len(frames)), len(frames) // 3)]


def duplicated(every: int) -> Damage:
    """One frame in so many is shown twice, the others move up: another frame rate by repetition."""

    def damage(frames: Frames, _fps: float, _rng: np.random.Generator) -> Frames:
        numbers = np.arange(len(frames))
        return frames[numbers - (numbers + every - 1) // every]

    return damage


def light(gain: float, offset: float) -> Damage:
    """Under- or overexposed, or fog."""
    return _each(lambda frame: np.clip(frame * np.float32(gain) + offset, 0, 255).astype(np.uint8))


def untouched(frames: Frames, _fps: float, _rng: np.random.Generator) -> Frames:
    return frames


def coarse(frames: Frames, fps: float, _rng: np.random.Generator) -> Frames:
    """What H.264 leaves at crf 45."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coarse.mkv"
        encode(path, frames, fps, Variant("coarse", None, untouched, options=_x264(45)))
        return media.decode_clip(path)


def smaller(frames: Frames, _fps: float, _rng: np.random.Generator) -> Frames:
    """Three quarters of the size: harmless."""
    height, width = (round(side * 0.75) // 2 * 2 for side in frames.shape[1:3])
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames])


@dataclass(frozen=True, slots=True)
class Variant:
    """A damage, what a filter should call it (None: harmless), and how the result is encoded."""

    name: str
    finds: str | None
    damage: Damage
    codec: str = "libx264"
    options: tuple[tuple[str, str], ...] = (("crf", "18"), ("preset", "veryfast"))


def _x264(crf: int) -> tuple[tuple[str, str], ...]:
    return (("crf", str(crf)), ("preset", "veryfast"))


_WORDS = ("I never said that we should go,", "but now it is too late.")
VARIANTS = (
    Variant("original", None, untouched),
    Variant("smaller, re-encoded", None, smaller, options=_x264(26)),
    Variant("blur 1.2 %", "blur", blur(0.012)),
    Variant("blur 2.5 %", "blur", blur(0.025)),
    Variant("shake .6 %", "shake", shake(0.006)),
    Variant("shake 1.5 %", "shake", shake(0.015)),
    Variant("letterbox", "bars", bars(0.12, sides=False)),
    Variant("pillarbox", "bars", bars(0.125, sides=True)),
    Variant("subtitle", "text", subtitles(_WORDS[1:], 0.06)),
    Variant("two subtitles", "text", subtitles(_WORDS, 0.05)),
    Variant("frozen", "frozen", frozen),
    Variant("24 to 30", "duplicated", duplicated(5)),
    Variant("every third twice", "duplicated", duplicated(3)),
    Variant("MPEG-4, coarsest", "blocky", untouched, "mpeg4", (("qscale", "31"), ("qmin", "31"), ("qmax", "31"))),
    Variant("motion JPEG, coarse", "blocky", untouched, "mjpeg", (("qmin", "20"), ("qmax", "31"), ("b", "1000"))),
    Variant("H.264, crf 45", "coarse", untouched, options=_x264(45)),
    Variant("H.264, crf 45, stored again at 18", "stored again", coarse),
    Variant("dark", "dark", light(0.08, 0)),
    Variant("overexposed", "bright", light(2.0, 190)),
    Variant("fog", "flat", light(0.06, 120)),
)


def encode(path: Path, frames: Frames, fps: float, variant: Variant) -> None:
    """Write frames as the variant says."""
    height, width = frames.shape[1] // 2 * 2, frames.shape[2] // 2 * 2
    with av.open(str(path), "w") as container:
        rate = Fraction(fps).limit_denominator(1001)
        stream = container.add_stream(variant.codec, rate=rate, options=dict(variant.options))
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuvj420p" if variant.codec == "mjpeg" else "yuv420p"
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            picture.pts, picture.time_base = number, 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def variants(folder: Path, made: Path) -> Iterator[tuple[Excerpt, Variant, Path]]:
    """Every excerpt in every variant, made where it isn't yet."""
    made.mkdir(parents=True, exist_ok=True)
    for number, item in enumerate(EXCERPTS):
        clip: tuple[Frames, float] | None = None
        for variant in VARIANTS:
            path = made / f"{number:02}-{variant.name.replace(' ', '_').replace(',', '')}.mkv"
            if not path.exists():
                clip = clip or item.read(folder)
                rng = np.random.default_rng(number)
                partial = path.with_suffix(".partial.mkv")
                encode(partial, variant.damage(*clip, rng), clip[1], variant)
                partial.rename(path)
            yield item, variant, path
