"""PromQL for the metrics of the catalogue: how the series of many processes become what a person looks at."""

from dataclasses import dataclass

from sora_core.telemetry import Holder, Kind, Metric

WINDOW = "$__rate_interval"
QUANTILES = {"median": 0.5, "99 in 100": 0.99}


@dataclass(frozen=True, slots=True)
class Query:
    """One line, or one for each value of its labels, in a panel."""

    expr: str
    legend: str


def series(metric: Metric) -> str:
    """The name that Prometheus has for a metric: Ray puts its own before those that it collects."""
    name = metric.name if metric.holder is Holder.LEDGER else f"ray_{metric.name}"
    return f"{name}_total" if metric.kind is Kind.COUNTER else name


def queries(metric: Metric) -> list[Query]:
    """What the panel of a metric asks.

    Counters and histograms are rates first and sums then, so a replica that goes or comes again is no dip and no jump.
    """
    name, labels = series(metric), ", ".join(metric.tags)
    legend = " ".join(f"{{{{{tag}}}}}" for tag in metric.tags)
    if metric.kind is Kind.COUNTER:
        return [Query(f"sum by ({labels}) (rate({name}[{WINDOW}]))", legend or "all")]
    if metric.kind is Kind.HISTOGRAM:
        by = ", ".join(("le", *metric.tags))
        rates = f"sum by ({by}) (rate({name}_bucket[{WINDOW}]))"
        return [Query(f"histogram_quantile({q}, {rates})", f"{legend} {told}".strip()) for told, q in QUANTILES.items()]
    if metric.holder is Holder.TRAINER:  # two runs at a time are two lines
        return [
            Query(f"max by ({', '.join((*metric.tags, 'WorkerId'))}) ({name})", f"{legend} {{{{WorkerId}}}}".strip())
        ]
    expr = f"{metric.across} by ({labels}) ({name})"
    if metric.name.endswith("_expires_seconds"):
        return [Query(f"min({name}) - time()", "left")]
    return [Query(expr, legend or "all")]
