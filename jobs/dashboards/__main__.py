"""``python -m jobs.dashboards``: write the dashboards anew."""

from pathlib import Path

from jobs.dashboards.dashboards import dashboards

FOLDER = Path(__file__).parents[2] / "infra" / "grafana"

for name, text in dashboards().items():
    (FOLDER / name).write_text(text)
