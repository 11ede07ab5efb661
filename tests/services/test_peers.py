"""The peers' benchmarks find what they ask for: their requests, unmodified but for the key."""

import pytest

from benchmarks import peers_requests

from .live import KEYS, LiveService


def test_the_requests_of_the_peers_benchmarks_are_served(live: LiveService, capsys: pytest.CaptureFixture[str]) -> None:
    status = peers_requests.main([live.url, KEYS["ann"]])
    shown = capsys.readouterr().out
    assert (status, shown.count(" s  completed")) == (0, 4), shown
