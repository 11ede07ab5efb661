"""Which waiting jobs join a sampler's batch, and which of its jobs take the next step.

A state machine over plain values: it is told what waits, what joined and what left, and returns decisions; the sampler
acts on them. Shares are fair by owner: the owner to whom least work was given comes first, an owner's own jobs in the
order of the queue. Smaller jobs may overtake one that doesn't fit, but only for ``patience_s``.
"""

import math
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

_CALM_STEPS = 50  # without a shortage of memory before the budget grows again; twice as many after each shortage
_REGAINED = 1.25


@dataclass(frozen=True, slots=True)
class Candidate:
    """A waiting job. ``tokens`` is its load on a step, ``since`` the time (s) from which its patience counts; at
    ``deadline`` nobody wants it any more. ``alone``: its last worker died of it, maybe, so it shares no step."""

    id: str
    owner: str
    tokens: int
    num_steps: int
    since: float
    deadline: float | None = None
    alone: bool = False

    def is_late(self, now: float) -> bool:
        return self.deadline is not None and now >= self.deadline

    @property
    def work(self) -> int:
        """Token-steps from the first step to the last."""
        return self.tokens * self.num_steps


class Scheduler:
    """Admission and step batching of one sampler. ``token_budget`` bounds the tokens of one step."""

    def __init__(self, token_budget: int, *, max_jobs: int, patience_s: float) -> None:
        self.token_budget = self._full_budget = token_budget
        self._calm_steps = 0
        self._shortages = 0
        self._loading: set[str] = set()
        self._max_jobs = max_jobs
        self._patience_s = patience_s
        self._members: dict[str, Candidate] = {}  # those first whose last step is longest ago
        self._given: dict[str, float] = {}

    @property
    def jobs(self) -> list[str]:
        """The jobs in the batch."""
        return list(self._members)

    @property
    def tokens(self) -> int:
        """Tokens of all jobs in the batch."""
        return sum(member.tokens for member in self._members.values())

    # --- joining and leaving

    def admit(
        self,
        waiting: Sequence[Candidate],
        now: float,
        share: float = math.inf,
        unclaimed: Collection[str] = (),
    ) -> list[Candidate]:
        """The waiting jobs to claim now, in order; nobody is charged for them until they `join`.

        A job larger than the whole budget is admitted to an empty batch. ``share`` bounds the tokens of all jobs here,
        so that other samplers get theirs, but for the ``unclaimed`` which no other has taken.
        """
        if any(member.alone for member in self._members.values()):
            return []
        queues: dict[str, deque[Candidate]] = {}
        for candidate in waiting:
            if candidate.is_late(now):
                continue
            queues.setdefault(candidate.owner, deque()).append(candidate)
        self._given = self._shares(queues)
        given = dict(self._given)
        admitted: list[Candidate] = []
        tokens = self.tokens
        while queues and len(self._members) + len(admitted) < self._max_jobs:
            owner = min(queues, key=lambda name: (given[name], self._tokens_of(name), queues[name][0].since))
            candidate = queues[owner].popleft()
            if not queues[owner]:
                del queues[owner]
            empty = not self._members and not admitted
            fits = tokens + candidate.tokens <= self.token_budget and not candidate.alone
            if (fits and tokens >= share and candidate.id not in unclaimed) and not empty:
                continue
            if fits or empty:
                admitted.append(candidate)
                if candidate.alone:
                    break
                tokens += candidate.tokens
                given[owner] += candidate.work
            elif now - candidate.since > self._patience_s:
                break  # what is behind it waits too, or it would wait for ever
        return admitted

    def join(self, candidate: Candidate, *, loading: bool = False) -> None:
        """A claimed job enters the batch; while it is ``loading`` it takes room and no steps."""
        if loading:
            self._loading.add(candidate.id)
        self._given.setdefault(candidate.owner, 0.0)
        self._given[candidate.owner] += candidate.work
        self._members[candidate.id] = candidate

    def loaded(self, job_id: str) -> None:
        """A job can take steps from now on."""
        self._loading.discard(job_id)

    def cleared(self, job_id: str) -> None:
        """A job got on where it is suspected to have brought a worker down: others may join it."""
        self._members[job_id] = replace(self._members[job_id], alone=False)

    def surplus(self, share: float) -> str | None:
        """The job that came last, when without it there is still a share of tokens here."""
        last = next(reversed(self._members), None)
        if last is None or len(self._members) == 1:
            return None
        return last if self.tokens - self._members[last].tokens >= share else None

    def overdue(self, now: float) -> list[str]:
        """The jobs in the batch whose deadline is over: to leave before the next step."""
        return [member.id for member in self._members.values() if member.is_late(now)]

    def leave(self, job_id: str) -> None:
        """A job is finished, failed, cancelled or lost."""
        del self._members[job_id]
        self._loading.discard(job_id)

    def _shares(self, waiting: Iterable[str]) -> dict[str, float]:
        """Work given to every owner with jobs here; one who comes new starts level with the least served."""
        active = {member.owner for member in self._members.values()} | set(waiting)
        known = {owner: given for owner, given in self._given.items() if owner in active}
        level = min(known.values(), default=0.0)
        return {owner: known.get(owner, level) for owner in active}

    def _tokens_of(self, owner: str) -> int:
        return sum(member.tokens for member in self._members.values() if member.owner == owner)

    # --- stepping

    def batch(self) -> list[str]:
        """The jobs of the next step: all that fit the budget, those first whose last step is longest ago."""
        chosen: list[str] = []
        tokens = 0
        for job_id, member in self._members.items():
            if job_id in self._loading:
                continue
            if not chosen or tokens + member.tokens <= self.token_budget:
                chosen.append(job_id)
                tokens += member.tokens
        return chosen

    def stepped(self, job_ids: Iterable[str]) -> None:
        """These jobs took a step."""
        for job_id in job_ids:
            self._members[job_id] = self._members.pop(job_id)
        self._calm_steps += 1
        if self.token_budget < self._full_budget and self._calm_steps >= _CALM_STEPS * 2 ** min(self._shortages, 8):
            self.token_budget = min(self._full_budget, math.ceil(self.token_budget * _REGAINED))
            self._calm_steps = 0

    def ran_out_of_memory(self, job_ids: Sequence[str]) -> list[str]:
        """Fewer tokens a step from now on; the jobs to give up, which is one that had the step for itself."""
        if len(job_ids) == 1:
            return list(job_ids)
        tokens = [self._members[job_id].tokens for job_id in job_ids]
        self.token_budget = min(self.token_budget, sum(tokens) - min(tokens))
        self._shortages += 1
        self._calm_steps = 0
        return []
