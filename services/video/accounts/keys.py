"""Keys in the database, of which only hashes are kept: several an owner, each with its scopes and its end."""

import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from services.video.config import ApiSettings, hash_key
from services.video.ledger import Ledger
from services.video.ledger.account_tables import keys, service_secrets
from services.video.ledger.tables import database

_KNOWN_S = 5.0  # how long a revoked key may still be good in a replica that has just seen it
_REMEMBERED = 10_000
_LINKS = "links"


class Scope(StrEnum):
    """What a key is for: to make and remove things, to look at them, to look at footage and training, to administer the
    service, or to sign in once and nothing else."""

    MAKE = "make"
    READ = "read"
    DATA = "data"
    ADMIN = "admin"
    SIGN_IN = "sign_in"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; ``key_id`` names the key of an owner that has several."""

    owner: str
    key_id: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key without its secret; ``hint`` is how it ends. Times are Unix seconds."""

    id: str
    owner: str
    name: str
    hint: str
    scopes: Sequence[str]
    created_at: float
    expires_at: float | None
    revoked_at: float | None


class KeyStore:
    """Each method is one transaction. Raises LedgerUnavailable when the database doesn't answer."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] | None = None) -> None:
        self._engine = ledger.engine
        self._clock = clock or ledger.now

    def add(self, owner: str, name: str, scopes: Sequence[Scope], expires_at: float | None) -> tuple[Key, str]:
        """A new key, and its secret, which nobody is told again."""
        now, secret = self._clock(), f"sk-{secrets.token_urlsafe(32)}"
        row: dict[str, Any] = {
            "id": f"key_{int(now * 1000):012x}{secrets.token_hex(6)}",
            "owner": owner,
            "name": name,
            "hint": secret[-4:],
            "scopes": [str(scope) for scope in scopes],
            "created_at": now,
            "expires_at": expires_at,
            "revoked_at": None,
        }
        with database(self._engine, writes=True) as db:
            db.execute(keys.insert().values(**row, digest=hash_key(secret)))
        return Key(**row), secret

    def of_digest(self, digest: str) -> Key | None:
        """The key that has this hash, as long as it is good."""
        query = sa.select(keys).where(keys.c.digest == digest, keys.c.revoked_at.is_(None))
        with database(self._engine, writes=False) as db:
            row = db.execute(query).one_or_none()
        key = None if row is None else _key(row)
        return key if key and (key.expires_at is None or key.expires_at > self._clock()) else None

    def all(self, owner: str | None = None) -> list[Key]:
        """Every key, or an owner's, newest first; also those that have ended."""
        mine = sa.true() if owner is None else keys.c.owner == owner
        with database(self._engine, writes=False) as db:
            return [_key(row) for row in db.execute(sa.select(keys).where(mine).order_by(keys.c.id.desc()))]

    def revoke(self, key_id: str) -> Key | None:
        """End a key now; None when there is none. One that has ended stays as it is."""
        with database(self._engine, writes=True) as db:
            open_key = (keys.c.id == key_id) & keys.c.revoked_at.is_(None)
            db.execute(keys.update().where(open_key).values(revoked_at=self._clock()))
            row = db.execute(sa.select(keys).where(keys.c.id == key_id)).one_or_none()
        return None if row is None else _key(row)

    def redeem(self, key_id: str) -> Key | None:
        """A key as it was, which is ended by this; None when it had ended: of several who try, one gets it."""
        with database(self._engine, writes=True) as db:
            open_key = (keys.c.id == key_id) & keys.c.revoked_at.is_(None)
            ended = db.execute(keys.update().where(open_key).values(revoked_at=self._clock())).rowcount
            row = db.execute(sa.select(keys).where(keys.c.id == key_id)).one_or_none() if ended else None
        return None if row is None else _key(row)

    def secret(self, name: str) -> str:
        """A secret of the service's own, the same for all replicas; made when it is first asked for."""
        query = sa.select(service_secrets.c.secret).where(service_secrets.c.name == name)
        with database(self._engine, writes=True) as db:
            known: str | None = db.execute(query).scalar()
            if known is not None:
                return known
            try:
                with db.begin_nested():
                    db.execute(service_secrets.insert().values(name=name, secret=secrets.token_hex(32)))
            except sa.exc.IntegrityError:  # another replica was faster
                pass
            made: str = db.execute(query).scalar_one()
        return made


def _key(row: sa.Row[Any]) -> Key:
    return Key(**{name: value for name, value in row._mapping.items() if name != "digest"})


class Keyring:
    """Tells callers by their keys, those of the config and those of the database. Safe to use from several threads."""

    def __init__(self, settings: ApiSettings, store: KeyStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._settled = _of_config(settings)
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, tuple[float, Caller | None]] = OrderedDict()
        self._secret: bytes | None = None

    def known(self, secret: str) -> tuple[bool, Caller | None]:
        """Whether it is known without the database who has a key, and who it is."""
        digest = hash_key(secret)
        caller = next((one for other, one in self._settled.items() if hmac.compare_digest(other, digest)), None)
        if caller is not None:
            return True, caller
        with self._lock:
            until, seen = self._seen.get(digest, (0.0, None))
        return self._clock() < until, seen

    def ask(self, secret: str) -> Caller | None:
        """Who has a key, asked of the database."""
        digest = hash_key(secret)
        key = self._store.of_digest(digest)
        caller = None if key is None else Caller(key.owner, key.id, _usable(key.scopes))
        with self._lock:
            self._seen[digest] = (self._clock() + _KNOWN_S, caller)
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return caller

    def signing_secret(self) -> bytes:
        """What links are signed with."""
        if self._secret is None:
            self._secret = bytes.fromhex(self._store.secret(_LINKS))
        return self._secret


def _usable(scopes: Sequence[str]) -> frozenset[str]:
    """What a key itself is good for: one that signs in carries the scopes of the key that it is to be changed for."""
    return frozenset({Scope.SIGN_IN}) if Scope.SIGN_IN in scopes else frozenset(scopes)


def _of_config(settings: ApiSettings) -> Mapping[str, Caller]:
    plain = frozenset({Scope.MAKE, Scope.READ})
    further = {Scope.ADMIN: settings.admins, Scope.DATA: settings.viewers}
    return {
        digest: Caller(owner, f"config:{owner}", plain | {scope for scope, who in further.items() if owner in who})
        for owner, digest in settings.keys.items()
    }
