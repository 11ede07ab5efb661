"""How fast the API answers while requests keep coming: `python -m benchmarks.api [--rate 50]`.

The real application under uvicorn in a process of its own; requests leave at fixed times whatever the answers take:
half of them create videos, half look at one. On SQLite and, where a server is installed, PostgreSQL with commits on
disk. With ``--url`` and ``--key`` a deployed service is asked instead (its queue must have room).
"""

import argparse
import asyncio
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import uvicorn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.ledger import databases
from services.video.api import create_app
from services.video.config import ServiceConfig, hash_key
from services.video.ledger import Ledger
from services.video.schemas import ModelCard
from tests.services.postgres import free_port

KEY = "sk-benchmark"
BODY = {"prompt": "a red ball moves left over grass", "size": "448x256", "num_frames": 33}
CARD = ModelCard(
    id="benchmark", created=0, checkpoint="none", inputs=("text",), fps=8.0, size_multiple=16, frame_multiple=4,
    patch=(1, 2, 2), max_tokens=32_768, max_side_tokens=1024, token_budget=65_536, default_size="448x256",
    default_num_frames=33, default_num_inference_steps=30, default_guidance_scale=3.0,
)  # fmt: skip
WARM_UP_S = 3.0


@dataclass(slots=True)
class Seen:
    """Milliseconds from sending a request to the end of its answer, by what was asked; and what went wrong."""

    create: list[float] = field(default_factory=list)
    retrieve: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def serve(port: int, ledger_url: str, folder: str) -> None:
    """An API replica, and the signs of life of a sampler that takes no work."""
    room = {"max_waiting": 1_000_000}
    api = {"keys": {"ann": hash_key(KEY)}, "limits": room, **room}
    places = {"checkpoint": "none", "output": folder, "ledger": ledger_url}
    config = ServiceConfig.model_validate({**places, "api": api})
    ledger = Ledger.open(ledger_url)
    ledger.roster.publish_model(CARD.id, CARD.model_dump(mode="json"))
    ledger.roster.beat("worker", CARD.id, 100_000.0)
    uvicorn.run(create_app(config, ledger), host="127.0.0.1", port=port, log_level="warning", ws="none")


async def load(url: str, key: str, rate: float, seconds: float) -> Seen:
    """Requests at a steady rate."""
    seen, ids = Seen(), []
    headers = {"authorization": f"Bearer {key}"}

    async def ask(client: httpx.AsyncClient, index: int) -> None:
        began = time.perf_counter()
        if index % 2 and ids:
            answer = await client.get(f"/videos/{ids[index % len(ids)]}")
        else:
            answer = await client.post("/videos", json=BODY)
        elapsed_ms = 1000 * (time.perf_counter() - began)
        if answer.status_code != 200:
            seen.errors.append(f"{answer.status_code}: {answer.text[:200]}")
            return
        (seen.retrieve if answer.request.method == "GET" else seen.create).append(elapsed_ms)
        if answer.request.method == "POST":
            ids.append(answer.json()["id"])

    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=60)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, limits=limits) as client:
        began = time.perf_counter()
        tasks = []
        for index in range(round(rate * seconds)):
            await asyncio.sleep(began + index / rate - time.perf_counter())
            tasks.append(asyncio.create_task(ask(client, index)))
        await asyncio.gather(*tasks)
    return seen


@contextmanager
def replica(ledger_url: str) -> Iterator[tuple[str, psutil.Process]]:
    """The URL of a running API replica, and its process."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="sora-api-") as folder:
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(port, ledger_url, folder))
        process.start()
        url = f"http://127.0.0.1:{port}"
        try:
            _wait(url)
            yield f"{url}/v1", psutil.Process(process.pid)
        finally:
            process.terminate()
            process.join()


def _wait(url: str) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        try:
            httpx.get(f"{url}/metrics")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"{url} doesn't answer")


def cpu_s(process: psutil.Process) -> float:
    """Seconds of CPU that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def report(name: str, seen: Seen, server_cpu_s: float | None = None) -> None:
    """A table's rows, and what one request costs the server where that is known."""
    for what, times in (("create", seen.create), ("retrieve", seen.retrieve), ("both", seen.create + seen.retrieve)):
        cuts = statistics.quantiles(times, n=100)
        numbers = " | ".join(f"{cuts[percent - 1]:.1f}" for percent in (50, 95, 99))
        print(f"| {name} | {what} | {len(times)} | {numbers} | {len(seen.errors)} |", flush=True)
    if server_cpu_s is not None:
        print(f"  the server's CPU a request: {1000 * server_cpu_s / len(seen.create + seen.retrieve):.1f} ms")
    for error in sorted(set(seen.errors)):
        print(f"  {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=50.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--ledger", help="URL of an empty PostgreSQL database")
    parser.add_argument("--url", help="of a deployed service, ending in /v1")
    parser.add_argument("--key", default=KEY)
    given = parser.parse_args()
    print("| ledger | request | number | p50 ms | p95 ms | p99 ms | errors |\n|---|---|---|---|---|---|---|")
    if given.url:
        report(given.url, asyncio.run(load(given.url, given.key, given.rate, given.seconds)))
        return
    with databases(given.ledger) as urls:
        for name, ledger_url in urls.items():
            with replica(ledger_url) as (url, process):
                asyncio.run(load(url, KEY, given.rate, WARM_UP_S))
                before = cpu_s(process)
                seen = asyncio.run(load(url, KEY, given.rate, given.seconds))
                report(name, seen, cpu_s(process) - before)


if __name__ == "__main__":
    main()
