"""A Poisson mix of short and long jobs through the real sampler, decoder and ledger: `python -m benchmarks.serve_mix`.

Three tables of one run: how long short jobs wait behind long ones, and how soon a new job joins and a cancelled one
leaves, in steps; the same four small requests at once and through diffusers' pipeline one at a time, with the same
weights; and what the service adds to a generation that a plain call of the pipeline does not have.
"""

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel

sys.path.insert(0, str(Path(__file__).parents[1]))

from services.video.config import ServiceConfig
from services.video.job import OPEN, Job, NewJob, Stage, new_id
from services.video.ledger import Ledger
from services.video.workers.crew import Crew
from sora_core import telemetry
from sora_core.pipeline import Pipeline, Request
from sora_core.telemetry import Metric
from sora_core.vae import folder as vae_folder
from tests.services.tiny_model import save_tiny_checkpoint

SHORT = {"num_frames": 9, "height": 64, "width": 64}
LONG = {"num_frames": 17, "height": 64, "width": 96}
STEPS, LONG_STEPS = 20, 40
GUIDANCE = 3.0
PROMPT = "a red ball moves left over grass"
SIZES = (
    "num_attention_heads", "attention_head_dim", "in_channels", "out_channels", "text_dim", "ffn_dim", "num_layers",
)  # fmt: skip


class Steps:
    """When the sampler's steps ended, and how long they took."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def record(self, metric: Metric, value: float, _tags: Mapping[str, str]) -> None:
        if metric is telemetry.VIDEO_STEP_SECONDS:
            self.ends.append((time.time(), value))

    def begun_between(self, start: float, end: float) -> int:
        """Steps that began in a time."""
        return sum(start < at - took and at < end for at, took in self.ends)


class Service:
    """The sampler and the decoder of a replica over a fresh SQLite ledger, without HTTP and without Ray."""

    def __init__(self, folder: Path, run: str, pipeline: Pipeline) -> None:
        places = {"checkpoint": run, "output": str(folder / "out"), "ledger": f"sqlite:///{folder}/ledger.db"}
        self._config = ServiceConfig.model_validate(
            {**places, "sampler": {"idle_poll_s": 0.01, "look_every_s": 0.0, "step_tokens": step_tokens}}
        )
        self._pipeline = pipeline
        self.ledger = Ledger.open(self._config.ledger)
        self._crew = Crew.sampling(self._config, pipeline, self.ledger)
        self.steps = Steps()

    def put(self, shape: Mapping[str, int], num_steps: int, owner: str = "ann", seed: int = 0) -> str:
        pipeline = self._pipeline
        request = Request(prompt=PROMPT, **shape)
        tokens = 2 * pipeline.limits.check(request, pipeline.vae.compression, pipeline.dit.config.patch)
        params = {"num_inference_steps": num_steps, "num_windows": 1, "film": None, "remixed_from": None}
        words = {"prompt": PROMPT, "negative_prompt": "", "fps": 8.0, "seconds": "1", "guidance_scale": GUIDANCE}
        now = time.time()
        new = NewJob(
            id=new_id(now), owner=owner, model=pipeline.name, tokens=tokens, num_steps=num_steps, priority=0,
            queued_as=now, params=params | words | dict(shape) | {"seed": seed},
        )  # fmt: skip
        return self.ledger.create([new])[0].id

    def job(self, job_id: str) -> Job:
        found = self.ledger.get(job_id)
        assert found is not None
        return found

    def is_sampled(self, job_id: str) -> bool:
        """Whether a job is in the sampler's batch."""
        job = self.job(job_id)
        return job.lease_owner is not None and job.stage is Stage.SAMPLE

    def wait(self, job_ids: list[str]) -> list[Job]:
        while any(self.job(job_id).status in OPEN for job_id in job_ids):
            time.sleep(0.02)
        return [self.job(job_id) for job_id in job_ids]

    def __enter__(self) -> "Service":
        telemetry.bind(self.steps)
        self._crew.start()
        self.wait([self.put(SHORT, 2)])  # warm
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.stop()
        self.ledger.close()
        telemetry.bind(None)


