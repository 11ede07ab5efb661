"""Several workers on one machine: processes that form a gloo group, as Ray Train's workers form one across machines."""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext

import torch.distributed as dist


@cache
def _context() -> ForkServerContext:
    """A server that has imported what workers need, and forks them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["jobs.train.loop"])
    return context


def run(
    workers: int,
    function: Callable[..., None],
    *arguments: object,
    timeout_s: float = 200.0,
    exit_codes: Sequence[int | None] | None = None,
) -> None:
    """Call a module's function on so many workers at once; fails when one of them does, its traceback on stderr.

    ``exit_codes`` are the ones to expect when they are to fail; None is any but 0.
    """
    with tempfile.TemporaryDirectory(prefix="sora-group-") as folder:
        members = [
            _context().Process(
                target=_member, args=(f"file://{folder}/meet", rank, workers, dict(os.environ), function, arguments)
            )
            for rank in range(workers)
        ]
        for member in members:
            member.start()
        deadline = time.monotonic() + timeout_s
        for member in members:
            member.join(max(0.0, deadline - time.monotonic()))
        late = [member.pid for member in members if member.is_alive()]
        for member in members:
            member.kill()
            member.join()
        assert not late, f"workers {late} didn't finish in {timeout_s} s"
        found = [member.exitcode for member in members]
        expected = list(exit_codes or [0] * workers)
        assert all(a == b if b is not None else a != 0 for a, b in zip(found, expected, strict=True)), found


def _member(
    meet: str,
    rank: int,
    size: int,
    environment: dict[str, str],
    function: Callable[..., None],
    arguments: tuple[object, ...],
) -> None:
    os.environ.update(environment)  # the server's own is that of the first test which needed it
    dist.init_process_group("gloo", meet, rank=rank, world_size=size)
    try:
        function(*arguments)
        dist.barrier()
    finally:
        dist.destroy_process_group()
