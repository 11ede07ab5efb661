"""Why work goes wrong, and whose fault it is: the job's, the place's where it is done, or nobody knows."""

import errno
from dataclasses import dataclass
from enum import Enum

import torch

from services.video.job import OVERDUE
from services.video.ledger.tables import LedgerUnavailable
from services.video.moderation.guard import BLOCKED, FramesBlocked
from sora_core.errors import InputError, ModerationUnavailable, ProvenanceUnavailable, StorageError


class DeviceLost(Exception):
    """The device computes nothing any more, so no job is to blame; the replica has to be replaced."""


class ClipLost(InputError):
    """A clip that a job works on is gone from the storage."""


class Blame(Enum):
    """Whose fault an error is."""

    JOB = "job"
    PLACE = "place"
    UNKNOWN = "unknown"


_OF_THE_HOST = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EACCES, errno.EIO}


def blame(error: Exception) -> Blame:
    """Whose fault an error is; one that another worker may not have is the place's."""
    if isinstance(error, DeviceLost | StorageError | LedgerUnavailable | ProvenanceUnavailable | ModerationUnavailable):
        return Blame.PLACE
    if isinstance(error, OSError) and error.errno in _OF_THE_HOST:
        return Blame.PLACE
    return Blame.JOB if isinstance(error, InputError) else Blame.UNKNOWN


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job ends without a video, as its owner reads it."""

    code: str
    message: str

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        if isinstance(error, ClipLost):
            return cls("source_lost", str(error))
        if isinstance(error, FramesBlocked):
            return cls(BLOCKED, str(error))
        if isinstance(error, InputError):
            return cls("invalid_request", str(error))
        if is_out_of_memory(error):
            return cls("out_of_memory", "there was no room in memory: ask for fewer frames or a smaller size")
        return cls("server_error", f"{type(error).__name__}: {error}")


LATE = Failure(OVERDUE, "not done at its deadline")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an accelerator or the host had no room for a tensor."""
    host = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return host or isinstance(error, torch.OutOfMemoryError | MemoryError)
