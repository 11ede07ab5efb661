"""The service's plain classes as Ray Serve deployments: API replicas in front, sampler replicas behind the ledger."""

import logging
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from ray import serve
from ray.util import metrics as ray_metrics

from services.video.api import create_app
from services.video.card import model_card
from services.video.config import ServiceConfig
from services.video.ledger import Ledger
from services.video.metrics import VERBS
from services.video.sampler import Sampler
from sora_core import storage, telemetry
from sora_core.pipeline import Pipeline
from sora_core.telemetry import Kind, Metric

log = logging.getLogger(__name__)


class RayBackend:
    """Sends the catalogue's metrics to Ray, whose agent on each node Prometheus scrapes."""

    def __init__(self) -> None:
        self._handles: dict[str, Any] = {}

    def record(self, metric: Metric, value: float, tags: Mapping[str, str]) -> None:
        if metric.name not in self._handles:
            self._handles[metric.name] = _ray_handle(metric)
        getattr(self._handles[metric.name], VERBS[metric.kind])(value, tags=dict(tags))


def _ray_handle(metric: Metric) -> Any:
    if metric.kind is Kind.HISTOGRAM:
        return ray_metrics.Histogram(metric.name, metric.help, list(metric.buckets), metric.tags)
    kinds = {Kind.COUNTER: ray_metrics.Counter, Kind.GAUGE: ray_metrics.Gauge}
    return kinds[metric.kind](metric.name, metric.help, metric.tags)


class SamplerReplica:
    """A sampler in a thread of its own. It is sent no requests: it takes its work from the ledger."""

    def __init__(self, config: ServiceConfig) -> None:
        telemetry.bind(RayBackend())
        logging.getLogger("services").setLevel(logging.INFO)
        torch.set_num_threads(config.sampler.threads)
        pipeline = Pipeline.load(config.checkpoint, config.sampler.device)
        ledger = Ledger.open(config.ledger)
        card = model_card(pipeline, config)
        ledger.publish_model(card.id, card.model_dump(mode="json"))
        self._sampler = Sampler(config, pipeline, ledger)
        self._thread = threading.Thread(target=self._sampler.run, name="sampler", daemon=True)
        self._thread.start()

    def check_health(self) -> None:
        """Ask Serve for another replica when the loop has died."""
        if not self._thread.is_alive():
            raise RuntimeError("the sampler's loop ended; its log says why")

    def __del__(self) -> None:
        """Serve calls this when it stops a replica: unfinished jobs go back to the queue at once."""
        sampler = getattr(self, "_sampler", None)
        if sampler is not None:
            sampler.stop()
            self._thread.join()


def _api_app(config: ServiceConfig) -> Any:
    """Built inside the replica, where its database connections belong."""
    telemetry.bind(RayBackend())
    return create_app(config)


def application(config: ServiceConfig) -> serve.Application:
    """API and samplers. StorageError for a checkpoint or an output that can't be reached from here."""
    storage.check_readable(config.checkpoint)
    storage.check_writable(config.output)
    sampler = serve.deployment(SamplerReplica, name="sampler").options(
        num_replicas=config.sampler.replicas,
        ray_actor_options={"num_cpus": config.sampler.num_cpus, "num_gpus": config.sampler.num_gpus},
        health_check_period_s=5,
        graceful_shutdown_timeout_s=config.sampler.lease_s,
    )
    api = serve.deployment(serve.ingress(partial(_api_app, config))(), name="api").options(
        num_replicas=config.api.replicas,
        ray_actor_options={"num_cpus": config.api.num_cpus},
        max_ongoing_requests=100,
    )
    return api.bind(sampler.bind(config))
