"""The catalogue's metrics in a Serve replica: Ray's agent on each node shows them to Prometheus."""

from collections.abc import Mapping
from typing import Any

from ray.util import metrics as ray_metrics

from services.video.metrics import VERBS
from sora_core.telemetry import Kind, Metric


class RayBackend:
    """Sends the catalogue's metrics to Ray, whose agent on each node Prometheus scrapes."""

    def __init__(self) -> None:
        self._handles: dict[str, Any] = {}

    def record(self, metric: Metric, value: float, tags: Mapping[str, str]) -> None:
        if metric.kind is Kind.COUNTER and value == 0:
            return  # Ray raises on it
        if metric.name not in self._handles:
            self._handles[metric.name] = _ray_handle(metric)
        getattr(self._handles[metric.name], VERBS[metric.kind])(value, tags=dict(tags))


def _ray_handle(metric: Metric) -> Any:
    if metric.kind is Kind.HISTOGRAM:
        return ray_metrics.Histogram(metric.name, metric.help, list(metric.buckets), metric.tags)
    kinds = {Kind.COUNTER: ray_metrics.Counter, Kind.GAUGE: ray_metrics.Gauge}
    return kinds[metric.kind](metric.name, metric.help, metric.tags)