def latency(job: Job) -> float:
    assert job.completed_at is not None
    return job.completed_at - job.created_at


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def mix(service: Service, minutes: float, load: float, seed: int) -> None:
    """Short jobs come at random, a long one is always there, and every so often it is cancelled while it is sampled.

    ``load`` is the share of the sampler's time that the short ones would take alone.
    """
    alone = [latency(service.wait([service.put(SHORT, STEPS, seed=number)])[0]) for number in range(8)]
    rng, shorts, cancels = random.Random(seed), list[str](), list[tuple[str, float]]()
    pause_s = statistics.median(alone) / load
    until = time.time() + 60 * minutes
    longs = [service.put(LONG, LONG_STEPS, owner="bob")]
    while time.time() < until:
        shorts.append(service.put(SHORT, STEPS, seed=len(shorts)))
        if service.job(longs[-1]).status not in OPEN:
            longs.append(service.put(LONG, LONG_STEPS, owner="bob"))
        elif len(shorts) % 4 == 0 and service.is_sampled(longs[-1]):
            cancels.append((longs[-1], time.time()))
            service.ledger.cancel(longs[-1])
        time.sleep(rng.expovariate(1 / pause_s))
    done = service.wait(shorts + longs)
    short = [latency(job) for job in done[: len(shorts)]]
    admissions = [service.steps.begun_between(job.created_at, job.started_at or 0.0) for job in done[: len(shorts)]]
    leaving = [service.steps.begun_between(at, service.job(job_id).completed_at or 0.0) for job_id, at in cancels]
    took = [value for _, value in service.steps.ends]
    print(f"mix: {len(shorts)} short jobs, {len(longs)} long ones of {LONG_STEPS} steps, {len(cancels)} cancelled")
    print(f"  step: median {1000 * statistics.median(took):.0f} ms, longest {1000 * max(took):.0f} ms")
    print(f"  short alone:  p50 {percentile(alone, 0.5):.2f} s, worst {max(alone):.2f} s")
    print(f"  short in mix: p50 {percentile(short, 0.5):.2f} s, p99 {percentile(short, 0.99):.2f} s")
    print(f"  p99 in mix / p50 alone: {percentile(short, 0.99) / percentile(alone, 0.5):.2f}")
    print(f"  steps begun before a new job joins: worst {max(admissions)}, mean {statistics.mean(admissions):.2f}")
    if leaving:
        print(f"  steps begun before a cancelled job left: worst {max(leaving)}")


def peer_of(pipeline: Pipeline) -> WanPipeline:
    """diffusers' pipeline with the same transformer and autoencoder; texts come to it encoded."""
    config = pipeline.dit.config
    sizes = {name: getattr(config, name) for name in SIZES}
    transformer = WanTransformer3DModel(**sizes).eval().requires_grad_(False)
    transformer.load_state_dict(pipeline.dit.state_dict())
    with vae_folder.opened(vae_folder.DEFAULT) as path:
        vae: AutoencoderKLWan = vae_folder.read_model(path)
    peer = WanPipeline(
        tokenizer=None, text_encoder=None, vae=vae, transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler()
    )
    peer.set_progress_bar_config(disable=True)
    return peer


def throughput(pipeline: Pipeline, peer: WanPipeline, shape: Mapping[str, int], count: int, repeats: int) -> None:
    """Sampling of the same requests, in turns: all at once here, one after another there."""
    texts = pipeline.text_encoder.encode([PROMPT, ""])
    embeds = {"prompt_embeds": texts[0][None], "negative_prompt_embeds": texts[1][None]}

    def ours() -> None:
        requests = [Request(prompt=PROMPT, num_inference_steps=STEPS, seed=seed, **shape) for seed in range(count)]
        running = [pipeline.start(request) for request in requests]
        while not running[0].done:
            pipeline.step(running)

    def theirs() -> None:
        for seed in range(count):
            generator = torch.Generator().manual_seed(seed)
            peer(
                **embeds, **shape, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generator,
                output_type="latent",
            )  # fmt: skip

    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(repeats):
        for name, work in (("ours", ours), ("theirs", theirs)):
            began = time.process_time()
            work()
            times[name].append(time.process_time() - began)
    here, there = (statistics.median(times[name]) for name in ("ours", "theirs"))
    frames, height, width = shape["num_frames"], shape["height"], shape["width"]
    print(
        f"{count} requests of {frames}x{height}x{width}, {STEPS} guided steps, CPU time: ours packed {here:.2f} s, "
        f"peer one at a time {there:.2f} s, ratio {there / here:.2f}"
    )


def tax(service: Service, pipeline: Pipeline, shape: Mapping[str, int], num_steps: int, repeats: int) -> None:
    """Wall time of a job through ledger, sampler, storage and decoder, in turns with a plain call of the pipeline."""
    served, plain = [], []
    for seed in range(repeats):
        served.append(latency(service.wait([service.put(shape, num_steps, seed=seed)])[0]))
        began = time.perf_counter()
        pipeline(PROMPT, num_inference_steps=num_steps, seed=seed, **shape)
        plain.append(time.perf_counter() - began)
    ratio = statistics.median(mine / other for mine, other in zip(served, plain, strict=True))
    print(
        f"one job of {num_steps} steps: plain call {statistics.median(plain):.2f} s, through the service "
        f"{statistics.median(served):.2f} s (mp4, pictures and all), tax {100 * (ratio - 1):.1f} %"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--load", type=float, default=0.4)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="diffusers")
    torch.set_num_threads(1)
    threading.current_thread().name = "benchmark"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = str(folder / "run")
        sizes = {"num_attention_heads": arguments.width // 32, "attention_head_dim": 32, "ffn_dim": 4 * arguments.width}
        save_tiny_checkpoint(run, 0.02, 4096, num_layers=arguments.layers, **sizes)
        pipeline = Pipeline.load(run, "cpu")
        with Service(folder, run, pipeline) as service:
            mix(service, arguments.minutes, arguments.load, arguments.seed)
            tax(service, pipeline, LONG, LONG_STEPS // 2, arguments.repeats)
        peer = peer_of(pipeline)
        for shape in ({"num_frames": 1, "height": 64, "width": 64}, SHORT, {**SHORT, "height": 128, "width": 128}):
            throughput(pipeline, peer, shape, 4, arguments.repeats)


if __name__ == "__main__":
    main()
