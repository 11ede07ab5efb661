"""Work of requests in threads of its own, shared out by key: nobody's uploads keep another's questions waiting."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from services.video.errors import too_many

T = TypeVar("T")


class Turns:
    """At most ``at_once`` calls in a replica and ``of_one`` of one key; ``waiting`` more of a key may wait, and the
    keys that wait take turns. For one event loop."""

    def __init__(self, at_once: int, of_one: int, waiting: int) -> None:
        self._at_once, self._of_one, self._most_waiting = at_once, of_one, waiting
        self._threads = CapacityLimiter(at_once)
        self._running: Counter[str] = Counter()
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}  # in the order of their next turn

    async def run(self, owner: str, work: Callable[[], T]) -> T:
        """What the work returns or raises. ApiError 429 when too many of the owner's wait already."""
        async with self._turn(owner):
            return await to_thread.run_sync(work, limiter=self._threads)

    @asynccontextmanager
    async def _turn(self, owner: str) -> AsyncIterator[None]:
        if self._running.total() < self._at_once and self._running[owner] < self._of_one:
            self._running[owner] += 1
        else:
            await self._wait(owner)
        try:
            yield
        finally:
            self._running[owner] -= 1
            self._next()

    async def _wait(self, owner: str) -> None:
        queue = self._queues.setdefault(owner, deque())
        if len(queue) >= self._most_waiting:
            message = f"{len(queue)} requests of the key wait to be read already: try again later"
            raise too_many(message, "too_many_requests", None)
        called = asyncio.get_running_loop().create_future()
        queue.append(called)
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():  # its turn came as its client went
                self._running[owner] -= 1
                self._next()
            raise

    def _next(self) -> None:
        """Call whoever waits longest among the keys that may have one more."""
        for owner, queue in list(self._queues.items()):
            while queue and queue[0].done():
                queue.popleft()
            if not queue:
                del self._queues[owner]
            elif self._running[owner] < self._of_one and self._running.total() < self._at_once:
                self._running[owner] += 1
                queue.popleft().set_result(None)
                self._queues[owner] = self._queues.pop(owner)  # behind the others
