"""The catalogue of every metric, and the one switch that says where they go.

A metric is declared here once, by a constant; code calls ``telemetry.TRAIN_LOSS.set(0.3)``. Nothing happens
until a process calls `bind` with a backend: Ray's metrics inside a job or a service, ``prometheus_client``
outside of Ray. Names are ``sora_<room>_<what>_<unit>``; counters get ``_total`` from the backend.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One time series family. ``buckets`` are upper bounds in the metric's unit, for histograms only."""

    name: str
    kind: Kind
    help: str
    tags: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def inc(self, amount: float = 1.0, tags: Mapping[str, str] | None = None) -> None:
        assert self.kind is Kind.COUNTER, self.name
        _record(self, amount, tags)

    def set(self, value: float, tags: Mapping[str, str] | None = None) -> None:
        assert self.kind is Kind.GAUGE, self.name
        _record(self, value, tags)

    def observe(self, value: float, tags: Mapping[str, str] | None = None) -> None:
        assert self.kind is Kind.HISTOGRAM, self.name
        _record(self, value, tags)


class Backend(Protocol):
    """Where numbers go: `record` is called for every change of every metric."""

    def record(self, metric: Metric, value: float, tags: Mapping[str, str]) -> None: ...


_backend: Backend | None = None


def bind(backend: Backend | None) -> None:
    """Send this process's metrics to ``backend``; None silences them."""
    global _backend
    _backend = backend


def _record(metric: Metric, value: float, tags: Mapping[str, str] | None) -> None:
    given = dict(tags or {})
    assert set(given) == set(metric.tags), f"{metric.name} takes the tags {metric.tags}, got {tuple(given)}"
    if _backend is not None:
        _backend.record(metric, value, given)


_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


def _counter(name: str, text: str, *tags: str) -> Metric:
    return Metric(name, Kind.COUNTER, text, tags)


def _gauge(name: str, text: str, *tags: str) -> Metric:
    return Metric(name, Kind.GAUGE, text, tags)


def _seconds(name: str, text: str, *tags: str) -> Metric:
    return Metric(name, Kind.HISTOGRAM, text, tags, _SECONDS)


# --- curation
CURATE_SOURCES = _counter("sora_curate_sources", "Source objects finished, by status", "status")
CURATE_CLIPS = _counter("sora_curate_clips", "Clips finished, by status and reason", "status", "reason")
CURATE_STAGE_SECONDS = _seconds("sora_curate_stage_seconds", "Time of one item in a stage", "stage")
CURATE_CAPTION_TOKENS = _counter("sora_curate_caption_tokens", "Tokens of the caption endpoint, by kind", "kind")
CURATE_DECODED_FRAMES = _counter("sora_curate_decoded_frames", "Frames decoded from footage")

# --- training
TRAIN_STEP = _gauge("sora_train_step", "Optimiser steps done")
TRAIN_LOSS = _gauge("sora_train_loss", "Flow-matching loss of the last step, mean over ranks")
TRAIN_TOKENS_PER_SECOND = _gauge("sora_train_tokens_per_second", "Tokens trained on, all ranks")
TRAIN_STEP_SECONDS = _gauge("sora_train_step_seconds", "Wall time of the last step")
TRAIN_DATA_WAIT_SECONDS = _gauge("sora_train_data_wait_seconds", "Time the last step waited for data")
TRAIN_CHECKPOINT_SECONDS = _gauge("sora_train_checkpoint_seconds", "Wall time of the last checkpoint")
TRAIN_SKIPPED_CLIPS = _counter("sora_train_skipped_clips", "Clips left out because their shard can't be read")
TRAIN_UTILIZATION = _gauge("sora_train_utilization_ratio", "Matrix products of the last step, of the devices' peak")
TRAIN_SIGMA_LOSS = _gauge("sora_train_sigma_loss", "Loss of clips trained on lately, by bin of sigma", "sigma_bin")
TRAIN_VAL_LOSS = _gauge("sora_train_val_loss", "Validation loss, by bin of sigma", "sigma_bin")

# --- serving
VIDEO_REQUESTS = _counter("sora_video_requests", "API requests, by route and status", "route", "status")
VIDEO_JOBS_FINISHED = _counter("sora_video_jobs_finished", "Jobs that workers ended, by how", "status")
VIDEO_REQUEST_SECONDS = Metric(
    "sora_video_request_seconds",
    Kind.HISTOGRAM,
    "Time from a request's head to the end of its answer, by route",
    ("route",),
    (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0),
)
VIDEO_REFUSALS = _counter("sora_video_refusals", "Requests answered with an error, by its code", "code")
VIDEO_WEBHOOKS = _counter("sora_video_webhooks", "Attempts to deliver an event, by outcome", "outcome")
VIDEO_STEPS = _counter("sora_video_denoise_steps", "Denoising steps of single jobs")
VIDEO_BATCH_TOKENS = _gauge("sora_video_batch_tokens", "Tokens in the last packed forward")
VIDEO_STEP_SECONDS = _seconds("sora_video_step_seconds", "Wall time of one packed forward and solver step")
VIDEO_BATCH_FILL = _gauge("sora_video_batch_fill_ratio", "Tokens of the last packed forward over the token budget")
VIDEO_ADMISSION_SECONDS = _seconds("sora_video_admission_seconds", "Accepted to in a sampler's batch, one job")
VIDEO_PHASE_SECONDS = _seconds(
    "sora_video_phase_seconds", "Waiting, sampling or decoding, one job, by its tokens", "phase", "tokens"
)
VIDEO_JOB_SECONDS = _seconds("sora_video_job_seconds", "Accepted to finished, one job", "status")
VIDEO_QUEUE_DEPTH = _gauge("sora_video_queue_jobs", "Jobs in the ledger, by status", "status")
VIDEO_FAILED_JOBS = _gauge("sora_video_failed_jobs", "Failed jobs in the ledger, by reason", "reason")
VIDEO_LEASES = _gauge("sora_video_leases", "Jobs that a worker holds, by what it does with them", "stage")
VIDEO_LEASES_LOST = _counter("sora_video_leases_lost", "Leases that ran out because their worker died or stalled")
VIDEO_SWEPT = _counter("sora_video_swept_files", "Files removed that no job and no process needed any more")
VIDEO_CACHED_TOKENS = _counter("sora_video_cached_tokens", "Tokens that left a step after its first block")
VIDEO_WAIT_ERROR = Metric(
    "sora_video_wait_error_ratio",
    Kind.HISTOGRAM,
    "How far a job's time was from the predicted one, over that time",
    (),
    (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 3.0, 10.0),
)
VIDEO_MODERATIONS = _counter("sora_video_moderations", "Looks of the gate, by stage and outcome", "stage", "outcome")
VIDEO_BLOCKED = _counter("sora_video_blocked", "Refusals of the gate that stood, by category", "category")
VIDEO_PREDICTED_WAIT_SECONDS = _gauge("sora_video_predicted_wait_seconds", "Time to work off the accepted jobs")


def catalogue() -> dict[str, Metric]:
    """Every declared metric by name."""
    return {value.name: value for value in globals().values() if isinstance(value, Metric)}
