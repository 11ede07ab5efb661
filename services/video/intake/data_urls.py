"""Pictures inside of URLs, as RFC 2397 has them and as clients write them: in lines, with parameters, unpadded."""

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

_HEAD = re.compile(r"\s*data:([^,]{0,500}),", re.IGNORECASE)
_SPACES = bytes.maketrans(b"-_", b"+/"), b" \t\r\n\f\v"


def is_data_url(url: str) -> bool:
    """Whether the content is in the URL itself."""
    return url[:32].lstrip().lower().startswith("data:")


def content_of(url: str) -> bytes:
    """The bytes of a data URL, whatever type it claims. ValueError says what is wrong with it."""
    head = _HEAD.match(url)
    if head is None:
        raise ValueError("a data URL must say data:image/png;base64,...")
    payload = url[head.end() :]
    if head[1].strip().lower().rpartition(";")[2].strip() != "base64":
        return unquote_to_bytes(payload)
    try:
        data = (unquote_to_bytes(payload) if "%" in payload else payload.encode("ascii")).translate(*_SPACES)
        return base64.b64decode(data.rstrip(b"=") + b"=" * (-len(data.rstrip(b"=")) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(f"the base64 is damaged ({error})") from error
