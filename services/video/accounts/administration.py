"""What an operator can do, each with its entry in the audit log; routes and command line are two doors to it."""

import math
from collections.abc import Callable, Sequence

from services.video.accounts.books import Action, Books, GroupBy, Used
from services.video.accounts.keys import Key, KeyStore, Scope
from services.video.job import Job, Page, Status
from services.video.ledger import Ledger
from services.video.ledger.lookups import page_of_all
from services.video.moderation.cases import Case, CaseStore


class Administration:
    """Keys, jobs of all owners, usage, the appeal log and the audit log. ``actor`` is who acts."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] | None = None) -> None:
        clock = clock or ledger.now
        self._ledger = ledger
        self._keys = KeyStore(ledger, clock)
        self._books = Books(ledger, clock)
        self._cases = CaseStore(ledger, math.inf, clock)
        self._clock = clock

    def add_key(
        self, actor: str, owner: str, name: str | None, scopes: Sequence[Scope] | None, expires_in_s: float | None
    ) -> tuple[Key, str]:
        """A new key, for making and reading unless told otherwise, and its secret, which nobody is told again."""
        name, scopes = name or "", scopes or (Scope.MAKE, Scope.READ)
        expires_at = None if expires_in_s is None else self._clock() + expires_in_s
        key, secret = self._keys.add(owner, name, scopes, expires_at)
        self._books.note(actor, "key.add", key.id, owner=owner, name=name, scopes=[str(scope) for scope in scopes])
        return key, secret

    def keys(self, owner: str | None = None) -> list[Key]:
        """Every key, or an owner's, newest first."""
        return self._keys.all(owner)

    def revoke_key(self, actor: str, key_id: str) -> Key | None:
        """End a key; None when there is none."""
        key = self._keys.revoke(key_id)
        if key is not None:
            self._books.note(actor, "key.revoke", key_id, owner=key.owner)
        return key

    def jobs(self, owner: str | None, status: Status | None, after: str | None, limit: int) -> Page:
        """Jobs of all owners or of one, newest first, from after an id on."""
        return page_of_all(self._ledger, owner, status, after, limit)

    def cancel_job(self, actor: str, job_id: str) -> Job | None:
        """Stop a job, whoever's it is; None when there is none."""
        job = self._ledger.cancel(job_id)
        if job is not None:
            self._books.note(actor, "job.cancel", job_id, owner=job.owner)
        return job

    def usage(self, since: float, until: float | None, owner: str | None, group_by: GroupBy) -> list[Used]:
        """What was used from one time to another, now by default."""
        return self._books.used(since, self._clock() if until is None else until, owner, group_by)

    def cases(self, owner: str | None, only_open: bool, before: str | None, limit: int) -> list[Case]:
        """What the gate refused, newest first."""
        return self._cases.all(owner=owner, only_open=only_open, before=before, limit=limit)

    def overrule(self, actor: str, case_id: str) -> Case | None:
        """Let what was refused pass from now on; None when there is no such case."""
        case = self._cases.overrule(case_id, actor)
        if case is not None:
            self._books.note(actor, "moderation.overrule", case_id, owner=case.owner, category=case.category)
        return case

    def actions(self, limit: int, before: str | None = None) -> list[Action]:
        """The audit log, newest first."""
        return self._books.actions(limit, before)
