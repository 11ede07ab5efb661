"""The administration over the wire."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.video.accounts.books import Action, Used
from services.video.accounts.keys import Key, Scope
from services.video.job import Job, Status
from services.video.moderation.cases import Case

OWNER = r"^[\w.@:+ -]+$"
Owner = Annotated[str, Field(min_length=1, max_length=200, pattern=OWNER)]


class CreateKey(BaseModel):
    """The body of ``POST /v1/admin/keys``."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    owner: Owner
    name: str | None = Field(default=None, max_length=200, description="what tells it from the owner's others")
    scopes: list[Scope] | None = Field(
        default=None, min_length=1, max_length=4, description="make and read unless it says otherwise"
    )
    expires_in_s: float | None = Field(default=None, gt=0, le=1e9)


class AdminKey(BaseModel):
    """A key without its secret; times are Unix seconds."""

    id: str
    object: Literal["admin.key"] = "admin.key"
    owner: str
    name: str
    hint: str
    scopes: list[str]
    created_at: int
    expires_at: int | None
    revoked_at: int | None

    @classmethod
    def of(cls, key: Key) -> "AdminKey":
        return cls(**key_fields(key))


class AdminKeyWithSecret(AdminKey):
    """A key as it is told once."""

    secret: str


def key_fields(key: Key) -> dict[str, Any]:
    times = {name: getattr(key, name) for name in ("created_at", "expires_at", "revoked_at")}
    whole = {name: None if time_s is None else int(time_s) for name, time_s in times.items()}
    return {"id": key.id, "owner": key.owner, "name": key.name, "hint": key.hint, "scopes": list(key.scopes)} | whole


class AdminKeyList(BaseModel):
    object: Literal["list"] = "list"
    data: list[AdminKey]


class AdminJob(BaseModel):
    """A job of any owner: what an operator needs to see of it, and nothing that was said in it."""

    id: str
    object: Literal["admin.job"] = "admin.job"
    owner: str
    key_id: str
    model: str
    status: Status
    stage: str
    progress: int
    priority: int
    attempts: int
    worker: str | None
    error_code: str | None
    created_at: int
    started_at: int | None
    completed_at: int | None

    @classmethod
    def of(cls, job: Job) -> "AdminJob":
        started, completed = job.started_at, job.completed_at
        return cls(
            id=job.id,
            owner=job.owner,
            key_id=job.params.get("key", ""),
            model=job.model,
            status=job.status,
            stage=job.stage,
            progress=job.progress,
            priority=job.priority,
            attempts=job.attempts,
            worker=job.lease_owner,
            error_code=job.error_code,
            created_at=int(job.created_at),
            started_at=None if started is None else int(started),
            completed_at=None if completed is None else int(completed),
        )


class AdminJobList(BaseModel):
    object: Literal["list"] = "list"
    data: list[AdminJob]
    has_more: bool
    first_id: str | None
    last_id: str | None


class UsageRow(BaseModel):
    """What an owner, or one of its keys, used in a time; ``day`` counts from 1970 (UTC)."""

    object: Literal["admin.usage"] = "admin.usage"
    owner: str
    key_id: str | None
    day: int | None
    requests: int
    video_seconds: float
    device_seconds: float

    @classmethod
    def of(cls, used: Used) -> "UsageRow":
        values = {name: getattr(used, name) for name in cls.model_fields if name != "object"}
        return cls(**values)


class UsageList(BaseModel):
    object: Literal["list"] = "list"
    data: list[UsageRow]


class AdminCase(BaseModel):
    """What the gate refused, with the words where it was words; times are Unix seconds."""

    id: str
    object: Literal["admin.moderation_case"] = "admin.moderation_case"
    at: int
    owner: str
    key_id: str
    stage: str
    field: str
    category: str
    rule: str
    score: float
    text: str | None
    job_id: str | None
    count: int
    overruled_at: int | None
    overruled_by: str | None

    @classmethod
    def of(cls, case: Case) -> "AdminCase":
        names = set(cls.model_fields) - {"object", "at", "overruled_at"}
        overruled_at = None if case.overruled_at is None else int(case.overruled_at)
        return cls(at=int(case.at), overruled_at=overruled_at, **{name: getattr(case, name) for name in names})


class AdminCaseList(BaseModel):
    object: Literal["list"] = "list"
    data: list[AdminCase]


class AuditEntry(BaseModel):
    """What an operator did."""

    id: str
    object: Literal["admin.audit_entry"] = "admin.audit_entry"
    at: int
    actor: str
    action: str
    target: str
    details: dict[str, Any]

    @classmethod
    def of(cls, action: Action) -> "AuditEntry":
        return cls(
            id=action.id,
            at=int(action.at),
            actor=action.actor,
            action=action.action,
            target=action.target,
            details=dict(action.details),
        )


class AuditList(BaseModel):
    object: Literal["list"] = "list"
    data: list[AuditEntry]
