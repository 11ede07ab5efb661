"""Dashboards say what the catalogue says, and a real Prometheus answers every one of their queries."""

import json
import math
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.dashboards.dashboards import DOORS, dashboards, expressions, is_tenants
from jobs.dashboards.queries import WINDOW, series
from jobs.demo.s3 import free_port
from sora_core import telemetry
from sora_core.telemetry import Holder

from .exporter import Page, ask, names, served

FOLDER = Path(__file__).parents[2] / "infra" / "grafana"
BOARDS = {name: json.loads(text) for name, text in dashboards().items()}
WORD = re.compile(r"\b(?:ray_)?sora_\w+")


def test_the_committed_dashboards_are_those_of_the_catalogue() -> None:
    stored = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert stored == dashboards(), "run python -m jobs.dashboards"


@pytest.mark.parametrize("metric", telemetry.catalogue().values(), ids=lambda metric: metric.name)
def test_every_metric_has_a_panel_on_its_doors_dashboard(metric: telemetry.Metric) -> None:
    board = BOARDS["tenants.json" if is_tenants(metric) else f"{metric.room}.json"]
    assert any(names(metric) & set(WORD.findall(expr)) for expr in expressions(board)), f"{series(metric)}: no panel"


def test_panels_ask_only_for_metrics_that_are_declared() -> None:
    declared = set().union(*(names(metric) for metric in telemetry.catalogue().values()))
    asked = {name for board in BOARDS.values() for expr in expressions(board) for name in WORD.findall(expr)}
    assert asked <= declared, asked - declared


def test_dashboards_have_stable_addresses_and_panels_that_do_not_overlap() -> None:
    assert {board["uid"] for board in BOARDS.values()} == {
        "sora-overview",
        "sora-tenants",
        *(f"sora-{d}" for d in DOORS),
    }
    for board in BOARDS.values():
        panels = board["panels"]
        assert len({panel["id"] for panel in panels if panel.get("id")}) in (0, len(panels))
        at = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
        assert len(set(at)) == len(at)


def test_a_cluster_of_1000_gpus_stays_within_what_one_prometheus_holds() -> None:
    """The bound that docs/OPERATIONS.md states: no client and no footage can make more series than these."""
    processes = {Holder.WORKER: 1000, Holder.TRAINER: 1000, Holder.ACTOR: 1000, Holder.API: 50, Holder.LEDGER: 50}
    series_of = {
        holder: sum(m.series for m in telemetry.catalogue().values() if m.holder is holder) for holder in Holder
    }
    assert sum(processes[holder] * series_of[holder] for holder in Holder) < 1_000_000
    for metric in telemetry.catalogue().values():
        assert bool(metric.tags) == (metric.most > 1), f"{metric.name}: say how many combinations its tags may have"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prometheus that has looked at a working cluster's page several times."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no Prometheus here, the panels are not asked: apt-get install prometheus")
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    with served(Page()) as target:
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 500ms, scrape_timeout: 400ms}\n"
            f"scrape_configs: [{{job_name: page, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        command = [
            program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
        ]  # fmt: skip
        server = subprocess.Popen(command)
        url = f"http://127.0.0.1:{port}"
        _wait(url)
        yield url
        server.terminate()
        server.wait(20)


def _wait(url: str) -> None:
    """Until three looks are stored: a rate needs two."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            looks = ask(url, "count_over_time(up[30s])")
        except OSError:
            looks = []
        if looks and int(looks[0]["value"][1]) >= 3:
            return
        time.sleep(0.3)
    raise AssertionError("Prometheus hasn't looked in a minute")


@pytest.mark.slow
@pytest.mark.parametrize("name", BOARDS)
def test_every_query_of_a_dashboard_parses_and_finds_data(name: str, prometheus: str) -> None:
    silent = []
    for expr in expressions(BOARDS[name]):
        found = ask(prometheus, expr.replace(WINDOW, "20s"))
        if not found or any(math.isnan(float(one["value"][1])) for one in found):
            silent.append(expr)
    assert not silent
