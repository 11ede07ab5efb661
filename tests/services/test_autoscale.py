"""How many samplers a backlog needs, as a table of cases."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.video import autoscale
from services.video.autoscale import PredictedWait, replicas_for
from services.video.job import Backlog
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable

from .live import eventually


def backlog(token_steps: float, jobs: int = 100, rate: float = 100.0) -> Backlog:
    return Backlog(
        waiting=jobs,
        unsampled=jobs,
        token_steps=token_steps,
        token_steps_per_s=rate,
        rate_of_one=rate,
        live_workers=1,
    )


@pytest.mark.parametrize(
    ("token_steps", "jobs", "rate", "current", "needed"),
    [
        (0, 0, 100, 3, 0),  # nothing to do: down to whatever the bounds allow
        (900, 9, 100, 1, 1),  # nine seconds of work, ten are fine
        (2500, 9, 100, 1, 3),
        (2500, 9, 100, 0, 3),  # from none at once to what is needed
        (2500, 2, 100, 1, 2),  # a job is never sampled by two
        (100, 9, 100, 4, 1),  # what it samples is saved, and another goes on
        (100, 9, 0, 0, 1),  # work, and no rate was ever measured
        (100, 9, 0, 2, 2),
    ],
)
def test_replicas_hold_the_predicted_wait_under_ten_seconds(
    token_steps: float, jobs: int, rate: float, current: int, needed: int
) -> None:
    assert replicas_for(backlog(token_steps, jobs, rate), 10.0, current) == needed


class Context:
    def __init__(self, replicas: int) -> None:
        self.target_num_replicas = replicas


def test_samplers_that_decode_stay_until_all_is_decoded() -> None:
    sampled = replace(backlog(0, 0), undecoded=3, tokens=3000.0, decoded_by_one=100.0)
    assert replicas_for(sampled, 10.0, 2) == 0
    assert replicas_for(sampled, 10.0, 2, decodes=True) == 3
    assert replicas_for(replace(sampled, decoded_by_one=0.0), 10.0, 0, decodes=True) == 1


def test_predictions_that_were_too_low_bring_more_samplers() -> None:
    assert replicas_for(replace(backlog(900), wait_factor=2.0), 10.0, 1) == 2


def test_the_first_sampler_comes_unasked_and_its_model_is_offered_when_all_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoscale, "_LOOK_S", 0.02)
    ledger_url = f"sqlite:///{tmp_path}/ledger.db"
    policy = PredictedWait(ledger_url, ["run"], 10.0)
    assert policy(Context(0)) == (0, {})
    eventually(lambda: policy(Context(0)) == (1, {}))
    ledger = Ledger.open(ledger_url)
    ledger.roster.publish_model("m", {"checkpoint": "run"})
    eventually(lambda: policy(Context(1)) == (0, {}))
    late = Ledger.open(ledger_url, clock=lambda: time.time() + 599)
    assert late.roster.model_cards() == [{"checkpoint": "run"}]
    ledger.close()
    late.close()


def test_the_controller_never_waits_and_the_number_stays_while_the_ledger_is_away(
    postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoscale, "_LOOK_S", 0.02)
    policy = PredictedWait(postgres.url, ["run"], 10.0)
    eventually(lambda: policy(Context(0)) == (1, {}))

    looks: list[int] = []
    over = threading.Event()

    def stuck(_ledger: Any) -> None:
        looks.append(1)
        if len(looks) > 1:
            over.wait(60)
        raise LedgerUnavailable("away")

    monkeypatch.setattr(policy, "_look", stuck)  # of this one: other tests' threads still look now and then
    eventually(lambda: policy(Context(0)) == (0, {}))
    eventually(lambda: len(looks) > 1)
    assert [policy(Context(number)) for number in range(3)] == [(0, {}), (1, {}), (2, {})]
    assert not over.is_set()  # all the while a look hangs
    over.set()
