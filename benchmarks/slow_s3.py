"""A proxy that makes an S3 server as far away as one likes: every request waits, all answers share a bandwidth."""

import asyncio
import threading
import time
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_CHUNK = 1 << 16


class SlowS3:
    """Forwards to ``endpoint`` from a port of its own; a context manager whose ``endpoint`` clients are given.

    ``latency_s`` is added to each request, ``bytes_per_s`` bounds what all answers together bring;
    ``num_bytes`` counts what they brought.
    """

    def __init__(self, endpoint: str, latency_s: float, bytes_per_s: float) -> None:
        parts = urlsplit(endpoint)
        assert parts.hostname is not None
        self._target = parts.hostname, parts.port or 80
        self._latency_s, self._bytes_per_s = latency_s, bytes_per_s
        self._free_at = 0.0
        self.num_bytes = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="slow-s3", daemon=True)
        self.endpoint = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _end(self) -> None:
        """Let go of connections that clients have left open."""
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))

    def _run(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        self._writers += [writer, upstream_writer]
        answered = asyncio.create_task(self._answers(upstream_reader, writer))
        try:
            while data := await reader.read(_CHUNK):
                await asyncio.sleep(self._latency_s)
                upstream_writer.write(data)
                await upstream_writer.drain()
        except ConnectionError:
            pass
        finally:
            upstream_writer.close()
            await answered

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK):
                self.num_bytes += len(data)
                now = time.monotonic()
                self._free_at = max(now, self._free_at) + len(data) / self._bytes_per_s
                await asyncio.sleep(self._free_at - now)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
