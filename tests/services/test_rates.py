"""What a key may use in a time."""

from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.video.job import Idempotency, NewJob, new_id
from services.video.ledger import Ledger
from services.video.ledger.rates import Charge, Meter, OverRate, spend
from sora_core.pipeline import Pipeline

from .conftest import Clock
from .live import LiveService, config_in

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


@given(
    limit=st.floats(1, 100),
    steps=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50)), min_size=1, max_size=50),
)
def test_over_any_time_no_more_is_granted_than_the_rate_and_one_full_meter(
    limit: float, steps: list[tuple[float, float]]
) -> None:
    period_s, now, meter, granted = 60.0, 0.0, Meter(0.0, 0.0), 0.0
    for pause_s, amount in steps:
        now += pause_s
        charge = Charge("x", amount, limit, period_s)
        try:
            meter = spend(meter, charge, now)
        except OverRate as refusal:
            if refusal.retry_after_s is not None:
                later = now + refusal.retry_after_s + 1e-6
                assert spend(meter, charge, later).used <= limit + 1e-6, "the time told must suffice"
            continue
        granted += amount
        assert granted <= limit * (1 + now / period_s) + 1e-6


def test_what_could_never_be_paid_is_told_apart() -> None:
    with pytest.raises(OverRate) as raised:
        spend(Meter(0.0, 0.0), Charge("x", 11.0, 10.0, 60.0), 0.0)
    assert raised.value.retry_after_s is None


def new_job(owner: str, clock: Clock) -> NewJob:
    shape = {"model": "m", "params": {}, "tokens": 1, "num_steps": 1, "priority": 0, "queued_as": 0.0}
    return NewJob(id=new_id(clock.now), owner=owner, **shape)  # type: ignore[arg-type]


def test_a_refused_request_leaves_nothing_and_a_repeated_one_pays_once(ledger: Ledger, clock: Clock) -> None:
    charges = [Charge("requests", 1.0, 2.0, 60.0), Charge("seconds", 4.0, 5.0, 60.0)]
    once = Idempotency("key", "digest")
    (first,) = ledger.create([new_job("ann", clock)], once, charges)
    assert ledger.create([new_job("ann", clock)], once, charges) == [first]
    with pytest.raises(OverRate) as raised:
        ledger.create([new_job("ann", clock)], Idempotency("other", "digest"), charges)
    assert raised.value.charge.unit == "seconds"
    assert len(ledger.page("ann").jobs) == 1
    ledger.create([new_job("bob", clock)], None, charges)
    clock.forward(36.0)
    ledger.create([new_job("ann", clock)], None, charges)  # the refused one has not used a request either
    assert len(ledger.page("ann").jobs) == 2


def test_a_key_over_its_rate_is_told_when_to_come_back(
    tmp_path: Any, tiny_run: str, tiny_pipeline: Pipeline, unused_port: int
) -> None:
    limits = {"limits": {"requests_per_minute": 2}, "limits_by_owner": {"bob": {"video_seconds_per_day": 2}}}
    with LiveService(config_in(tmp_path, tiny_run, api=limits), tiny_pipeline, unused_port) as service:
        service.publish()
        ann, bob = service.client("ann"), service.client("bob")
        for _ in range(2):
            ann.videos.create(prompt="x", size="48x32", seconds="0.5")  # type: ignore[arg-type]
        with pytest.raises(openai.RateLimitError, match="2 requests per minute") as raised:
            ann.videos.create(prompt="x", size="48x32", seconds="0.5")  # type: ignore[arg-type]
        assert raised.value.code == "rate_limit_exceeded"
        assert 25 <= int(raised.value.response.headers["retry-after"]) <= 30
        for _ in range(3):
            bob.videos.create(prompt="x", size="48x32", seconds="0.5")  # type: ignore[arg-type]
        with pytest.raises(openai.RateLimitError, match="2 seconds of video per day"):
            bob.videos.create(prompt="x", size="48x32", seconds="0.5")  # type: ignore[arg-type]
        with pytest.raises(openai.BadRequestError, match=r"this request alone takes 2\.25") as beyond:
            bob.videos.create(prompt="x", size="48x32", seconds="1", extra_body={"n": 2})  # type: ignore[arg-type]
        assert beyond.value.code == "over_quota"


def test_a_queue_that_takes_too_long_is_full(
    tmp_path: Any, tiny_run: str, tiny_pipeline: Pipeline, unused_port: int
) -> None:
    with LiveService(config_in(tmp_path, tiny_run, api={"max_wait_s": 10.0}), tiny_pipeline, unused_port) as service:
        service.publish()
        client = service.client()
        body = {"num_frames": 5, "num_inference_steps": 10, "guidance_scale": 1}
        tokens = 12 * 10
        client.videos.create(prompt="x", size="48x32", extra_body=body)  # type: ignore[arg-type]
        service.ledger.roster.beat("w", "tiny", token_steps_per_s=tokens / 8.0)
        with pytest.raises(openai.RateLimitError, match="done in 16 s, the limit is 10 s") as raised:
            client.videos.create(prompt="x", size="48x32", extra_body=body)  # type: ignore[arg-type]
        assert raised.value.response.headers["retry-after"] == "6"
