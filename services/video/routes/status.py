"""The route that tells what a client can know before it asks: how busy the service is, and where its limits are."""

from pydantic import BaseModel, Field

from services.video.routes.access import TheCaller, TheService, keyed_router

router = keyed_router("/service")


class QueueState(BaseModel):
    """Work accepted from all keys. A request takes its tokens times its steps, as ``token_steps_per_s`` counts them."""

    waiting: int = Field(description="videos and images that nobody works on yet")
    wait_s: float | None = Field(description="how long the accepted work takes; null before a speed was measured")
    token_steps_per_s: float = Field(description="of all live samplers; 0 while none is")


class ServiceLimits(BaseModel):
    """What one request may send and ask for."""

    max_outputs: int
    max_steps: int
    max_prompt_chars: int
    max_upload_bytes: int
    max_video_bytes: int
    max_video_s: float


class ServiceStatus(BaseModel):
    """The answer of ``GET /v1/service``; ``scopes`` are those of the key that asks."""

    object: str = "service"
    queue: QueueState
    limits: ServiceLimits
    scopes: list[str]
    enhance_prompt: bool = Field(description="whether a language model writes prompts out")


@router.get("")
def describe_service(service: TheService, caller: TheCaller) -> ServiceStatus:
    """How busy the service is, its limits, and what is switched on."""
    api, backlog = service.config.api, service.backlog()
    return ServiceStatus(
        queue=QueueState(waiting=backlog.waiting, wait_s=backlog.wait_s, token_steps_per_s=backlog.token_steps_per_s),
        limits=ServiceLimits(**{name: getattr(api, name) for name in ServiceLimits.model_fields}),
        scopes=sorted(caller.scopes),
        enhance_prompt=api.prompt_endpoint is not None,
    )
