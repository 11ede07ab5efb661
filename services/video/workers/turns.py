"""Whose job a decoder takes next: fair by owner, an owner's own in the order of the queue."""

from collections.abc import Iterable, Sequence

from services.video.job import Job


class Turns:
    """Counts what was decoded here for every owner; one who comes new starts level with the least served."""

    def __init__(self) -> None:
        self._given: dict[str, float] = {}

    def order(self, waiting: Sequence[Job]) -> list[list[str]]:
        """The ids of the waiting jobs by owner, those of the least served owner first, and of equals of the one whose
        job has waited longest: priority counts among an owner's own."""
        queues: dict[str, list[str]] = {}
        since: dict[str, float] = {}
        for job in waiting:
            queues.setdefault(job.owner, []).append(job.id)
            since[job.owner] = min(job.created_at, since.get(job.owner, job.created_at))
        known = {owner: self._given[owner] for owner in queues if owner in self._given}
        level = min(known.values(), default=0.0)
        self._given = {owner: known.get(owner, level) for owner in queues}
        return [queues[owner] for owner in sorted(queues, key=lambda one: (self._given[one], since[one]))]

    def served(self, jobs: Iterable[Job]) -> None:
        """These were claimed."""
        for job in jobs:
            self._given[job.owner] = self._given.get(job.owner, 0.0) + job.tokens
