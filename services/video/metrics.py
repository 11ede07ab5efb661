"""This service's numbers for ``prometheus_client``: those of the ledger, and outside of Ray those of the process.

Numbers that live in the ledger are read when scraped, so they are right after any restart.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import prometheus_client
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from services.video.accounts.books import Books, Used
from services.video.cached import Cached
from services.video.config import SamplerSettings
from services.video.ledger import Ledger
from sora_core import telemetry
from sora_core.telemetry import Kind, Metric

VERBS = {Kind.COUNTER: "inc", Kind.GAUGE: "set", Kind.HISTOGRAM: "observe"}


_DAY_S = 86_400.0
_TENANTS_S = 60.0  # their sums read a day of rows


class LedgerCollector(Collector):
    """Queue depth, predicted wait and use, straight from the ledger, and what the config promises beside them."""

    def __init__(self, ledger: Ledger, sampler: SamplerSettings) -> None:
        self._ledger = ledger
        self._sampler = sampler
        books = Books(ledger)
        self._tenants = Cached(lambda: books.used(ledger.now() - _DAY_S, ledger.now(), group_by="owner"), _TENANTS_S)

    def collect(self) -> Iterator[Family]:
        yield _family(telemetry.VIDEO_QUEUE_DEPTH, self._ledger.roster.counts())
        yield _family(telemetry.VIDEO_FAILED_JOBS, self._ledger.roster.failures())
        yield _family(telemetry.VIDEO_LEASES, self._ledger.roster.leases())
        wait_s = self._ledger.roster.backlog().wait_s
        if wait_s is not None:
            yield _gauge(telemetry.VIDEO_PREDICTED_WAIT_SECONDS, wait_s)
        yield _gauge(telemetry.VIDEO_TARGET_WAIT_SECONDS, self._sampler.target_wait_s)
        yield _gauge(telemetry.VIDEO_SAMPLERS_MOST, self._sampler.max_replicas or self._sampler.replicas)
        yield from tenants(self._tenants())

    def describe(self) -> Iterator[Family]:
        """Nothing: registering must not need the ledger."""
        return iter(())


def tenants(rows: Iterable[Used]) -> Iterator[Family]:
    """What each owner used; beyond so many owners those that used least of a thing are one."""
    rows = list(rows)
    yield _family(telemetry.VIDEO_TENANT_JOBS, _foremost({row.owner: row.requests for row in rows}))
    yield _family(telemetry.VIDEO_TENANT_VIDEO_SECONDS, _foremost({row.owner: row.video_seconds for row in rows}))
    yield _family(telemetry.VIDEO_TENANT_DEVICE_SECONDS, _foremost({row.owner: row.device_seconds for row in rows}))


def _foremost(used: Mapping[str, float]) -> dict[str, float]:
    """The largest values by owner and, in the last place, the sum of all others."""
    by_size = sorted(used.items(), key=lambda item: -item[1])
    if len(by_size) < telemetry.MOST_OWNERS:
        return dict(by_size)
    first, rest = by_size[: telemetry.MOST_OWNERS - 1], by_size[telemetry.MOST_OWNERS - 1 :]
    return dict(first) | {telemetry.OTHER: dict(first).get(telemetry.OTHER, 0) + sum(value for _, value in rest)}


def _gauge(metric: Metric, value: float) -> Family:
    return GaugeMetricFamily(metric.name, metric.help, value=value)


def _family(metric: Metric, numbers: Mapping[Any, float]) -> Family:
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
