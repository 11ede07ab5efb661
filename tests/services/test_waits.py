"""The predicted wait under load: a sampler that shares its steps and a slower decoder, by the test's clock."""

import random
import statistics
from pathlib import Path
from typing import Any

from services.video.job import SAMPLED_PERCENT, Job, Lease, Stage, Status, new_id
from services.video.ledger import Ledger

from .test_ledger import new_job

TICK_S = 0.5
SAMPLED_PER_S, DECODED_PER_S, OVERHEAD_S = 1000.0, 60.0, 0.4
AT_ONCE = 16


class Simulated:
    """One sampler and one decoder of fixed rates, work by work, which tell the ledger what the real ones do."""

    def __init__(self, ledger: Ledger, clock: Any) -> None:
        self.ledger, self.clock = ledger, clock
        self.sampling: dict[Lease, tuple[Job, float]] = {}
        self.decoding: tuple[Job, float] | None = None
        self.errors: list[float] = []

    def tick(self) -> None:
        self.clock.forward(TICK_S)
        self.ledger.roster.beat("s", "m", SAMPLED_PER_S)
        self.ledger.roster.beat("d", "m", 0.0, stage=Stage.DECODE, decoded_per_s=DECODED_PER_S)
        room = AT_ONCE - len(self.sampling)
        waiting = [job.id for job in self.ledger.waiting("m")][:room]
        for job in self.ledger.claim(waiting, "s", 30.0):
            self.sampling[job.lease] = (job, float(job.tokens * job.num_steps))
        share = TICK_S * SAMPLED_PER_S / max(1, len(self.sampling))
        self.sampling = {lease: (job, left - share) for lease, (job, left) in self.sampling.items()}
        for lease, (job, left) in list(self.sampling.items()):
            if left <= 0:
                self.ledger.hand_over(lease, f"latents of {job.id}")
                del self.sampling[lease]
        self.ledger.renew({lease: self._percent(job, left) for lease, (job, left) in self.sampling.items()}, 30.0)
        self._decode()

    def _percent(self, job: Job, left: float) -> int:
        return int(SAMPLED_PERCENT * (1 - left / (job.tokens * job.num_steps)))

    def _decode(self) -> None:
        if self.decoding is None:
            waiting = [job.id for job in self.ledger.waiting("m", stage=Stage.DECODE)]
            for job in self.ledger.claim(waiting, "d", 30.0, stage=Stage.DECODE, most=1):
                self.decoding = (job, OVERHEAD_S + job.tokens / DECODED_PER_S)
        if self.decoding is not None:
            job, left = self.decoding
            self.decoding = (job, left - TICK_S) if left > TICK_S else None
            if self.decoding is None:
                self._finish(job)

    def _finish(self, job: Job) -> None:
        self.ledger.finish(job.lease, {})
        took_s = self.clock() - job.created_at
        assert job.predicted_s is not None
        assert job.reckoned_s is not None
        self.errors.append(abs(job.predicted_s - took_s) / took_s)
        self.ledger.roster.learn_wait("m", took_s / job.reckoned_s)


def test_under_load_the_predicted_wait_is_within_thirty_percent(tmp_path: Path, clock: Any) -> None:
    ledger, dice = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", clock), random.Random(3)
    ledger.roster.publish_model("m", {})
    service = Simulated(ledger, clock)
    service.tick()
    due, asked = 0.0, 0
    while asked < 110:
        while due <= 0.0:
            tokens = dice.randrange(80, 160)
            waits = ledger.roster.backlog(model="m")
            work = (float(tokens * 10), float(tokens))
            predicted = {"predicted_s": waits.wait_with(*work), "reckoned_s": waits.reckoned_s(*work)}
            shape: dict[str, Any] = {"tokens": tokens, "num_steps": 10, "queued_as": clock()}
            ledger.create([new_job(id=new_id(clock()), **shape, **predicted)])
            asked += 1
            due += dice.expovariate(1 / 2.5)  # as much as the decoder can do
        due -= TICK_S
        service.tick()
    while ledger.roster.counts()[Status.QUEUED] + ledger.roster.counts()[Status.IN_PROGRESS]:
        service.tick()
    settled = service.errors[30:]
    assert statistics.median(settled) < 0.3
    waited = ledger.roster.backlog(model="m").wait_s
    assert waited == 0.0, "nothing to do is no wait"
    ledger.close()
