"""Files to frames and back: the only room that knows PyAV.

Frames are uint8 ``(h, w, 3)`` RGB as a viewer sees them: rotation metadata applied, pixels square.
"""

from sora_core.media.decode import Span, clip_frames, decode_clip, decode_spans, resample
from sora_core.media.encode import Mp4Writer, encode_mp4
from sora_core.media.film import read_film, write_film
from sora_core.media.frames import Frame, SourceFrame, StillFrame, iter_frames, play
from sora_core.media.isolated import DecoderKilled, Isolated, Limits, ProcessDied
from sora_core.media.lent import hand_over
from sora_core.media.picture import decode_image, decode_transparency
from sora_core.media.preview import contact_sheet, to_webp, write_image, write_thumbnail
from sora_core.media.probe import MediaInfo, probe, probe_image
from sora_core.media.shots import ShotFinder
from sora_core.media.sound import SOUND_HZ, decode_sound

__all__ = [
    "SOUND_HZ",
    "DecoderKilled",
    "Frame",
    "Isolated",
    "Limits",
    "MediaInfo",
    "Mp4Writer",
    "ProcessDied",
    "ShotFinder",
    "SourceFrame",
    "Span",
    "StillFrame",
    "clip_frames",
    "contact_sheet",
    "decode_clip",
    "decode_image",
    "decode_sound",
    "decode_spans",
    "decode_transparency",
    "encode_mp4",
    "hand_over",
    "iter_frames",
    "play",
    "probe",
    "probe_image",
    "read_film",
    "resample",
    "to_webp",
    "write_film",
    "write_image",
    "write_thumbnail",
]
