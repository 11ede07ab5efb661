"""Failures of boto3, pyarrow and the operating system, said as errors of the house."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import botocore.exceptions

from sora_core.errors import (
    AccessDenied,
    CredentialsExpired,
    MissingObject,
    ObjectArchived,
    StorageError,
    StorageUnavailable,
)

_MISSING = {"NoSuchBucket", "NoSuchKey", "404", "NotFound"}
_DENIED = {"AccessDenied", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
# Of objects that are encrypted by a key which these credentials can't use.
_FOREIGN_KEY = ("KMS.", "KMSInvalidState", "InvalidEncryption")


def _explain(error: Exception, uri: str) -> StorageError:
    """The error of the house for one of boto3's, pyarrow's or the operating system's."""
    if isinstance(error, botocore.exceptions.ClientError):
        said = error.response.get("Error", {})
        code = str(said.get("Code", ""))
        if code in _MISSING:
            what = "bucket" if code == "NoSuchBucket" else "object"
            return MissingObject(f"{uri}: no such {what}; create it or correct the URI")
        if code in _EXPIRED:
            return CredentialsExpired(
                f"{uri}: the credentials have expired ({code}); renew them, then run the same command"
            )
        if code == "400":  # the answer to HEAD has no body that could say why
            return AccessDenied(
                f"{uri}: refused (400), since the credentials have expired or the object has a key of its own; renew "
                "them, then run the same command"
            )
        if code == "InvalidObjectState":
            return ObjectArchived(f"{uri}: lies in an archive ({code}); restore it, or leave it out")
        if code.startswith(_FOREIGN_KEY) or (code == "InvalidRequest" and "ncrypt" in str(said.get("Message"))):
            return AccessDenied(f"{uri}: encrypted by a key that these credentials can't use ({code})")
        if code in _DENIED:
            return AccessDenied(f"{uri}: access refused ({code}); check AWS_ACCESS_KEY_ID and the bucket policy")
        return StorageUnavailable(f"{uri}: the server answered {code or error}; try again later")
    if isinstance(error, botocore.exceptions.NoCredentialsError | botocore.exceptions.PartialCredentialsError):
        return AccessDenied(f"{uri}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if isinstance(error, botocore.exceptions.ParamValidationError):
        return StorageError(f"{uri}: not a valid bucket or key name; correct the URI")
    if isinstance(error, botocore.exceptions.BotoCoreError):
        return StorageUnavailable(f"{uri}: no answer from the storage ({error}); check AWS_ENDPOINT_URL")
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return MissingObject(f"{uri}: no such file; correct the path")
    if isinstance(error, PermissionError):
        return AccessDenied(f"{uri}: permission denied; check the owner of the folder")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageUnavailable(f"{uri}: the disk is full; free some room")
    return StorageUnavailable(f"{uri}: {error}")


_FAILURES = (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError, OSError)


@contextmanager
def explained(uri: str) -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        raise _explain(error, uri) from error
