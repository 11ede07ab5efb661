"""The routes by which a key says where its events go."""

from functools import partial
from typing import Annotated

from fastapi import Depends, Path, Query, Request
from fastapi.concurrency import run_in_threadpool

from services.video.errors import ApiError, refused
from services.video.outbound import Outbound, OutboundError
from services.video.routes.access import Owner, Service, TheService, keyed_router
from services.video.routes.forms import read_body
from services.video.routes.parameters import body_schema, parse
from services.video.webhooks.courier import send
from services.video.webhooks.schemas import (
    CreateEndpoint,
    DeletedWebhookEndpoint,
    EventTypeList,
    RotateSecret,
    SendTest,
    UpdateEndpoint,
    WebhookEndpoint,
    WebhookEndpointList,
    WebhookEndpointWithSecret,
    WebhookTestResult,
)
from services.video.webhooks.store import EVENT_TYPES, Delivery, Endpoint, WebhookStore, event_of

_MAX_BODY_BYTES = 2**16
_ID = r"^we_[0-9a-f]{32}$"

router = keyed_router()


async def _store(service: TheService) -> WebhookStore:
    return WebhookStore(service.ledger)


Store = Annotated[WebhookStore, Depends(_store)]
EndpointId = Annotated[str, Path(pattern=_ID)]


def _found(endpoint: Endpoint | None, endpoint_id: str) -> Endpoint:
    if endpoint is None:
        raise ApiError(404, f"no webhook endpoint {endpoint_id!r} of this key", code="not_found")
    return endpoint


@router.get("/webhook_event_types")
def list_event_types() -> EventTypeList:
    """The events that an endpoint can ask for."""
    return EventTypeList(data=list(EVENT_TYPES))


@router.post("/webhook_endpoints", openapi_extra=body_schema(CreateEndpoint))
async def create_endpoint(
    request: Request, service: TheService, store: Store, owner: Owner
) -> WebhookEndpointWithSecret:
    """Register a URL; the answer alone holds the secret that signs what is sent there."""
    wanted = parse(CreateEndpoint, await read_body(request, service.config.api, _MAX_BODY_BYTES))
    await service.turns.run(owner, partial(_check_url, service, wanted.url))
    most = service.config.webhooks.max_endpoints_per_key
    made = await run_in_threadpool(store.add, owner, wanted.name, wanted.url, wanted.event_types, most)
    if made is None:
        raise ApiError(400, f"a key has at most {most} webhook endpoints: delete one first", code="too_many_endpoints")
    return WebhookEndpointWithSecret.of(made)


@router.get("/webhook_endpoints")
def list_endpoints(
    store: Store,
    owner: Owner,
    after: Annotated[str | None, Query(pattern=_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> WebhookEndpointList:
    """The key's endpoints, newest first."""
    endpoints, has_more = store.page(owner, after, limit)
    data = [WebhookEndpoint.of(endpoint) for endpoint in endpoints]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return WebhookEndpointList(data=data, has_more=has_more, first_id=first, last_id=last)


@router.get("/webhook_endpoints/{endpoint_id}")
def retrieve_endpoint(endpoint_id: EndpointId, store: Store, owner: Owner) -> WebhookEndpoint:
    """One endpoint of the key's."""
    return WebhookEndpoint.of(_found(store.get(endpoint_id, owner), endpoint_id))


@router.post("/webhook_endpoints/{endpoint_id}", openapi_extra=body_schema(UpdateEndpoint))
async def update_endpoint(
    request: Request, endpoint_id: EndpointId, service: TheService, store: Store, owner: Owner
) -> WebhookEndpoint:
    """Change an endpoint's name, URL or events."""
    wanted = parse(UpdateEndpoint, await read_body(request, service.config.api, _MAX_BODY_BYTES))
    if wanted.url is not None:
        await service.turns.run(owner, partial(_check_url, service, wanted.url))
    changed = await run_in_threadpool(store.change, endpoint_id, owner, wanted.model_dump(exclude_none=True))
    return WebhookEndpoint.of(_found(changed, endpoint_id))


@router.delete("/webhook_endpoints/{endpoint_id}")
def delete_endpoint(endpoint_id: EndpointId, store: Store, owner: Owner) -> DeletedWebhookEndpoint:
    """Send nothing more to an endpoint."""
    if not store.remove(endpoint_id, owner):
        _found(None, endpoint_id)
    return DeletedWebhookEndpoint(id=endpoint_id)


@router.post("/webhook_endpoints/{endpoint_id}/rotate_secret", openapi_extra=body_schema(RotateSecret))
async def rotate_secret(
    request: Request, endpoint_id: EndpointId, service: TheService, store: Store, owner: Owner
) -> WebhookEndpointWithSecret:
    """Replace an endpoint's secret; events are signed with both for a day when the old one is kept."""
    wanted = parse(RotateSecret, await read_body(request, service.config.api, _MAX_BODY_BYTES))
    keep = wanted.keep_old_secret_active_for_24_hours
    return WebhookEndpointWithSecret.of(
        _found(await run_in_threadpool(_rotate, store, endpoint_id, owner, keep), endpoint_id)
    )


def _rotate(store: WebhookStore, endpoint_id: str, owner: str, keep: bool) -> Endpoint | None:
    return store.rotate_secret(endpoint_id, owner, keep_old=keep)


@router.post("/webhook_endpoints/{endpoint_id}/test", openapi_extra=body_schema(SendTest))
async def test_endpoint(
    request: Request, endpoint_id: EndpointId, service: TheService, store: Store, owner: Owner
) -> WebhookTestResult:
    """Send a sample event now, once, and say how the endpoint answered."""
    wanted = parse(SendTest, await read_body(request, service.config.api, _MAX_BODY_BYTES))
    endpoint = _found(await run_in_threadpool(store.get, endpoint_id, owner), endpoint_id)
    now = store.now()
    event_id, body = event_of(wanted.event_type, "video_" + "0" * 32, now)
    sample = Delivery(event_id, endpoint, body, now, 1)
    outbound = Outbound(service.config.webhooks.outbound)
    try:
        status = await service.turns.run(owner, partial(send, outbound, sample, now))
    except OutboundError as error:
        raise ApiError(400, f"the endpoint can't be reached: {error}", code="endpoint_unreachable") from error
    return WebhookTestResult(event_type=wanted.event_type, status_code=status, webhook_endpoint_id=endpoint_id)


def _check_url(service: Service, url: str) -> None:
    """ApiError 400 for a URL that no event may go to."""
    try:
        Outbound(service.config.webhooks.outbound).check(url)
    except OutboundError as error:
        raise refused("url", f"url: {error}", "forbidden_url") from error
