"""Webhook endpoints over the wire, as the `openai` clients send and read them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.video.webhooks.store import Endpoint

EventType = Literal["video.completed", "video.failed"]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Url = Annotated[str, Field(min_length=1, max_length=2000)]
EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=2)]


class CreateEndpoint(BaseModel):
    """The body of ``POST /v1/webhook_endpoints``."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    url: Url
    event_types: EventTypes


class UpdateEndpoint(BaseModel):
    """What may be changed of an endpoint; the rest stays."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    url: Url | None = None
    event_types: EventTypes | None = None


class RotateSecret(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keep_old_secret_active_for_24_hours: bool = False


class SendTest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    event_type: EventType


class WebhookEndpoint(BaseModel):
    """An endpoint without its secret."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    created_at: int
    updated_at: int
    event_types: list[str]
    name: str
    url: str
    signing_secret_hint: str
    status: Literal["enabled", "disabled"] = Field(description="disabled: it took nothing for days; change it to go on")
    failing_since: int | None = Field(description="since when it has taken nothing")

    @classmethod
    def of(cls, endpoint: Endpoint) -> "WebhookEndpoint":
        return cls(**_fields(endpoint))


class WebhookEndpointWithSecret(WebhookEndpoint):
    """An endpoint as it is told once, when its secret is new."""

    signing_secret: str

    @classmethod
    def of(cls, endpoint: Endpoint) -> "WebhookEndpointWithSecret":
        return cls(signing_secret=endpoint.secret, **_fields(endpoint))


def _fields(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "created_at": int(endpoint.created_at),
        "updated_at": int(endpoint.updated_at),
        "event_types": list(endpoint.event_types),
        "name": endpoint.name,
        "url": endpoint.url,
        "status": "enabled" if endpoint.disabled_at is None else "disabled",
        "failing_since": None if endpoint.failing_since is None else int(endpoint.failing_since),
        "signing_secret_hint": f"{endpoint.secret[:8]}...{endpoint.secret[-4:]}",
    }


class WebhookEndpointList(BaseModel):
    object: Literal["list"] = "list"
    data: list[WebhookEndpoint]
    has_more: bool
    first_id: str | None
    last_id: str | None


class DeletedWebhookEndpoint(BaseModel):
    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: Literal[True] = True


class WebhookTestResult(BaseModel):
    """How an endpoint answered to a sample event."""

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    event_type: str
    status_code: int
    success: Literal[True] = True
    webhook_endpoint_id: str


class EventTypeList(BaseModel):
    object: Literal["list"] = "list"
    data: list[str]
