"""A value that may be a little old, so that not every request has to ask the ledger for it."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")


class CachedEach(Generic[T]):
    """What ``ask`` last said of each name, or of all; for few names."""

    def __init__(self, ask: Callable[[str | None], T], keep_s: float) -> None:
        self._ask = ask
        self._keep_s = keep_s
        self._each: dict[str | None, Cached[T]] = {}

    def __call__(self, name: str | None = None) -> T:
        one = self._each.get(name)
        if one is None:
            one = self._each.setdefault(name, Cached(partial(self._ask, name), self._keep_s))
        return one()


class Cached(Generic[T]):
    """What ``ask`` last said, for ``keep_s`` seconds; after an empty answer it is asked again. For several threads."""

    def __init__(self, ask: Callable[[], T], keep_s: float) -> None:
        self._ask = ask
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._good_until = 0.0
        self._value: T

    def __call__(self) -> T:
        if time.monotonic() < self._good_until:
            return self._value
        with self._lock:
            if time.monotonic() >= self._good_until:
                self._value = self._ask()
                self._good_until = time.monotonic() + self._keep_s if self._value else 0.0
            return self._value
