"""A page as Prometheus finds it on a cluster at work: every metric of the catalogue, and Ray's own that panels ask."""

import json
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import ray
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from ray.autoscaler._private.prom_metrics import AutoscalerPrometheusMetrics

from jobs.dashboards.queries import series
from services.video.metrics import PrometheusBackend
from sora_core import telemetry
from sora_core.telemetry import Holder, Kind, Metric

# Importing the reporter takes seconds; its text says as well which metrics it has.
_REPORTER = Path(ray.__file__).parent / "dashboard/modules/reporter/reporter_agent.py"


class Page:
    """Numbers that grow with every look, under the names and with the labels that Ray gives them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._backend = PrometheusBackend(self._registry)
        self._ray = CollectorRegistry()
        AutoscalerPrometheusMetrics("session", self._ray).active_nodes.labels("gpu", "session").set(3)
        for name in ("node_disk_usage", "node_disk_free", "node_mem_used", "node_mem_total", "node_gpus_utilization"):
            assert f'"{name}": Gauge(' in _REPORTER.read_text(), f"this Ray has no {name}"
            Gauge(f"ray_{name}", "", ["WorkerId"], registry=self._ray).labels("w1").set(40)
        serve = Gauge("ray_serve_autoscaling_target_replicas", "", ["deployment"], registry=self._ray)
        serve.labels("sampler").set(2)

    def text(self) -> str:
        for metric in telemetry.catalogue().values():
            tags = {tag: "failed" if tag == "status" else "a" for tag in metric.tags}
            self._backend.record(metric, 1.5, tags)
        page = generate_latest(self._registry).decode()
        for metric in telemetry.catalogue().values():
            if metric.holder is not Holder.LEDGER:
                page = page.replace(f"\n{metric.name}", f"\nray_{metric.name}")
        return page + generate_latest(self._ray).decode()


@contextmanager
def served(page: Page) -> Iterator[str]:
    """The page at a loopback address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page.text().encode()
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(url: str, query: str) -> list[dict[str, Any]]:
    """The series that a query finds; a query that doesn't parse raises HTTPError."""
    with urllib.request.urlopen(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


def names(metric: Metric) -> set[str]:
    """What a query may call a metric."""
    name = series(metric)
    return {f"{name}_{part}" for part in ("bucket", "sum", "count")} if metric.kind is Kind.HISTOGRAM else {name}
