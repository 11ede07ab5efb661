"""Weights by hub id (``owner/name``): the local copy that the Hugging Face hub's own client keeps."""

import re
from collections.abc import Sequence
from pathlib import Path

from sora_core.errors import CheckpointError
from sora_core.storage.places import local_path

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_id(uri: str) -> bool:
    """Whether this can only be a hub id: it looks like one, and no such folder is here."""
    return bool(_HUB_ID.fullmatch(uri)) and not local_path(uri).exists()


def fetch_from_hub(hub_id: str, patterns: Sequence[str], *, what: str, remedy: str) -> Path:
    """The folder with the files of a hub id that match; from its cache, else downloaded.

    CheckpointError, of ``what`` was sought and with the ``remedy``, when there is none.
    """
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(hub_id, allow_patterns=list(patterns)))
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise CheckpointError(
            f"{what} {hub_id!r} is neither a folder nor a hub id that can be fetched ({type(error).__name__}); {remedy}"
        ) from error
