"""Grafana dashboards: one a door, one of everything, one of who used what; every metric has a panel."""

from collections.abc import Iterable, Mapping

from grafana_foundation_sdk.builders.common import VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.timeseries import Panel
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from jobs.dashboards.queries import WINDOW, Query, queries, series
from sora_core import telemetry
from sora_core.telemetry import Metric

DOORS = {"curate": "Curation", "train": "Training", "video": "Video"}
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH, _HEIGHT = 12, 8

# What the overview asks of each door before anything else, and of the machines: those are Ray's own metrics.
_FIRST = {
    "Video": (
        telemetry.VIDEO_PREDICTED_WAIT_SECONDS,
        telemetry.VIDEO_QUEUE_DEPTH,
        telemetry.VIDEO_JOBS_FINISHED,
        telemetry.VIDEO_JOB_SECONDS,
    ),
    "Training": (telemetry.TRAIN_LOSS, telemetry.TRAIN_TOKENS_PER_SECOND),
    "Curation": (telemetry.CURATE_SOURCES, telemetry.CURATE_CLIPS),
}
MACHINES = (
    ("Nodes", "Does the cluster grow and shrink with the work?", "short",
     Query("sum by (NodeType) (autoscaler_active_nodes)", "{{NodeType}}")),
    ("GPUs at work", "Are devices that cost money used?", "percent",
     Query("avg(ray_node_gpus_utilization) or vector(0)", "mean of all")),
    ("Disk", "Does a node run out of disk?", "percentunit",
     Query("max by (instance) (ray_node_disk_usage / (ray_node_disk_usage + ray_node_disk_free))", "{{instance}}")),
    ("Memory", "Does a node run out of memory?", "percentunit",
     Query("max by (instance) (ray_node_mem_used / ray_node_mem_total)", "{{instance}}")),
)  # fmt: skip
# Two metrics that answer one question together.
_TOGETHER = (
    ("Data wait", "Which part of a step waits for data?", "percentunit",
     Query(f"max by (WorkerId) ({series(telemetry.TRAIN_DATA_WAIT_SECONDS)} / {series(telemetry.TRAIN_STEP_SECONDS)})",
           "{{WorkerId}}")),
    ("Failures", "Which part of the videos fails?", "percentunit",
     Query(f'sum(rate({series(telemetry.VIDEO_JOBS_FINISHED)}{{status="failed"}}[{WINDOW}])) '
           f"/ sum(rate({series(telemetry.VIDEO_JOBS_FINISHED)}[{WINDOW}]))", "of all that ended")),
)  # fmt: skip


def dashboards() -> dict[str, str]:
    """Each dashboard's JSON by the name of its file."""
    made = {f"{room}.json": _door(room) for room in DOORS}
    made |= {"overview.json": _overview(), "tenants.json": _tenants()}
    return {name: JSONEncoder(sort_keys=True, indent=1).encode(board.build()) + "\n" for name, board in made.items()}


def is_tenants(metric: Metric) -> bool:
    """Whether a metric tells who used what."""
    return "owner" in metric.tags


def _door(room: str) -> Dashboard:
    metrics = [metric for metric in telemetry.catalogue().values() if metric.room == room and not is_tenants(metric)]
    board = _board(room, DOORS[room])
    together = [panel for panel in _TOGETHER if f"sora_{room}_" in panel[3].expr]
    return _with(
        board, [*map(_of, metrics), *(_panel(title, asks, unit, [query]) for title, asks, unit, query in together)]
    )


def _overview() -> Dashboard:
    board = _board("overview", "Overview")
    board = _with(board.with_row(Row("Alerts")), [_alerts()])
    for title, metrics in _FIRST.items():
        board = _with(board.with_row(Row(title)), map(_of, metrics))
    return _with(
        board.with_row(Row("Machines")), [_panel(title, asks, unit, [query]) for title, asks, unit, query in MACHINES]
    )


def _alerts() -> Panel:
    firing = Query('sum by (alertname) (ALERTS{alertstate="firing"}) or vector(0)', "{{alertname}}")
    return _panel("Firing", "What does somebody have to look at? docs/RUNBOOKS.md says how.", "short", [firing])


def _tenants() -> Dashboard:
    return _with(_board("tenants", "Use by owner"), map(_of, filter(is_tenants, telemetry.catalogue().values())))


def _board(name: str, title: str) -> Dashboard:
    return (
        Dashboard(f"Sora: {title}")
        .uid(f"sora-{name}")
        .tags(["sora"])
        .timezone("browser")
        .time("now-3h", "now")
        .refresh("30s")
        .readonly()
        .with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )


def _with(board: Dashboard, panels: Iterable[Panel]) -> Dashboard:
    for panel in panels:
        board = board.with_panel(panel)
    return board


def _of(metric: Metric) -> Panel:
    unit = "short" if metric.name.endswith("_step") else metric.unit
    return _panel(metric.help, f"{metric.asks} ({metric.name})", unit, queries(metric))


def _panel(title: str, asks: str, unit: str, lines: Iterable[Query]) -> Panel:
    panel = Panel().title(title).description(asks).unit(unit).datasource(_SOURCE).span(_WIDTH).height(_HEIGHT)
    legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
    panel = panel.legend(legend).tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    for letter, line in zip("ABCDEFGH", lines, strict=False):
        panel = panel.with_target(
            Dataquery().expr(line.expr).legend_format(line.legend).ref_id(letter).range().datasource(_SOURCE)
        )
    return panel


def expressions(board: Mapping[str, object]) -> list[str]:
    """Every query of a dashboard as its JSON holds it."""
    found = []
    queue: list[object] = [board]
    while queue:
        value = queue.pop()
        if isinstance(value, dict):
            found += [value["expr"]] if isinstance(value.get("expr"), str) else []
            queue += value.values()
        elif isinstance(value, list):
            queue += value
    return found
