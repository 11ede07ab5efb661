"""Video files made by a script, of every kind that containers come in, each frame of which shows its own number."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

BLOCK, ACROSS, BITS = 16, 4, 12
SIDE = BLOCK * ACROSS
TICKS = 90_000


def numbered(number: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """A picture, uint8 ``(h, w, 3)``, of a number below 4096: its bits as blocks from the top on, last a white row."""
    bits = [(number >> place) & 1 for place in range(BITS)] + [1] * ACROSS
    blocks = np.array(bits, np.uint8).reshape(ACROSS, ACROSS) * 200 + 20
    rows = np.arange(height) * ACROSS // height
    columns = np.arange(width) * ACROSS // width
    return np.repeat(blocks[rows][:, columns][..., None], 3, axis=2)


def number_in(picture: np.ndarray) -> int:
    """What `numbered` wrote, whatever the size."""
    height, width = picture.shape[:2]
    rows = (np.arange(ACROSS) * 2 + 1) * height // (2 * ACROSS)
    columns = (np.arange(ACROSS) * 2 + 1) * width // (2 * ACROSS)
    luma = picture[rows][:, columns].mean(axis=-1).reshape(-1)
    return sum(int(bit > 128) << place for place, bit in enumerate(luma[:BITS]))


@dataclass(frozen=True)
class Made:
    """How a file is made. ``gaps`` are the ticks from each frame to the next, one for all by default."""

    format: str = "mp4"
    codec: str = "libx264"
    frames: int = 24
    first: int = 0
    fps: int = 25
    start: int = 0
    gaps: Sequence[int] = ()
    size: tuple[int, int] = (SIDE, SIDE)
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    tone: bool = False

    def stamps(self) -> list[int]:
        """Ticks of `TICKS` at which each frame is shown."""
        gaps = [*self.gaps] or [TICKS // self.fps] * self.frames
        return [self.start + sum(gaps[:number]) for number in range(self.frames)]


SOUND_HZ, BEEP_S = 48_000, 0.1
"""A file with a ``tone`` beeps once a second, half a second in."""


def make(path: Path, made: Made) -> Path:
    """Write a file."""
    with av.open(str(path), "w", format=made.format) as container:
        stream = container.add_stream(made.codec, rate=made.fps, options=dict(made.options))
        stream.height, stream.width = made.size
        stream.pix_fmt = made.pix_fmt
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000 if made.gaps else made.fps)
        sound: Any = container.add_stream("mp2", rate=SOUND_HZ, layout="stereo") if made.tone else None
        for number, stamp in enumerate(made.stamps()):
            picture = av.VideoFrame.from_ndarray(numbered(made.first + number, *made.size), format="rgb24")
            frame = picture.reformat(format=made.pix_fmt)
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(stamp / TICKS / frame.time_base)
            container.mux(_lasting(stream.encode(frame), made))
            if sound and number * SOUND_HZ % made.fps == 0:
                container.mux(sound.encode(_tone(made, number)))
        container.mux(_lasting(stream.encode(), made))
        if sound:
            container.mux(sound.encode())
    return path


def _lasting(packets: list[av.Packet], made: Made) -> list[av.Packet]:
    """Encoders give each picture the length of a frame at their rate, which the last of a file would keep."""
    lengths = dict(zip(made.stamps(), made.gaps, strict=False))
    for packet in packets if made.gaps else ():
        assert packet.pts is not None
        stamp = min(lengths, key=lambda due: abs(due - packet.pts * packet.time_base * TICKS))
        packet.duration = round(lengths[stamp] / TICKS / packet.time_base)
    return packets


def _tone(made: Made, number: int) -> av.AudioFrame:
    """The sound of one frame."""
    place = number * SOUND_HZ // made.fps
    times_s = (place + np.arange(SOUND_HZ // made.fps)) / SOUND_HZ
    is_on = (times_s % 1 >= 0.5) & (times_s % 1 < 0.5 + BEEP_S)
    wave = (12_000 * np.sin(2 * np.pi * 1000 * times_s) * is_on).astype(np.int16)
    chunk = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None], format="s16", layout="stereo")
    chunk.sample_rate, chunk.time_base = SOUND_HZ, Fraction(1, SOUND_HZ)
    chunk.pts = place + made.start * SOUND_HZ // TICKS
    return chunk


def joined(path: Path, parts: Sequence[Path]) -> Path:
    """The bytes of some files one after another, as people join transport streams and VOBs."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def cut_by_edit_list(path: Path, frames: int, fps: int) -> Path:
    """An MP4 whose edit list leaves out its first frames, which stay in the file."""
    data = bytearray(path.read_bytes())
    entry = data.index(b"elst") + 4 + 4 + 4
    timescale = struct.unpack(">I", data[data.index(b"mdhd") + 16 :][:4])[0]
    movie_scale = struct.unpack(">I", data[data.index(b"mvhd") + 16 :][:4])[0]
    duration, media_time = struct.unpack(">Ii", data[entry : entry + 8])
    struct.pack_into(">Ii", data, entry, duration - frames * movie_scale // fps, media_time + frames * timescale // fps)
    path.write_bytes(data)
    return path


def without_stamps(path: Path, format: str, every: int) -> Path:
    """The same packets in a container, of which only one in ``every`` has a stamp."""
    target = path.with_suffix(f".{every}.{format}")
    with av.open(str(path)) as source, av.open(str(target), "w", format=format) as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                packet.stream = stream
                if number % every:
                    packet.pts = None
                container.mux(packet)
    return target
