"""How many samplers a backlog needs, as a table of cases."""

import time
from pathlib import Path

import pytest

from services.video.autoscale import PredictedWait, replicas_for
from services.video.job import Backlog
from services.video.ledger import Ledger


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


def test_the_first_sampler_comes_unasked_and_its_model_is_offered_when_all_are_gone(tmp_path: Path) -> None:
    ledger_url = f"sqlite:///{tmp_path}/ledger.db"
    policy = PredictedWait(ledger_url, "run", 10.0)
    assert policy(Context(0)) == (1, {})
    ledger = Ledger.open(ledger_url)
    ledger.publish_model("m", {"checkpoint": "run"})
    assert policy(Context(1)) == (0, {})
    late = Ledger.open(ledger_url, clock=lambda: time.time() + 599)
    assert late.model_cards() == [{"checkpoint": "run"}]
    ledger.close()
    late.close()


def test_the_number_stays_while_the_ledger_is_away(postgres: object, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("postgres")
    policy = PredictedWait(server.url, "run", 10.0)
    assert policy(Context(2)) == (2, {})
    server.stop()
    assert policy(Context(2)) == (2, {})
    server.start()
