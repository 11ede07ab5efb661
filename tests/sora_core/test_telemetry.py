import re
from collections.abc import Iterator, Mapping

import pytest

from sora_core import telemetry
from sora_core.telemetry import Kind, Metric


class Recorder:
    def __init__(self) -> None:
        self.records: list[tuple[str, float, dict[str, str]]] = []

    def record(self, metric: Metric, value: float, tags: Mapping[str, str]) -> None:
        self.records.append((metric.name, value, dict(tags)))


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    backend = Recorder()
    telemetry.bind(backend)
    yield backend
    telemetry.bind(None)


@pytest.mark.parametrize("metric", telemetry.catalogue().values(), ids=lambda metric: metric.name)
def test_every_metric_is_named_by_room_and_told_in_a_sentence(metric: Metric) -> None:
    assert re.fullmatch(r"sora_(curate|train|video)_[a-z0-9_]+", metric.name)
    assert not metric.name.endswith("_total"), "the backend adds it to a counter"
    assert metric.help[0].isupper()
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(metric.buckets)


def test_a_bound_backend_hears_every_change_and_an_unbound_one_none(recorder: Recorder) -> None:
    telemetry.TRAIN_LOSS.set(0.5)
    telemetry.CURATE_SOURCES.inc(2, {"status": "kept"})
    telemetry.bind(None)
    telemetry.TRAIN_LOSS.set(0.4)
    assert recorder.records == [("sora_train_loss", 0.5, {}), ("sora_curate_sources", 2, {"status": "kept"})]


def test_a_missing_or_unknown_tag_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="status"):
        telemetry.CURATE_SOURCES.inc(1, {"state": "kept"})


def test_tags_beyond_a_metrics_bound_are_counted_as_others(recorder: Recorder) -> None:
    metric = telemetry.CURATE_SOURCES
    for number in (*range(metric.most + 5), 0):
        metric.inc(1, {"status": f"s{number}"})
    told = [tags["status"] for _, _, tags in recorder.records]
    assert told == [f"s{n}" for n in range(metric.most - 1)] + [telemetry.OTHER] * 6 + ["s0"]
