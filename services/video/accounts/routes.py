"""The routes of administration, for keys with the scope ``admin``."""

from typing import Annotated

from fastapi import Depends, Path, Query, Request
from fastapi.concurrency import run_in_threadpool

from services.video.accounts.administration import Administration
from services.video.accounts.books import GroupBy
from services.video.accounts.schemas import (
    OWNER,
    AdminCase,
    AdminCaseList,
    AdminJob,
    AdminJobList,
    AdminKey,
    AdminKeyList,
    AdminKeyWithSecret,
    AuditEntry,
    AuditList,
    CreateKey,
    UsageList,
    UsageRow,
    key_fields,
)
from services.video.errors import ApiError
from services.video.job import Status
from services.video.routes.access import TheCaller, TheService, found, keyed_router
from services.video.routes.forms import read_body
from services.video.routes.parameters import body_schema, parse

_MAX_BODY_BYTES = 2**16
_KEY_ID = r"^key_[0-9a-f]{24}$"
_CASE_ID = r"^mod_[0-9a-f]{24}$"
_JOB_ID = r"^(video|image)_[0-9a-f]{32}$"

router = keyed_router("/admin")


async def _administration(service: TheService) -> Administration:
    return Administration(service.ledger)


Admin = Annotated[Administration, Depends(_administration)]
OwnerFilter = Annotated[str | None, Query(max_length=200, pattern=OWNER)]
Limit = Annotated[int, Query(ge=1, le=1000)]
UnixTime = Annotated[float, Query(ge=0, le=1e11)]


@router.get("/keys")
def list_keys(admin: Admin, owner: OwnerFilter = None) -> AdminKeyList:
    """Every key of the database, or an owner's, newest first; those of the config are in the config."""
    return AdminKeyList(data=[AdminKey.of(key) for key in admin.keys(owner)])


@router.post("/keys", openapi_extra=body_schema(CreateKey))
async def create_key(request: Request, service: TheService, admin: Admin, caller: TheCaller) -> AdminKeyWithSecret:
    """A new key; the answer alone holds its secret."""
    wanted = parse(CreateKey, await read_body(request, service.config.api, _MAX_BODY_BYTES))
    made = wanted.owner, wanted.name, wanted.scopes, wanted.expires_in_s
    key, secret = await run_in_threadpool(admin.add_key, caller.key_id, *made)
    return AdminKeyWithSecret(**key_fields(key), secret=secret)


@router.delete("/keys/{key_id}")
def revoke_key(
    key_id: Annotated[str, Path(pattern=r"^key_[0-9a-f]{24}$")], admin: Admin, caller: TheCaller
) -> AdminKey:
    """End a key: within seconds no replica takes it."""
    key = admin.revoke_key(caller.key_id, key_id)
    if key is None:
        raise ApiError(404, f"no key {key_id!r} in the database", code="not_found")
    return AdminKey.of(key)


@router.get("/jobs")
def list_jobs(
    admin: Admin,
    owner: OwnerFilter = None,
    status: Annotated[Status | None, Query()] = None,
    after: Annotated[str | None, Query(pattern=_JOB_ID)] = None,
    limit: Limit = 100,
) -> AdminJobList:
    """Jobs of all owners, newest first."""
    page = admin.jobs(owner, status, after, limit)
    data = [AdminJob.of(job) for job in page.jobs]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return AdminJobList(data=data, has_more=page.has_more, first_id=first, last_id=last)


@router.post("/jobs/{job_id}/cancel")
def cancel_job(job_id: Annotated[str, Path(pattern=_JOB_ID)], admin: Admin, caller: TheCaller) -> AdminJob:
    """Stop a job, whoever's it is."""
    return AdminJob.of(found(admin.cancel_job(caller.key_id, job_id), job_id))


@router.get("/usage")
def list_usage(
    admin: Admin,
    since: UnixTime = 0,
    until: Annotated[float | None, Query(ge=0, le=1e11)] = None,
    owner: OwnerFilter = None,
    group_by: Annotated[GroupBy, Query()] = "key",
) -> UsageList:
    """What was used between two Unix times, by owner, by key, or by key and day."""
    return UsageList(data=[UsageRow.of(used) for used in admin.usage(since, until, owner, group_by)])


@router.get("/moderation_cases")
def list_cases(
    admin: Admin,
    owner: OwnerFilter = None,
    only_open: bool = False,
    limit: Limit = 100,
    before: Annotated[str | None, Query(pattern=_CASE_ID)] = None,
) -> AdminCaseList:
    """What the gate refused, newest first; ``only_open``: and nobody has overruled."""
    return AdminCaseList(data=[AdminCase.of(case) for case in admin.cases(owner, only_open, before, limit)])


@router.post("/moderation_cases/{case_id}/overrule")
def overrule_case(case_id: Annotated[str, Path(pattern=_CASE_ID)], admin: Admin, caller: TheCaller) -> AdminCase:
    """Let what was refused pass from now on, whoever asks for it."""
    case = admin.overrule(caller.key_id, case_id)
    if case is None:
        raise ApiError(404, f"no case {case_id!r} in the appeal log", code="not_found")
    return AdminCase.of(case)


@router.get("/audit")
def list_actions(
    admin: Admin, limit: Limit = 100, before: Annotated[str | None, Query(pattern=r"^audit_[0-9a-f]{24}$")] = None
) -> AuditList:
    """What operators did, newest first."""
    return AuditList(data=[AuditEntry.of(action) for action in admin.actions(limit, before)])
