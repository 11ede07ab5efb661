"""``python -m infra.observability``: write the dashboards anew."""

from pathlib import Path

from infra.observability.dashboards import dashboards

FOLDER = Path(__file__).parents[1] / "grafana"

for name, text in dashboards().items():
    (FOLDER / name).write_text(text)
