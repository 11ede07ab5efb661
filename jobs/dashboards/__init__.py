"""What operators look at, from the catalogue of metrics: ``python -m jobs.dashboards`` writes ``infra/grafana``."""
