"""The catalogue of every metric, what each is for, and the one switch that says where they go.

A metric is declared here once, by a constant; code calls ``telemetry.TRAIN_LOSS.set(0.3)``. Nothing happens
until a process calls `bind` with a backend: Ray's metrics inside a job or a service, ``prometheus_client``
outside of Ray. Names are ``sora_<room>_<what>_<unit>``; counters get ``_total`` from the backend.
Dashboards are generated from what is said here (``python -m jobs.dashboards``), so a metric without a purpose can't
be declared.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Across(StrEnum):
    """What a gauge that many processes set means for all of them."""

    SUM = "sum"
    MEAN = "avg"
    MAX = "max"


class Holder(StrEnum):
    """Which processes have a metric: their number is what multiplies its series."""

    ACTOR = "actor of curation"
    TRAINER = "training worker"
    WORKER = "sampler or decoder"
    API = "API replica"
    LEDGER = "ledger, read by each API replica's /metrics"


@dataclass(frozen=True, slots=True)
class Metric:
    """One time series family.

    ``asks`` is the question of an operator that it answers, ``unit`` Grafana's name of its unit. ``buckets`` are upper
    bounds in that unit, for histograms only. ``most`` bounds the combinations of tags in one process: what goes
    beyond is counted under ``other``, so a client's wishes can't fill Prometheus.
    """

    name: str
    kind: Kind
    unit: str
    holder: Holder
    help: str
    asks: str
    tags: tuple[str, ...] = ()
    most: int = 1
    across: Across = Across.MAX
    buckets: tuple[float, ...] = ()

    @property
    def room(self) -> str:
        """The door that it belongs to: curate, train or video."""
        return self.name.split("_")[1]

    @property
    def series(self) -> int:
        """The most time series of one process: of a histogram one a bucket, one without bound, sum and count."""
        return self.most * (len(self.buckets) + 3 if self.buckets else 1)

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


OTHER = "other"
_backend: Backend | None = None
_told: dict[str, set[tuple[str, ...]]] = {}


def bind(backend: Backend | None) -> None:
    """Send this process's metrics to ``backend``; None silences them."""
    global _backend
    _backend = backend
    _told.clear()


def _record(metric: Metric, value: float, tags: Mapping[str, str] | None) -> None:
    given = dict(tags or {})
    assert set(given) == set(metric.tags), f"{metric.name} takes the tags {metric.tags}, got {tuple(given)}"
    if _backend is not None:
        _backend.record(metric, value, _bounded(metric, given) if given else given)


def _bounded(metric: Metric, given: dict[str, str]) -> dict[str, str]:
    """The tags, or ``other`` for each when this process has told of as many combinations as the metric may have."""
    told, values = _told.setdefault(metric.name, set()), tuple(given[tag] for tag in metric.tags)
    if values not in told:
        if len(told) >= metric.most - 1:  # the last one is that of all others
            return dict.fromkeys(metric.tags, OTHER)
        told.add(values)
    return given


def catalogue() -> dict[str, Metric]:
    """Every declared metric by name."""
    return {value.name: value for value in globals().values() if isinstance(value, Metric)}


_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_COUNTER, _GAUGE, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_ACTOR, _TRAINER, _WORKER, _API, _LEDGER = Holder.ACTOR, Holder.TRAINER, Holder.WORKER, Holder.API, Holder.LEDGER

MOST_OWNERS = 50

# fmt: off
# --- curation
CURATE_SOURCES = Metric("sora_curate_sources", _COUNTER, "ops", _ACTOR,
    "Source objects finished, by status",
    "How fast does footage go through, and how much of it is unreadable?", tags=("status",), most=8)
CURATE_CLIPS = Metric("sora_curate_clips", _COUNTER, "ops", _ACTOR,
    "Clips finished, by status and reason",
    "What is kept, and which reason drops the rest?", tags=("status", "reason"), most=48)
CURATE_STAGE_SECONDS = Metric("sora_curate_stage_seconds", _HISTOGRAM, "s", _ACTOR,
    "Time of one item in a stage",
    "Which stage is slow?", tags=("stage",), most=8, buckets=_SECONDS)
CURATE_CAPTION_TOKENS = Metric("sora_curate_caption_tokens", _COUNTER, "ops", _ACTOR,
    "Tokens of the caption endpoint, by kind",
    "What do the captions cost?", tags=("kind",), most=4)
CURATE_DECODED_FRAMES = Metric("sora_curate_decoded_frames", _COUNTER, "ops", _ACTOR,
    "Frames decoded from footage",
    "Are the cores busy decoding?")

# --- training
TRAIN_STEP = Metric("sora_train_step", _GAUGE, "short", _TRAINER,
    "Optimiser steps done",
    "Does training get on?")
