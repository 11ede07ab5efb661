"""Why jobs fail, in the words that their owners read."""

from dataclasses import dataclass

import torch

from services.video.job import OVERDUE
from sora_core.errors import InputError


class DeviceLost(Exception):
    """The device computes nothing any more, so no job is to blame; the replica has to be replaced."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job ends without a video, as its owner reads it."""

    code: str
    message: str

    @classmethod
    def of(cls, error: Exception) -> "Failure":
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
