"""A source as a local file, a kept clip as frames; or the reason why there are none, the same whoever asks."""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from jobs.curate.rows import Clip, Examined, Source
from sora_core import media, storage, telemetry
from sora_core.errors import (
    AccessDenied,
    CredentialsExpired,
    MissingObject,
    ObjectArchived,
    SoraError,
    StorageError,
    StorageUnavailable,
    UnreadableMedia,
)
from sora_core.media import DecoderKilled, Isolated, ProcessDied

logger = logging.getLogger(__name__)

# The reason of what was being decoded whenever somebody else killed the process: the next run tries again.
DECODER_KILLED = "decoder_killed"
# The reason of an object that somebody changed between its listing and its turn: the next run takes the new one.
OBJECT_REPLACED = "object_replaced"
# The reason of an object that this machine has no room to fetch.
LARGER_THAN_SCRATCH = "larger_than_scratch"
# Reasons that lie in the storage rather than in an object, when many in a row have the same.
STORAGE_FAULTS = frozenset({"access_denied", "storage_unavailable", "object_archived", "storage_error"})
# The reason of a clip that the autoencoder fails on.
ENCODE_FAILED = "encode_failed"
# Share of a disk's free room that one object may take: others work beside it.
_MOST_OF_DISK = 0.9
# The reason of a clip that had more frames when it was measured.
CUT_SHORT = "cut_short"

Decode = Callable[[Path, str | None, Sequence[Clip]], Iterator[np.ndarray]]
"""The pixels of some clips of a file, in their order; what it raises is the fault of the one that is due."""


class SourceReplaced(Exception):
    """An object is no longer the one that was listed."""


class NoRoom(Exception):
    """An object is larger than what may be fetched."""


class InARow:
    """Counts objects in a row that one fault of the storage, or of the encoder, kept from being done."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._reason: str | None = None
        self._count = 0

    def saw(self, reason: str | None, uri: str) -> None:
        """The next object, and why it wasn't done. StorageUnavailable or SoraError when that was the same for too many
        in a row."""
        if reason not in STORAGE_FAULTS and reason != ENCODE_FAILED:
            self._reason, self._count = None, 0
            return
        self._count = self._count + 1 if reason == self._reason else 1
        self._reason = reason
        if self._count >= self._most:
            kind = StorageUnavailable if reason in STORAGE_FAULTS else SoraError
            raise kind(
                f"{uri}: {reason}, as {self._count} in a row, so it is no object's fault: correct what is wrong (the "
                "log has each error), then run the same command; max_faults_in_a_row is how many may have it"
            )


@contextmanager
def fetched(source: Source, scratch_bytes: int | None = None) -> Iterator[Path]:
    """The source as a local file, gone afterwards. SourceReplaced when it isn't what was listed, MissingObject when it
    is gone, NoRoom when it is larger than ``scratch_bytes`` or what the disk has left."""
    if not storage.is_s3(source.uri):
        _check_same(source)
        with storage.local_file(source.uri) as path:
            yield path
        return
    with storage.scratch() as folder:
        free = int(_MOST_OF_DISK * shutil.disk_usage(folder).free)
        room = min(free, scratch_bytes or free)
        if source.size > room:
            raise NoRoom(f"{source.uri} has {source.size} bytes, and there is room for {room}")
        # Keys may be longer than a file's name may be.
        path = storage.download(source.uri, folder / "source")
        # Asked afterwards, it answers for the bytes at hand: what came before them would be older.
        _check_same(source)
        media.hand_over(path)
        media.hand_over(Path(folder))
        yield path


def _check_same(source: Source) -> None:
    if storage.head(source.uri).etag != source.etag:
        raise SourceReplaced(source.uri)


def reason_of(error: Exception, what: str) -> str:
    """Why a source or clip has no frames. Raised again is what isn't its fault: with credentials that have expired
    nothing else would be readable or writable either. `InARow` notices when the rest of the storage is away, too."""
    match error:
        case CredentialsExpired():
            raise error
        case MissingObject():
            return "object_missing"
        case StorageError():
            logger.warning("%s", error)
            return _reason_of_storage(error)
        case NoRoom():
            logger.warning("%s", error)
            return LARGER_THAN_SCRATCH
        case SourceReplaced():
            return OBJECT_REPLACED
        case UnreadableMedia():
            logger.info("%s: %s", what, error)
            return error.reason
        case DecoderKilled():
            logger.warning("%s: %s", what, error)
            return DECODER_KILLED
        case _:
            logger.error("%s can't be decoded", what, exc_info=error)
            return "internal_error"


def _reason_of_storage(error: StorageError) -> str:
    match error:
        case AccessDenied():
            return "access_denied"
        case ObjectArchived():
            return "object_archived"
        case StorageUnavailable():
            return "storage_unavailable"
        case _:
            return "storage_error"


def clips_pixels(
    row: Examined, clips: Sequence[Clip], decode: Decode, scratch_bytes: int | None = None
) -> Iterator[tuple[Clip, np.ndarray | str]]:
    """Some clips of a source, each with its frames or the reason why there are none. One clip's frames at a time."""
    if not clips:
        return
    with ExitStack() as stack:
        try:
            path = stack.enter_context(fetched(row.source, scratch_bytes))
        except Exception as error:  # noqa: BLE001 - it becomes the clips' reason
            reason = reason_of(error, row.source.uri)
            yield from ((clip, reason) for clip in clips)
            return
        # In the order of the film, so that one pass over it gives them all.
        due = sorted(clips, key=lambda clip: (clip.start_s, clip.end_s))
        while due:
            yield from _decoded(path, row, due, decode)


