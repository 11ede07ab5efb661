"""What is left of a mark after attacks, ours beside dwtDctSvd, rivaGan and blind-watermark, and of the fingerprint.

``make bench NAME=provenance.attacks [ARGS="FOOTAGE [--unmarked-frames 10000] [--unmarked FOLDER]"]``: some 20 minutes
of one core, most of them rivaGan's. The peers come by ``pip install --no-deps invisible-watermark==0.2.0
blind-watermark==0.4.4 PyWavelets``; one that isn't there is left out.

All carry what they can say: the peers 32 bits, ours an id of 48 with its checksum. A cell is the number of clips whose
number is read without an error; in the fingerprint's column, of those found among all clips and told from all others.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from jaxtyping import UInt8

from services.video.ledger import Ledger
from services.video.provenance.likenesses import Likenesses, spans
from sora_core import media
from sora_core.errors import SoraError
from sora_core.likeness import Pictures
from sora_core.safety.mark import MarkKey, mark_frames
from sora_core.safety.reading import read_mark

Frames = UInt8[np.ndarray, "t h w 3"]
ROOT = Path(__file__).parents[2]
FPS, FRAMES, SIDE = 24.0, 96, 256
_PEERS_READ = 8  # frames of a clip, which they mark as pictures
PEER_BITS = 32
OURS, LOOKS = "ours", "fingerprint"
_UNMARKED = 48
CLIPS = (
    "a_bbb_square.webm",
    "in_bottles.mp4",
    "a_station_vfr.mp4",
    "mp_chaplin.mp4",
    "db_tree.avi",
    "fx_lego.webm",
    "pan",
)


@dataclass(frozen=True)
class Method:
    """A way to mark: ``embed`` frames with a number, and ``holds`` whether they still say it."""

    name: str
    embed: Callable[[Frames, int], Frames]
    holds: Callable[[Frames, int], bool]


def coded(frames: Frames, crf: int, fps: float = FPS) -> Frames:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coded.mp4"
        media.encode_mp4(path, iter(np.ascontiguousarray(frames)), fps, crf=crf)
        return media.decode_clip(path)


def matroska(frames: Frames) -> Frames:
    """Coded again, and the packets then copied into another container."""
    with tempfile.TemporaryDirectory() as folder:
        path, other = Path(folder) / "coded.mp4", Path(folder) / "coded.mkv"
        media.encode_mp4(path, iter(np.ascontiguousarray(frames)), FPS, crf=23)
        with av.open(str(path)) as source, av.open(str(other), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        return media.decode_clip(other)


def scaled(frames: Frames, factor: float) -> Frames:
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    size = tuple(round(side * factor) // 2 * 2 for side in frames.shape[2:0:-1])
    return np.stack([cv2.resize(frame, size, interpolation=how) for frame in frames])


def cropped(frames: Frames, share: float) -> Frames:
    top, left = (round(side * share / 2) for side in frames.shape[1:3])
    height, width = (side - 2 * round(side * share / 2) for side in frames.shape[1:3])
    return frames[:, top : top + height // 2 * 2, left : left + width // 2 * 2]


def contrasted(frames: Frames) -> Frames:
    return np.clip((frames.astype(np.float32) - 128) * 1.2 + 133, 0, 255).astype(np.uint8)


ATTACKS: dict[str, Callable[[Frames], Frames]] = {
    "none": lambda frames: frames,
    "crf 23": lambda frames: coded(frames, 23),
    "crf 28": lambda frames: coded(frames, 28),
    "crf 33": lambda frames: coded(frames, 33),
    "half size, crf 23": lambda frames: coded(scaled(frames, 0.5), 23),
    "half size and back, crf 23": lambda frames: coded(scaled(scaled(frames, 0.5), 2.0), 23),
    "crop 10 %, crf 23": lambda frames: coded(cropped(frames, 0.1), 23),
    "every third frame dropped, crf 23": lambda frames: coded(np.delete(frames, np.s_[2::3], axis=0), 23),
    "24 to 30 a second, crf 23": lambda frames: coded(frames[np.arange(len(frames) * 5 // 4) * 4 // 5], 23, 30.0),
    "contrast 1.2, crf 23": lambda frames: coded(contrasted(frames), 23),
    "cut to 2 s, crf 23": lambda frames: coded(frames[30:78], 23),
    "another container, twice crf 23": lambda frames: matroska(coded(frames, 23)),
    "half size, crop 10 %, crf 28": lambda frames: coded(cropped(scaled(frames, 0.5), 0.1), 28),
    "mirrored, crf 23": lambda frames: coded(frames[:, :, ::-1], 23),
}


def clip(name: str, footage: Path) -> Frames:
    """The first frames of a file with its shorter side scaled down; ``pan``: a camera over a photograph."""
    if name == "pan":
        photo = media.decode_image(ROOT / "examples" / "footage" / "ph_london.jpg")
        factor = 420 / min(photo.shape[:2])
        photo = cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        return np.stack([photo[60 + i // 3 :, 20 + 2 * i :][:SIDE, :SIDE] for i in range(FRAMES)])
    frames = list(islice(media.clip_frames(footage / name), FRAMES))
    return scaled(np.stack(frames), SIDE / min(frames[0].shape[:2]))


def own() -> Method:
    key = MarkKey("benchmark", b"a secret of this benchmark")

    def holds(frames: Frames, number: int) -> bool:
        reading = read_mark(frames, [key])
        return reading is not None and reading.identity == number

    return Method(OURS, lambda frames, number: np.stack(list(mark_frames(frames, key, number))), holds)


def bits_of(number: int) -> list[int]:
    return [number >> place & 1 for place in range(PEER_BITS)]


def by_vote(name: str, embed: Callable[[Frames, int], Frames], bits: Callable[[np.ndarray], np.ndarray]) -> Method:
    """A peer that marks pictures: some frames are read, and each bit is their mean."""

    def holds(frames: Frames, number: int) -> bool:
        try:
            votes = np.mean(
                [bits(np.ascontiguousarray(frame)) for frame in frames[:: len(frames) // _PEERS_READ]], axis=0
            )
        except (ValueError, IndexError, cv2.error, RuntimeError, AssertionError):
            return False  # it takes no picture of this size
        return [int(vote > 0.5) for vote in votes] == bits_of(number)

    return Method(name, embed, holds)


def invisible(name: str) -> Method | None:
    try:
        from imwatermark import WatermarkDecoder, WatermarkEncoder
    except ImportError:
        return None
    if name == "rivaGan":
        WatermarkEncoder.loadModel()
        WatermarkDecoder.loadModel()
    decoder = WatermarkDecoder("bits", PEER_BITS)

    def embed(frames: Frames, number: int) -> Frames:
        encoder = WatermarkEncoder()
        encoder.set_watermark("bits", bits_of(number))
        return np.stack([encoder.encode(frame[..., ::-1].copy(), name)[..., ::-1] for frame in frames])

    return by_vote(name, embed, lambda frame: np.asarray(decoder.decode(frame[..., ::-1].copy(), name), float))


def blind() -> Method | None:
    try:
        from blind_watermark import WaterMark
    except ImportError:
        return None

    def fresh() -> "WaterMark":
        return WaterMark(password_img=1, password_wm=1)

    def embed(frames: Frames, number: int) -> Frames:
        marked = []
        for frame in frames:
            mark = fresh()
            mark.read_img(img=frame[..., ::-1].copy())
            mark.read_wm(bits_of(number), mode="bit")
            marked.append(np.clip(mark.embed(), 0, 255).astype(np.uint8)[..., ::-1])
        return np.stack(marked)

    def bits(frame: np.ndarray) -> np.ndarray:
        return np.asarray(fresh().extract(embed_img=frame[..., ::-1].copy(), wm_shape=PEER_BITS, mode="bit"), float)

    return by_vote("blind-watermark", embed, bits)


def by_looks(names: list[str], clips: list[Frames], folder: Path) -> Method:
    """The fingerprint: nothing is put into the frames; what is found must be the clip itself among all of them."""
    known = Likenesses(Ledger.open(f"sqlite:///{folder}/ledger.db"))
    for name, frames in zip(names, clips, strict=True):
        known.remember(name, looks(frames))

    def holds(frames: Frames, number: int) -> bool:
        alike = known.find(looks(frames))
        return alike is not None and alike.job_id == names[number]

    return Method(LOOKS, lambda frames, _: frames, holds)


def looks(frames: Frames) -> list[bytes]:
    pictures = Pictures()
    for number, frame in enumerate(frames):
        pictures.see(number / FPS, frame)
    return list(spans(pictures, len(frames) / FPS))


def psnr(frames: Frames, marked: Frames) -> float:
    errors = np.square(frames.astype(np.float64) - marked).mean(axis=(1, 2, 3))
    return float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-9))))


def false_alarms(folder: Path, frames_wanted: int, known: Method, footage: Path) -> str:
    """How often footage is called marked that isn't, by 40 keys of which none made it, and how often taken for a
    clip of the table."""
    keys = [MarkKey(str(index), f"key {index}".encode()) for index in range(40)]
    seen = clips = marks = copies = 0
    for path in sorted(folder.iterdir()):
        source = _frames(path)
        while seen < frames_wanted:
            batch = [
                cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in islice(source, _UNMARKED)
            ]
            if not batch:
                break
            marks += read_mark(batch, keys) is not None
            if not (footage / path.name).exists() or path.name not in CLIPS:
                copies += any(known.holds(np.stack(batch), number) for number in range(len(CLIPS)))
            seen, clips = seen + len(batch), clips + 1
    return f"{seen} frames in {clips} clips: {marks} called marked by one of 40 keys, {copies} taken for another clip"


def _frames(path: Path) -> Iterator[np.ndarray]:
    """A file's frames; none of one that can't be read."""
    try:
        yield from media.clip_frames(path)
    except SoraError:
        return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("footage", type=Path, nargs="?", default=ROOT / "examples" / "footage")
    parser.add_argument("--unmarked", type=Path, help="a folder of other footage; that of the clips when left out")
    parser.add_argument("--unmarked-frames", type=int, default=10_000)
    wanted = parser.parse_args()
    clips = [clip(name, wanted.footage) for name in CLIPS]
    with tempfile.TemporaryDirectory() as folder:
        known = by_looks(list(CLIPS), clips, Path(folder))
        methods = [one for one in (own(), invisible("dwtDctSvd"), invisible("rivaGan"), blind(), known) if one]
        print_table(methods, clips)
        if wanted.unmarked_frames:
            other = wanted.unmarked or wanted.footage
            print(f"\nunmarked: {false_alarms(other, wanted.unmarked_frames, known, wanted.footage)}")


def print_table(methods: list[Method], clips: list[Frames]) -> None:
    random = np.random.default_rng(0)
    held = {(attack, method.name): 0 for attack in ATTACKS for method in methods}
    quality: dict[str, list[float]] = {method.name: [] for method in methods}
    cost = dict.fromkeys(quality, 0.0)
    for index, frames in enumerate(clips):
        for method in methods:
            bits = 48 if method.name == OURS else PEER_BITS
            number = index if method.name == LOOKS else int(random.integers(1 << bits))
            began = time.process_time()
            marked = method.embed(frames, number)
            cost[method.name] += (time.process_time() - began) / len(frames) / len(clips) * 1e3
            quality[method.name].append(psnr(frames, marked))
            for attack, change in ATTACKS.items():
                held[attack, method.name] += method.holds(change(marked), number)
        print(
            f"# {CLIPS[index]}: {', '.join(f'{name} {values[-1]:.1f} dB' for name, values in quality.items())}",
            flush=True,
        )
    print("| | " + " | ".join(method.name for method in methods) + " |")
    print("|---|" + "---|" * len(methods))
    for attack in ATTACKS:
        print(f"| {attack} | " + " | ".join(f"{held[attack, m.name]}/{len(clips)}" for m in methods) + " |")
    print("| PSNR, mean dB | " + " | ".join(f"{np.mean(quality[m.name]):.1f}" for m in methods) + " |")
    print("| embed, CPU ms a frame | " + " | ".join(f"{cost[m.name]:.2f}" for m in methods) + " |")


if __name__ == "__main__":
    main()
