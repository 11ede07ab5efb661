"""The HTTP side: the OpenAI Videos API and its extensions. It holds no state: any replica answers for any job."""

import hmac
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import metadata

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from services.video import asgi, studio
from services.video.accounts.keys import Keyring, KeyStore
from services.video.accounts.routes import router as admin
from services.video.accounts.sign_ins import router as sign_ins
from services.video.boards.routes import Boards
from services.video.boards.routes import router as boards
from services.video.cached import Cached, CachedEach
from services.video.config import ServiceConfig, hash_key
from services.video.errors import ApiError
from services.video.housekeeping import Housekeeper
from services.video.intake.intake import Intake
from services.video.ledger import Ledger
from services.video.ledger.line import line_of
from services.video.ledger.lookups import jobs_of
from services.video.metrics import LedgerCollector
from services.video.routes import (
    characters,
    content,
    edits,
    images,
    moderations,
    pages,
    provenance,
    status,
    unsupported,
    videos,
)
from services.video.routes.access import Service, TheService, keyed_router
from services.video.routes.turns import Turns
from services.video.routes.watch import Watch
from services.video.schemas import Model, ModelCardList, ModelList
from services.video.webhooks.courier import Courier
from services.video.webhooks.routes import router as webhooks
from services.video.webhooks.store import WebhookStore

_BACKLOG_S = 0.5
_NUMBERS_S = 1.0  # several scrapers, or a stranger, make no more queries than one
_WAITING_INTAKES = 200  # of a key in a replica


def create_app(
    config: ServiceConfig,
    ledger: Ledger | None = None,
    registry: CollectorRegistry | None = None,
    *,
    named_by_proxy: bool = False,
) -> FastAPI:
    """The ASGI application. ``registry`` holds further metrics for ``/metrics``; the ledger's own join it."""
    ledger = ledger or Ledger.open(config.ledger)
    registry = registry or CollectorRegistry()
    registry.register(LedgerCollector(ledger, config.sampler))
    keyring = Keyring(config.api, KeyStore(ledger))
    app = FastAPI(
        title="Sora on Ray",
        summary="Videos from text, images and videos",
        version=metadata.version("sora-on-ray"),
        docs_url=None,  # it would load its scripts from elsewhere
        redoc_url=None,
        lifespan=_at_work,
    )
    backlog = CachedEach(lambda model: ledger.roster.backlog(model=model), _BACKLOG_S)
    line = Cached(partial(line_of, ledger), _BACKLOG_S)
    numbers = Cached(partial(generate_latest, registry), _NUMBERS_S)
    turns = Turns(config.api.max_intakes, config.api.max_intakes_per_key, _WAITING_INTAKES)
    watch = Watch(partial(jobs_of, ledger))
    app.state.service = Service(config, ledger, Intake(config, ledger), numbers, keyring, backlog, line, turns, watch)
    app.state.boards = Boards(config.studio)
    app.state.asking = provenance.Asking(app.state.service)
    # Names under /videos come before /videos/{video_id}, which would take them for ids.
    for router in (
        models,
        unsupported.router,
        characters.router,
        edits.router,
        videos.router,
        content.router,
        images.router,
        images.linked,
        provenance.router,
        moderations.router,
        webhooks,
        admin,
        sign_ins,
        boards,
        status.router,
        scraped,
    ):
        app.include_router(router)
    studio.mount(app, config.studio)
    pages.mount(app)
    asgi.install(app, named_by_proxy=named_by_proxy, cors_origins=config.api.cors_origins)
    return app


@asynccontextmanager
async def _at_work(app: FastAPI) -> AsyncIterator[None]:
    """Webhooks are sent and house is kept while the application runs."""
    service: Service = app.state.service
    courier = Courier(WebhookStore(service.ledger), service.config.webhooks)
    keeper = Housekeeper(service.config, service.ledger)
    keeping = threading.Thread(target=keeper.run, name="housekeeper", daemon=True)
    courier.start()
    keeping.start()
    yield
    keeper.stop()
    await run_in_threadpool(courier.stop)
    await run_in_threadpool(keeping.join)
    await run_in_threadpool(service.intake.close)


models = keyed_router()
scraped = APIRouter()


@models.get("/videos/models")
def list_capabilities(service: TheService) -> ModelCardList:
    """What the served models can do: sizes, lengths, inputs, defaults."""
    return ModelCardList(data=service.intake.cards())


@models.get("/models")
def list_models(service: TheService) -> ModelList:
    """The served models by name."""
    return ModelList(data=[Model(id=card.id, created=card.created) for card in service.intake.cards()])


@models.get("/models/{model}")
def retrieve_model(model: str, service: TheService) -> Model:
    """One served model."""
    for card in service.intake.cards():
        if card.id == model:
            return Model(id=card.id, created=card.created)
    raise ApiError(404, f"model {model!r} is not served here", code="model_not_found")


@scraped.get("/health", include_in_schema=False)
async def health() -> dict[str, str]:
    """That this replica answers, without a key; what it depends on is told by the answers of others."""
    return {"status": "ok"}


@scraped.get("/metrics", include_in_schema=False)
def metrics(request: Request, service: TheService) -> Response:
    """Numbers for Prometheus, without a key unless the operator has set one for them."""
    wanted = service.config.api.metrics_key
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if wanted is not None and not hmac.compare_digest(hash_key(given), wanted):
        raise ApiError(401, "the numbers need a key of their own", code="invalid_api_key", kind="authentication_error")
    return Response(service.numbers(), media_type=CONTENT_TYPE_LATEST)
