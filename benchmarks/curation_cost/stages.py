"""What an hour of footage costs, stage by stage: each in a fresh process, on one thread.

``python -m benchmarks.curation_cost.stages FOOTAGE [EVERY]``: every file that decodes, for encoding every EVERY-th.
CPU seconds leave out starting, importing and loading weights. Memory is the process's own peak (VmHWM; ru_maxrss would
begin at the parent's), and what it had before the first file. Bytes are those of its reads and writes, wherever they
end; what captioning sends is counted where it arrives. The config is the laptop's.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import pyarrow.parquet as pq

from benchmarks.curation_cost.limit import NO_MODELS, films
from jobs.curate.books.commit import commit, commit_measured
from jobs.curate.books.parts import read_parts
from jobs.curate.config import CaptionEndpoint, CurateConfig
from jobs.curate.duplicates import copies
from jobs.curate.listing import Plan, make_plan
from jobs.curate.measure import models
from jobs.curate.rows import Examined, examined_from_table, examined_to_table
from jobs.curate.stages.examine import examine
from jobs.curate.stages.latents import LatentEncoder
from jobs.curate.stages.pixels import decode_pixels
from jobs.curate.words.endpoint import CaptionWriter
from jobs.launch import load_config
from sora_core.shards import Row

HOUR_S = 3600.0


@dataclass(slots=True)
class Cost:
    """Of one stage: CPU seconds, peak and resting memory in MiB, bytes read and written."""

    cpu_s: float
    peak_mib: float
    before_mib: float
    read: int
    written: int


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def of_process(name: str, file: str) -> int:
    """A number of this process as Linux counts it."""
    lines = Path(f"/proc/self/{file}").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1])


def costs(work: Callable[[], object]) -> Cost:
    """What ``work`` costs this process."""
    before = cpu_s(), of_process("VmRSS", "status"), of_process("rchar", "io"), of_process("wchar", "io")
    work()
    return Cost(
        cpu_s() - before[0],
        of_process("VmHWM", "status") / 1024,
        before[1] / 1024,
        of_process("rchar", "io") - before[2],
        of_process("wchar", "io") - before[3],
    )


class TimedEncoder(LatentEncoder):
    """Knows how much of the process's time was its own."""

    spent_s = 0.0

    def rows(self, examined: Sequence[Examined], failures: dict[str, str]) -> Iterator[Row]:
        drawn = super().rows(examined, failures)
        while True:
            started = cpu_s()
            row = next(drawn, None)
            self.spent_s += cpu_s() - started
            if row is None:
                return
            yield row


def config_of(footage: str, folder: Path, *settings: str) -> CurateConfig:
    places = f"source={footage}", f"output={folder / 'out'}"
    return load_config(
        "curate", CurateConfig, ["--set", *places, "captioner=describer", "max_likeness=0.84", *settings]
    )


def measured(folder: Path) -> list[Examined]:
    return examined_from_table(pq.read_table(folder / "examined.parquet"))


def decoding(footage: str, folder: Path, _argument: str) -> dict[str, Cost]:
    """Leaves the seconds of each file."""
    seconds: list[float] = []

    def work() -> None:
        seconds.extend(film.decode() / film.fps for film in films(config_of(footage, folder, *NO_MODELS)))

    cost = costs(work)
    (folder / "seconds.json").write_text(json.dumps(seconds))
    return {"probe, decode": cost}


def examining(footage: str, folder: Path, with_models: str) -> dict[str, Cost]:
    config = config_of(footage, folder, *(() if with_models else NO_MODELS))
    models.load(config.models)
    rows: list[Examined] = []
    sources = [film.source for film in films(config)]
    cost = costs(lambda: rows.extend(examine(source, config) for source in sources))
    pq.write_table(examined_to_table(rows), folder / "examined.parquet")
    return {"with models" if with_models else "with cheap scores": cost}


