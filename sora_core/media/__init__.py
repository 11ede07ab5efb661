"""Files to frames and back: the only room that knows PyAV.

Frames are uint8 ``(h, w, 3)`` RGB as a viewer sees them: rotation metadata applied, pixels square.
"""

from sora_core.media.decode import decode_clip, iter_frames
from sora_core.media.encode import Mp4Writer, encode_mp4
from sora_core.media.picture import decode_image
from sora_core.media.preview import contact_sheet, to_webp, write_image, write_thumbnail
from sora_core.media.probe import MediaInfo, probe
from sora_core.media.shots import ShotFinder

__all__ = [
    "MediaInfo",
    "Mp4Writer",
    "ShotFinder",
    "contact_sheet",
    "decode_clip",
    "decode_image",
    "encode_mp4",
    "iter_frames",
    "probe",
    "to_webp",
    "write_image",
    "write_thumbnail",
]