TRAIN_LOSS = Metric("sora_train_loss", _GAUGE, "short", _TRAINER,
    "Flow-matching loss of the last step, mean over ranks",
    "Does the model learn?")
TRAIN_TOKENS_PER_SECOND = Metric("sora_train_tokens_per_second", _GAUGE, "ops", _TRAINER,
    "Tokens trained on, all ranks",
    "How fast is the whole run?")
TRAIN_STEP_SECONDS = Metric("sora_train_step_seconds", _GAUGE, "s", _TRAINER,
    "Wall time of the last step",
    "Has a step become slower?")
TRAIN_DATA_WAIT_SECONDS = Metric("sora_train_data_wait_seconds", _GAUGE, "s", _TRAINER,
    "Time the last step waited for data",
    "Do devices wait for the storage?")
TRAIN_CHECKPOINT_SECONDS = Metric("sora_train_checkpoint_seconds", _GAUGE, "s", _TRAINER,
    "Wall time of the last checkpoint",
    "How long does a checkpoint take?")
TRAIN_SKIPPED_CLIPS = Metric("sora_train_skipped_clips", _COUNTER, "ops", _TRAINER,
    "Clips left out because their shard can't be read",
    "Is data damaged?")
TRAIN_UTILIZATION = Metric("sora_train_utilization_ratio", _GAUGE, "percentunit", _TRAINER,
    "Matrix products of the last step, of the devices' peak",
    "Are the devices used well?")
TRAIN_SIGMA_LOSS = Metric("sora_train_sigma_loss", _GAUGE, "short", _TRAINER,
    "Loss of clips trained on lately, by bin of sigma",
    "At which noise does it learn?", tags=("sigma_bin",), most=24)
TRAIN_VAL_LOSS = Metric("sora_train_val_loss", _GAUGE, "short", _TRAINER,
    "Validation loss, by bin of sigma",
    "Does it learn what it has not seen?", tags=("sigma_bin",), most=24)

# --- serving
VIDEO_REQUESTS = Metric("sora_video_requests", _COUNTER, "reqps", _API,
    "API requests, by route and status",
    "Who asks for what, and is it answered?", tags=("route", "status"), most=400)
VIDEO_JOBS_FINISHED = Metric("sora_video_jobs_finished", _COUNTER, "ops", _WORKER,
    "Jobs that workers ended, by how",
    "How many videos are made, and how many fail?", tags=("status",), most=4)
VIDEO_REQUEST_SECONDS = Metric("sora_video_request_seconds", _HISTOGRAM, "s", _API,
    "Time from a request's head to the end of its answer, by route",
    "Does the API answer quickly?",
    tags=("route",), most=96, buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0))
VIDEO_REFUSALS = Metric("sora_video_refusals", _COUNTER, "reqps", _API,
    "Requests answered with an error, by its code",
    "What do clients do wrong, and what do we?", tags=("code",), most=96)
VIDEO_WEBHOOKS = Metric("sora_video_webhooks", _COUNTER, "ops", _API,
    "Attempts to deliver an event, by outcome",
    "Do events reach their receivers?", tags=("outcome",), most=8)
VIDEO_STEPS = Metric("sora_video_denoise_steps", _COUNTER, "ops", _WORKER,
    "Denoising steps of single jobs",
    "How much work is done?")
VIDEO_BATCH_TOKENS = Metric("sora_video_batch_tokens", _GAUGE, "short", _WORKER,
    "Tokens in the last packed forward",
    "How large are the batches of all samplers together?", across=Across.SUM)
VIDEO_STEP_SECONDS = Metric("sora_video_step_seconds", _HISTOGRAM, "s", _WORKER,
    "Wall time of one packed forward and solver step",
    "How long does a step take?", buckets=_SECONDS)
VIDEO_BATCH_FILL = Metric("sora_video_batch_fill_ratio", _GAUGE, "percentunit", _WORKER,
    "Tokens of the last packed forward over the token budget",
    "Are the samplers full?", across=Across.MEAN)
VIDEO_ADMISSION_SECONDS = Metric("sora_video_admission_seconds", _HISTOGRAM, "s", _WORKER,
    "Accepted to in a sampler's batch, one job",
    "How long until work on a job begins?", buckets=_SECONDS)
VIDEO_PHASE_SECONDS = Metric("sora_video_phase_seconds", _HISTOGRAM, "s", _WORKER,
    "Waiting, sampling or decoding, one job, by its tokens",
    "Which part of a video takes its time?", tags=("phase", "tokens"), most=32, buckets=_SECONDS)
