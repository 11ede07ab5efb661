"""Requests that come again under their key: how they are told, and what the ledger's refusals say to clients."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from services.video.errors import ApiError, refused
from services.video.intake.admission import over_rate
from services.video.job import Idempotency, IdempotencyConflict, RequestGone
from services.video.ledger.rates import OverRate

_MAX_KEY_CHARS = 255


def once_of(
    key: str | None, said: BaseModel, files: Mapping[str, Path], remixed_from: str | None
) -> Idempotency | None:
    """The key of a request and what tells it from others; None without a key. ApiError 400 for one of no use."""
    if key is None:
        return None
    if not 0 < len(key) <= _MAX_KEY_CHARS:
        raise refused("Idempotency-Key", f"an idempotency key has 1 to {_MAX_KEY_CHARS} characters")
    values: dict[str, Any] = said.model_dump(mode="json")
    content: list[Any] = [type(said).__name__, values, remixed_from]
    for name, path in sorted(files.items()):
        with path.open("rb") as file:
            content.append([name, hashlib.file_digest(file, "sha256").hexdigest()])
    return Idempotency(key, hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest())


@contextmanager
def told() -> Iterator[None]:
    """What the ledger refuses, in the words of the API."""
    final = {"x-should-retry": "false"}
    try:
        yield
    except OverRate as error:
        raise over_rate(error) from error
    except IdempotencyConflict as error:
        raise ApiError(409, str(error), code="idempotency_conflict", headers=final) from error
    except RequestGone as error:
        raise ApiError(410, str(error), code="gone", headers=final) from error
