"""The service's plain classes as Ray Serve deployments: API replicas in front, sampler replicas behind the ledger."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import torch
from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from starlette.types import ASGIApp

from services.video.api import create_app
from services.video.card import model_card
from services.video.config import ServiceConfig
from services.video.ledger import Ledger
from services.video.ray_metrics import RayBackend
from services.video.sampler import Sampler
from sora_core import storage, telemetry
from sora_core.pipeline import Pipeline

log = logging.getLogger(__name__)


class SamplerReplica:
    """A sampler in a thread of its own. It is sent no requests: it takes its work from the ledger."""

    def __init__(self, config: ServiceConfig) -> None:
        telemetry.bind(RayBackend())
        logging.getLogger("services").setLevel(logging.INFO)
        torch.set_num_threads(config.sampler.threads)
        pipeline = Pipeline.load(config.checkpoint, config.sampler.device)
        ledger = Ledger.open(config.ledger)
        card = model_card(pipeline, config)
        ledger.publish_model(card.id, card.model_dump(mode="json"))
        self._sampler = Sampler(config, pipeline, ledger)
        self._thread = threading.Thread(target=self._sampler.run, name="sampler", daemon=True)
        self._thread.start()

    def check_health(self) -> None:
        """Ask Serve for another replica when the loop has died."""
        if not self._thread.is_alive():
            raise RuntimeError("the sampler's loop ended; its log says why")

    def __del__(self) -> None:
        """Serve calls this when it stops a replica: unfinished jobs go back to the queue at once."""
        sampler = getattr(self, "_sampler", None)
        if sampler is not None:
            sampler.stop()
            self._thread.join()


def _api_builder(config: ServiceConfig) -> Callable[[], ASGIApp]:
    """What an API replica runs to get its application, inside the replica, where its database connections belong.

    Serve sends the inner function itself, not this module's name, so an API replica never loads the model's libraries.
    """

    def build_api() -> ASGIApp:
        telemetry.bind(RayBackend())
        return create_app(config, named_by_proxy=True)

    return build_api


def _scale(config: ServiceConfig) -> dict[str, Any]:
    """A fixed number of samplers, or one that follows the predicted wait."""
    settings = config.sampler
    if settings.max_replicas is None or settings.max_replicas <= settings.replicas:
        return {"num_replicas": settings.replicas}
    policy = AutoscalingPolicy(
        policy_function="services.video.autoscale:PredictedWait",
        policy_kwargs={"ledger": config.ledger, "target_wait_s": settings.target_wait_s},
    )
    scaling = AutoscalingConfig(
        min_replicas=settings.replicas,
        max_replicas=settings.max_replicas,
        upscale_delay_s=settings.scale_delay_s,
        downscale_delay_s=settings.scale_delay_s,
        policy=policy,
    )
    return {"autoscaling_config": scaling}


def application(config: ServiceConfig) -> serve.Application:
    """API and samplers, once all that they need was seen to be there.

    StorageError for a checkpoint or an output, LedgerUnavailable or ConfigError for a ledger that can't be used.
    """
    storage.check_readable(config.checkpoint)
    storage.check_writable(config.output)
    Ledger.open(config.ledger).close()
    sampler = serve.deployment(SamplerReplica, name="sampler").options(
        **_scale(config),
        ray_actor_options={"num_cpus": config.sampler.num_cpus, "num_gpus": config.sampler.num_gpus},
        health_check_period_s=5,
        graceful_shutdown_timeout_s=config.sampler.lease_s,
    )
    api = serve.deployment(serve.ingress(_api_builder(config))(), name="api").options(
        num_replicas=config.api.replicas,
        ray_actor_options={"num_cpus": config.api.num_cpus},
        max_ongoing_requests=100,
    )
    return api.bind(sampler.bind(config))
