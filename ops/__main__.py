"""``python -m ops``: write the dashboards anew."""

from pathlib import Path

from ops.dashboards import dashboards

FOLDER = Path(__file__).parents[1] / "infra" / "grafana"

for name, text in dashboards().items():
    (FOLDER / name).write_text(text)
