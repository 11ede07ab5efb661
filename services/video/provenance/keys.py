"""What marks and signs, in one file by URI: made for trying where an operator gave none."""

import importlib
import logging
import secrets
import tomllib
from collections.abc import Callable
from typing import Self

from pydantic import Field, ValidationError, model_validator

from services.video.config import ServiceConfig, Settings
from sora_core import storage
from sora_core.errors import ConfigError
from sora_core.safety.certificates import ANCHORS, CHAIN, KEY, write_test_certificates
from sora_core.safety.credentials import CredentialSigner
from sora_core.safety.mark import MarkKey

log = logging.getLogger(__name__)

_SECRET_BYTES = 32
_ORGANISATION = "Sora on Ray (for trying)"
_FILE = """\
# What marks and signs the files of this service. Keep it secret.
# A signer elsewhere: signer = "module:function" in place of private_key; it takes bytes and returns r || s (ES256).
certificates = '''
{chain}'''
private_key = '''
{key}'''
anchors = '''
{anchors}'''

[marks]  # the first marks, all of them are read: a new secret goes on top
{name} = "{secret}"
"""


class ProvenanceKeys(Settings):
    """``certificates`` is the signing chain, leaf first; ``anchors`` are the roots that readers trust (all PEM)."""

    certificates: str
    private_key: str | None = None
    signer: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$")
    anchors: str
    time_authority: str | None = Field(default=None, description="URL of an RFC 3161 time-stamp service")
    marks: dict[str, str] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.private_key is None) == (self.signer is None):
            raise ValueError("give private_key or signer, one of them")
        for name, secret in self.marks.items():
            if len(bytes.fromhex(secret)) < _SECRET_BYTES // 2:
                raise ValueError(f"marks.{name}: give at least {_SECRET_BYTES // 2} bytes as hex digits")
        return self

    @classmethod
    def load(cls, config: ServiceConfig) -> Self:
        """What the config's place holds; ConfigError when that can't be used.

        The service's own place is filled with a fresh secret and certificates of its own making when it is empty.
        """
        uri = config.provenance.keys or storage.join(config.output, "provenance", "keys.toml")
        if config.provenance.keys is None and not storage.exists(uri) and write_keys(uri, _ORGANISATION):
            log.warning(
                "provenance.keys isn't set: %s holds certificates of the service's own making, which others read as "
                "'valid' and not as 'trusted'; give the URI of your own", uri,
            )  # fmt: skip
        try:
            return cls.model_validate(tomllib.loads(storage.read_bytes(uri).decode()))
        except (ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            why = "; ".join(item["msg"] for item in error.errors()) if isinstance(error, ValidationError) else error
            raise ConfigError(f"provenance.keys {uri}: {why}") from error

    @property
    def mark_keys(self) -> tuple[MarkKey, ...]:
        """The newest first."""
        return tuple(MarkKey(name, bytes.fromhex(secret)) for name, secret in self.marks.items())

    def credential_signer(self) -> CredentialSigner:
        """What signs; ConfigError for certificates that are expired, unreadable or another key's."""
        key = _named(self.signer) if self.signer else (self.private_key or "").encode()
        return CredentialSigner(self.certificates.strip().encode(), key, self.time_authority)


def _named(path: str) -> Callable[[bytes], bytes]:
    module, _, name = path.partition(":")
    try:
        found: Callable[[bytes], bytes] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"signer {path!r} can't be imported: {error}") from error
    return found


def write_keys(uri: str, organisation: str, days: int = 365) -> bool:
    """Leave a fresh mark secret and certificates for trying as one file; False when there is one already."""
    with storage.scratch() as folder:
        write_test_certificates(folder, organisation, days)
        chain, key, anchors = ((folder / name).read_text() for name in (CHAIN, KEY, ANCHORS))
    text = _FILE.format(chain=chain, key=key, anchors=anchors, name="k1", secret=secrets.token_hex(_SECRET_BYTES))
    return storage.write_bytes(uri, text.encode(), if_absent=True)
