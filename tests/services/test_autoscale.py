"""How many samplers a backlog needs, as a table of cases."""

import pytest

from services.video.autoscale import PredictedWait, replicas_for
from services.video.job import Backlog


def backlog(token_steps: float, rate: float = 100.0, workers: int = 1) -> Backlog:
    return Backlog(waiting=1, token_steps=token_steps, token_steps_per_s=rate, live_workers=workers)


@pytest.mark.parametrize(
    ("token_steps", "rate", "workers", "current", "needed"),
    [
        (0, 100, 1, 3, 0),  # nothing to do: down to whatever the bounds allow
        (900, 100, 1, 1, 1),  # nine seconds of work, ten are fine
        (2500, 100, 1, 1, 3),
        (2500, 200, 2, 2, 3),  # two workers at 100 each
        (100, 100, 1, 4, 4),  # a replica at work is not taken away
        (100, 0, 0, 0, 1),  # work, and nobody whose rate is known
        (100, 0, 2, 2, 2),
    ],
)
def test_replicas_hold_the_predicted_wait_under_ten_seconds(
    token_steps: float, rate: float, workers: int, current: int, needed: int
) -> None:
    assert replicas_for(backlog(token_steps, rate, workers), 10.0, current) == needed


def test_the_number_stays_while_the_ledger_is_away(postgres: object, request: pytest.FixtureRequest) -> None:
    class Context:
        target_num_replicas = 2

    server = request.getfixturevalue("postgres")
    policy = PredictedWait(server.url, 10.0)
    assert policy(Context()) == (0, {})
    server.stop()
    assert policy(Context()) == (2, {})
    server.start()
