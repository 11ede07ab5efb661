"""What operators look at, made from the catalogue of metrics: ``python -m ops`` writes ``infra/grafana``."""
