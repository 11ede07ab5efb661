"""A source as a local file, a kept clip as frames; or the reason why there are none, the same whoever asks."""

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from jobs.curate.isolated import ProcessDied
from jobs.curate.rows import Clip, Examined, Source
from sora_core import media, storage, telemetry
from sora_core.errors import AccessDenied, MissingObject, StorageUnavailable, UnreadableMedia

logger = logging.getLogger(__name__)

# The reason of an input that brings its decoder's process down, again when it is tried alone.
DECODER_CRASHED = "decoder_crashed"
# The reason of an object that somebody changed between its listing and its turn: the next run takes the new one.
OBJECT_REPLACED = "object_replaced"
# The reason of a clip that had more frames when it was measured.
CUT_SHORT = "cut_short"

Decode = Callable[[Path, str | None, Clip], np.ndarray]


class SourceReplaced(Exception):
    """An object is no longer the one that was listed."""


@contextmanager
def fetched(source: Source) -> Iterator[Path]:
    """The source as a local file, gone afterwards. SourceReplaced when it isn't what was listed, MissingObject when it
    is gone."""
    if not storage.is_s3(source.uri):
        _check_same(source)
        with storage.local_file(source.uri) as path:
            yield path
        return
    with tempfile.TemporaryDirectory(prefix="sora-curate-") as folder:
        # Keys may be longer than a file's name may be.
        path = storage.download(source.uri, Path(folder) / "source")
        # Asked afterwards, it answers for the bytes at hand: what came before them would be older.
        _check_same(source)
        yield path


def _check_same(source: Source) -> None:
    if storage.head(source.uri).etag != source.etag:
        raise SourceReplaced(source.uri)


def reason_of(error: Exception, what: str) -> str:
    """Why a source or clip has no frames. Raised again is what isn't its fault: with a storage that refuses or is away
    nothing else would be readable or writable either."""
    match error:
        case AccessDenied() | StorageUnavailable():
            raise error
        case MissingObject():
            return "object_missing"
        case SourceReplaced():
            return OBJECT_REPLACED
        case UnreadableMedia():
            logger.info("%s: %s", what, error)
            return error.reason
        case ProcessDied():
            return DECODER_CRASHED
        case _:
            logger.error("%s can't be decoded", what, exc_info=error)
            return "internal_error"


def clips_pixels(row: Examined, clips: Sequence[Clip], decode: Decode) -> Iterator[tuple[Clip, np.ndarray | str]]:
    """Some clips of a source, each with its frames or the reason why there are none. One clip's frames at a time."""
    if not clips:
        return
    with ExitStack() as stack:
        try:
            path = stack.enter_context(fetched(row.source))
        except Exception as error:  # noqa: BLE001 - it becomes the clips' reason
            reason = reason_of(error, row.source.uri)
            yield from ((clip, reason) for clip in clips)
            return
        for clip in clips:
            yield clip, _frames(path, row, clip, decode)


def _frames(path: Path, row: Examined, clip: Clip, decode: Decode) -> np.ndarray | str:
    try:
        frames = decode(path, row.kind, clip)
    except Exception as error:  # noqa: BLE001 - it becomes the clip's reason
        return reason_of(error, f"clip {clip.clip_id} of {row.source.uri}")
    telemetry.CURATE_DECODED_FRAMES.inc(len(frames))
    return frames if len(frames) >= clip.frames else CUT_SHORT


def decode_pixels(path: Path, kind: str | None, clip: Clip) -> np.ndarray:
    """A clip's pixels, uint8 ``(t, h, w, 3)``, scaled, then cut out. UnreadableMedia says why not."""
    scaled = (clip.scaled_height, clip.scaled_width)
    if kind == "image":
        frames = media.decode_image(path, scaled)[None]
    else:
        end_s = clip.end_s if clip.frames > 1 else None
        frames = media.decode_clip(path, clip.start_s, end_s, fps=clip.fps, size=scaled, max_frames=clip.frames)
    return frames[:, clip.top : clip.top + clip.height, clip.left : clip.left + clip.width]
