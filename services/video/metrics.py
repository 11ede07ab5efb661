"""This service's numbers for ``prometheus_client``: those of the ledger, and outside of Ray those of the process.

Numbers that live in the ledger are read when scraped, so they are right after any restart.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import prometheus_client
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from services.video.ledger import Ledger
from sora_core import telemetry
from sora_core.telemetry import Kind, Metric

VERBS = {Kind.COUNTER: "inc", Kind.GAUGE: "set", Kind.HISTOGRAM: "observe"}


class LedgerCollector(Collector):
    """Queue depth and predicted wait, straight from the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterator[Family]:
        yield _family(telemetry.VIDEO_QUEUE_DEPTH, self._ledger.counts())
        yield _family(telemetry.VIDEO_FAILED_JOBS, self._ledger.failures())
        yield _family(telemetry.VIDEO_LEASES, self._ledger.leases())
        wait_s = self._ledger.backlog().wait_s
        if wait_s is not None:
            wait = telemetry.VIDEO_PREDICTED_WAIT_SECONDS
            yield GaugeMetricFamily(wait.name, wait.help, value=wait_s)

    def describe(self) -> Iterator[Family]:
        """Nothing: registering must not need the ledger."""
        return iter(())


def _family(metric: Metric, numbers: Mapping[Any, int]) -> Family:
    """A gauge of one tag."""
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.tags)
    for tag, number in numbers.items():
        family.add_metric([str(tag)], number)
    return family


class PrometheusBackend:
    """Keeps the catalogue's metrics of this process in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._handles: dict[str, Any] = {}

    def record(self, metric: Metric, value: float, tags: Mapping[str, str]) -> None:
        if metric.name not in self._handles:
            self._handles[metric.name] = self._handle(metric)
        handle = self._handles[metric.name]
        getattr(handle.labels(**tags) if tags else handle, VERBS[metric.kind])(value)

    def _handle(self, metric: Metric) -> Any:
        arguments = (metric.name, metric.help, metric.tags)
        if metric.kind is Kind.HISTOGRAM:
            return prometheus_client.Histogram(*arguments, buckets=metric.buckets, registry=self._registry)
        kinds = {Kind.COUNTER: prometheus_client.Counter, Kind.GAUGE: prometheus_client.Gauge}
        return kinds[metric.kind](*arguments, registry=self._registry)