def comparing(footage: str, folder: Path, _argument: str) -> dict[str, Cost]:
    config = config_of(footage, folder)
    rows = measured(folder)
    wanted = {row.source.uri for row in rows}
    plan = make_plan(config, {})
    known = Plan([source for source in plan.sources if source.uri in wanted], [])

    def work() -> None:
        commit_measured(rows, config.output)
        copies.find(known, config, read_parts(config.output))

    return {"near-duplicates": costs(work)}


def captioning(_footage: str, folder: Path, url: str) -> dict[str, Cost]:
    writer = CaptionWriter(CaptionEndpoint(url=url, model="stand-in"), decode_pixels)
    rows = [
        replace(row, clips=[replace(clip, caption=None) for clip in row.clips if clip.status == "kept"])
        for row in measured(folder)
    ]
    return {"captions": costs(lambda: writer(rows))}


def encoding(footage: str, folder: Path, every: str) -> dict[str, Cost]:
    config = config_of(footage, folder)
    encoder = TimedEncoder(config, "cpu")
    cost = costs(lambda: commit(measured(folder)[:: int(every)], encoder, str(folder / "encoded")))
    return {"encode": replace(cost, cpu_s=encoder.spent_s), "commit": replace(cost, cpu_s=cost.cpu_s - encoder.spent_s)}


STAGES = {stage.__name__: stage for stage in (decoding, examining, comparing, captioning, encoding)}


def fresh(footage: str, folder: Path, stage: str, argument: str = "") -> dict[str, Cost]:
    """A stage in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.curation_cost.stages",
        "--stage",
        stage,
        footage,
        str(folder),
        argument,
    ]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return {name: Cost(**cost) for name, cost in json.loads(done.stdout.splitlines()[-1]).items()}


class _Handler(BaseHTTPRequestHandler):
    """A model that has seen it all and answers at once."""

    protocol_version = "HTTP/1.1"
    server: "_Endpoint"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.received.append(len(self.rfile.read(length)))
        said = json.dumps({"long": "A scene that goes on.", "short": "A scene."})
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "stand-in"}
        data = json.dumps(answer | {"choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class _Endpoint(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[int] = []


@contextmanager
def endpoint() -> Iterator[_Endpoint]:
    """A stand-in for a vision-language model, in this process, so that its work isn't counted."""
    server = _Endpoint()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main(footage: str, every: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name, endpoint() as server:
        run = partial(fresh, footage, Path(name))
        rows = run("decoding") | run("examining") | run("examining", "models") | run("comparing")
        rows |= run("captioning", f"http://127.0.0.1:{server.server_address[1]}/v1")
        rows["captions"].written += sum(server.received)
        rows |= run("encoding", str(every))
        clips = [clip for row in measured(Path(name)) for clip in row.clips]
        seconds = json.loads((Path(name) / "seconds.json").read_text())
    hours, some_hours = sum(seconds) / HOUR_S, sum(seconds[::every]) / HOUR_S
    kept = sum(clip.status == "kept" for clip in clips)
    print(f"{len(seconds)} files, {sum(seconds):.0f} s, {len(clips)} clips, {kept} of them kept\n")
    print(
        "| stage | CPU s an hour | peak memory, MiB | before the first file | read, MB an hour | written, MB an hour |"
    )
    print("|---|---|---|---|---|---|")
    for stage, cost in rows.items():
        per_hour = 1 / (some_hours if stage in ("encode", "commit") else hours)
        print(
            f"| {stage} | {cost.cpu_s * per_hour:.0f} | {cost.peak_mib:.0f} | {cost.before_mib:.0f} | "
            f"{cost.read * per_hour / 1e6:.0f} | {cost.written * per_hour / 1e6:.1f} |"
        )


if __name__ == "__main__":
    cv2.setNumThreads(1)
    if sys.argv[1] == "--stage":
        _, _, stage_name, footage_folder, work_folder, given = sys.argv
        done_costs = STAGES[stage_name](footage_folder, Path(work_folder), given)
        print(json.dumps({name: asdict(cost) for name, cost in done_costs.items()}))
    else:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 4)
