"""Signatures as Standard Webhooks defines them and the official clients verify them."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

_PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> str:
    """A signing secret as its receiver is given it."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(keys: Sequence[str], event_id: str, sent_at: float, body: str) -> dict[str, str]:
    """The headers of a delivery, signed with every secret that is valid now. ``sent_at`` in Unix seconds."""
    timestamp = str(int(sent_at))
    content = f"{event_id}.{timestamp}.{body}".encode()
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(key, content) for key in keys),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
