"""What operators look at, from the catalogue of metrics: ``python -m infra.observability`` writes ``infra/grafana``."""
