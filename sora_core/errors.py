"""The exceptions of the house.

SoraError
├── InputError              what a caller can fix; a job exits 2, the API answers 4xx
│   ├── ConfigError         a key, value or combination in a config
│   ├── CorruptShard        a file of latents whose bytes aren't what was written
│   ├── UnreadableMedia     a file without pictures that can be decoded (``reason``)
│   ├── FingerprintMismatch latents or a checkpoint made with another VAE or text encoder
│   └── CheckpointError     a checkpoint or weights folder that can't be loaded as asked
├── StorageError            a place that can't be used; a job, which was given it, exits 2, the API answers 503
│   ├── MissingObject       no such bucket, object or folder
│   ├── AccessDenied        credentials missing, wrong or without the right
│   │   └── CredentialsExpired  they were right, and their time is over
│   ├── ObjectArchived      it lies in an archive from which it must be restored first
│   └── StorageUnavailable  the server doesn't answer, or the disk is full
├── ProvenanceUnavailable   a signer that is away or refuses: nothing leaves unsigned
└── ModerationUnavailable   a judge of the gate is away: nothing passes unseen

Every message names the offending value and the remedy. What only this code can break is an assert.
"""


class SoraError(Exception):
    """Base of every exception that this project raises on purpose."""


class ProvenanceUnavailable(SoraError):
    """What signs content credentials is away, or refuses; the work waits."""


class ModerationUnavailable(SoraError):
    """A judge is away, and the gate is to stay closed then; the request or the job waits."""


class InputError(SoraError):
    """A value that the caller gave and can change; the message says how."""


class ConfigError(InputError):
    """A key, a value or a combination in a config is wrong."""


class StorageError(SoraError):
    """A place named by a URI can't be used."""


class MissingObject(StorageError):
    """There is no such bucket, object or folder."""


class AccessDenied(StorageError):
    """The credentials are missing, wrong, or lack the right."""


class CredentialsExpired(AccessDenied):
    """The credentials were right, and their time is over: nothing else can be read either."""


class ObjectArchived(StorageError):
    """The object lies in an archive and must be restored before anybody can read it."""


class StorageUnavailable(StorageError):
    """The storage doesn't answer, or has no room left."""


class CorruptShard(InputError):
    """A file of latents whose bytes aren't what curation wrote."""


class UnreadableMedia(InputError):
    """A file that holds no picture this build can decode; ``reason`` is a short snake_case code."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_unreadable, (str(self), self.reason)


def _rebuild_unreadable(message: str, reason: str) -> UnreadableMedia:
    return UnreadableMedia(message, reason=reason)


class FingerprintMismatch(InputError):
    """Latents, text states or weights that were made with another model than the one at hand."""


class CheckpointError(InputError):
    """A checkpoint or weights folder that can't be loaded as asked."""