def _decoded(path: Path, row: Examined, due: list[Clip], decode: Decode) -> Iterator[tuple[Clip, np.ndarray | str]]:
    """The next clips, as far as they decode, and the first that doesn't; they are taken from ``due``."""
    decoding = decode(path, row.kind, tuple(due))
    while due:
        clip = due.pop(0)
        try:
            frames = next(decoding)
            if not due:
                next(decoding, None)  # it ends by itself, which costs the other process nothing
        except Exception as error:  # noqa: BLE001 - it becomes the clip's reason
            yield clip, reason_of(error, f"clip {clip.clip_id} of {row.source.uri}")
            return
        telemetry.CURATE_DECODED_FRAMES.inc(len(frames))
        yield clip, frames if len(frames) >= clip.frames else CUT_SHORT


def decode_pixels(path: Path, kind: str | None, clips: Sequence[Clip]) -> Iterator[np.ndarray]:
    """The pixels of each clip, uint8 ``(t, h, w, 3)``, scaled, then cut out. UnreadableMedia says why not."""
    decoded: Iterator[np.ndarray]
    if kind == "image":
        decoded = (media.decode_image(path, (clip.scaled_height, clip.scaled_width))[None] for clip in clips)
    else:
        decoded = media.decode_spans(path, [_span(clip) for clip in clips])
    for clip, frames in zip(clips, decoded, strict=True):
        yield frames[:, clip.top : clip.top + clip.height, clip.left : clip.left + clip.width]


def decode_apart(isolated: Isolated, path: Path, kind: str | None, clips: Sequence[Clip]) -> Iterator[np.ndarray]:
    """`decode_pixels` in the other process; what brings that down is tried once more, alone."""
    done, fell_at = 0, -1
    with isolated.lent(path) as readable:
        while done < len(clips):
            try:
                for frames in isolated.each(decode_pixels, readable, kind, clips[done:]):
                    yield frames
                    done += 1
            except ProcessDied:
                if fell_at == done:
                    raise
                fell_at = done


def _span(clip: Clip) -> media.Span:
    end_s = clip.end_s if clip.frames > 1 else None
    return media.Span(clip.start_s, end_s, clip.fps, (clip.scaled_height, clip.scaled_width), clip.frames)