VIDEO_JOB_SECONDS = Metric("sora_video_job_seconds", _HISTOGRAM, "s", _WORKER,
    "Accepted to finished, one job",
    "How long do people wait for a video?", tags=("status",), most=4, buckets=_SECONDS)
VIDEO_QUEUE_DEPTH = Metric("sora_video_queue_jobs", _GAUGE, "short", _LEDGER,
    "Jobs in the ledger, by status",
    "How much waits, and how much is at work?", tags=("status",), most=8)
VIDEO_FAILED_JOBS = Metric("sora_video_failed_jobs", _GAUGE, "short", _LEDGER,
    "Failed jobs in the ledger, by reason",
    "Why do jobs fail?", tags=("reason",), most=32)
VIDEO_LEASES = Metric("sora_video_leases", _GAUGE, "short", _LEDGER,
    "Jobs that a worker holds, by what it does with them",
    "Do workers hold work?", tags=("stage",), most=4)
VIDEO_LEASES_LOST = Metric("sora_video_leases_lost", _COUNTER, "ops", _WORKER,
    "Leases that ran out because their worker died or stalled",
    "Do workers die?")
VIDEO_FAULTS = Metric("sora_video_faults", _COUNTER, "ops", _WORKER,
    "Errors that are no job's fault: the storage's, the ledger's, the host's, or nobody's known",
    "Does the place itself fail?", tags=("error",), most=24)
VIDEO_CERTIFICATE = Metric("sora_video_certificate_expires_seconds", _GAUGE, "s", _WORKER,
    "When the signing certificate expires, in Unix seconds",
    "Until when can files be signed?")
VIDEO_SWEPT = Metric("sora_video_swept_files", _COUNTER, "ops", _WORKER,
    "Files removed that no job and no process needed any more",
    "Is something left lying about?")
VIDEO_CACHED_TOKENS = Metric("sora_video_cached_tokens", _COUNTER, "ops", _WORKER,
    "Tokens that left a step after its first block",
    "What does the feature cache save?")
VIDEO_WAIT_ERROR = Metric("sora_video_wait_error_ratio", _HISTOGRAM, "percentunit", _WORKER,
    "How far a job's time was from the predicted one, over that time",
    "Can the predicted wait be believed?", buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 3.0, 10.0))
VIDEO_SEALED = Metric("sora_video_sealed", _COUNTER, "ops", _WORKER,
    "Files that left, by what they carry of their origin",
    "Does everything leave marked and signed?", tags=("layer",), most=3)
VIDEO_PROVENANCE_CHECKS = Metric("sora_video_provenance_checks", _COUNTER, "ops", _WORKER,
    "Answers of provenance checks, by kind",
    "How often are files found to be ours?", tags=("type", "outcome"), most=9)
VIDEO_MODERATIONS = Metric("sora_video_moderations", _COUNTER, "ops", _WORKER,
    "Looks of the gate, by stage and outcome",
    "What does the gate look at, and does it answer?", tags=("stage", "outcome"), most=20)
VIDEO_BLOCKED = Metric("sora_video_blocked", _COUNTER, "ops", _WORKER,
    "Refusals of the gate that stood, by category",
    "What is refused?", tags=("category",), most=20)
VIDEO_PREDICTED_WAIT_SECONDS = Metric("sora_video_predicted_wait_seconds", _GAUGE, "s", _LEDGER,
    "Time to work off the accepted jobs",
    "How long would the next one wait?")
VIDEO_TARGET_WAIT_SECONDS = Metric("sora_video_target_wait_seconds", _GAUGE, "s", _LEDGER,
    "Predicted wait above which a sampler is added",
    "Is the wait above what was promised?")
VIDEO_SAMPLERS_MOST = Metric("sora_video_samplers_most", _GAUGE, "short", _LEDGER,
    "Samplers that the config allows at most",
    "Is the autoscaler at its end?")

# --- who used what; the owners that used most, all others as one
VIDEO_TENANT_JOBS = Metric("sora_video_tenant_jobs", _GAUGE, "short", _LEDGER,
    "Jobs that ended in the last 24 hours, by owner",
    "Who makes how many videos a day?", tags=("owner",), most=MOST_OWNERS)
VIDEO_TENANT_VIDEO_SECONDS = Metric("sora_video_tenant_video_seconds", _GAUGE, "s", _LEDGER,
    "Seconds of video made in the last 24 hours, by owner",
    "Who gets how much video a day?", tags=("owner",), most=MOST_OWNERS)
VIDEO_TENANT_DEVICE_SECONDS = Metric("sora_video_tenant_device_seconds", _GAUGE, "s", _LEDGER,
    "Device seconds used in the last 24 hours, by owner",
    "Who uses the devices?", tags=("owner",), most=MOST_OWNERS)
# fmt: on
