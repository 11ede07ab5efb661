"""The service's plain classes as Serve deployments: API replicas in front, samplers and decoders behind the ledger."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from starlette.types import ASGIApp

from services.video.api import create_app
from services.video.config import DecoderSettings, SamplerSettings, ServiceConfig
from services.video.ledger import Ledger
from services.video.ray_metrics import RayBackend
from services.video.workers.card import model_card
from services.video.workers.crew import Crew, cache_threshold, tiling
from services.video.workers.device import Device
from services.video.workers.follow import Following
from services.video.workers.repertoire import Loaded, Repertoire
from sora_core import storage, telemetry
from sora_core.pipeline import FrameDecoder, Pipeline, check_present

log = logging.getLogger(__name__)


class _Replica:
    """Crews at work in a Serve replica. It is sent no requests: it takes its work from the ledger."""

    _crews: Sequence[Crew | Following | Repertoire] = ()

    def _begin(self, threads: int) -> None:
        telemetry.bind(RayBackend())
        logging.getLogger("services").setLevel(logging.INFO)
        torch.set_num_threads(threads)

    def _work(self, *crews: Crew | Following | Repertoire) -> None:
        self._crews = crews
        for crew in crews:
            crew.start()

    def check_health(self) -> None:
        """Ask Serve for another replica when a loop has died, hangs, or fails whatever it takes."""
        ills = [ill for crew in self._crews for ill in crew.ills]
        if ills:
            raise RuntimeError(f"{'; '.join(ills)}; the log says why")

    def __del__(self) -> None:
        """Serve calls this when it stops a replica: unfinished jobs go back to the queue at once."""
        for crew in self._crews:
            crew.stop()


class SamplerReplica(_Replica):
    """Holds whole models and introduces them to the API."""

    def __init__(self, config: ServiceConfig) -> None:
        self._begin(config.sampler.threads)
        ledger, device = Ledger.open(config.ledger), Device(config.sampler.device)

        def load(uri: str) -> Loaded:
            pipeline = Pipeline.load(uri, config.sampler.device)
            own = config if config.follow else config.of(uri)
            card = model_card(pipeline, own)
            ledger.roster.publish_model(card.id, card.model_dump(mode="json"))
            return Loaded(card.id, pipeline.weights_bytes, Crew.sampling(own, pipeline, ledger, device))

        if config.also:
            budget_bytes, decodes = config.sampler.memory_bytes, not config.decoder.replicas
            self._work(Repertoire(config.checkpoints, load, ledger, budget_bytes, decodes=decodes))
        elif config.follow:
            self._work(Following(config.checkpoint, lambda uri: load(uri).crew))
        else:
            self._work(load(config.checkpoint).crew)


class DecoderReplica(_Replica):
    """Holds the models' autoencoders alone."""

    def __init__(self, config: ServiceConfig) -> None:
        self._begin(config.decoder.threads)
        ledger, device = Ledger.open(config.ledger), config.decoder.device
        frames = [FrameDecoder.load(uri, device, tiling(config)) for uri in config.checkpoints]
        self._work(*(Crew.decoding(config, one, ledger) for one in frames))


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
    arguments: dict[str, Any] = {
        "ledger": config.ledger,
        "checkpoints": config.checkpoints,
        "target_wait_s": settings.target_wait_s,
        "decodes": not config.decoder.replicas,
    }
    policy = AutoscalingPolicy(policy_function="services.video.autoscale:PredictedWait", policy_kwargs=arguments)
    scaling = AutoscalingConfig(
        min_replicas=settings.replicas,
        max_replicas=settings.max_replicas,
        upscale_delay_s=0.0,
        downscale_delay_s=settings.scale_delay_s,
        policy=policy,
    )
    return {"autoscaling_config": scaling}


def application(config: ServiceConfig) -> serve.Application:
    """API and samplers, once all that they need was seen to be there.

    StorageError for a checkpoint or an output, LedgerUnavailable or ConfigError for a ledger that can't be used.
    """
    for uri in config.checkpoints:
        check_present(uri)
        cache_threshold(config.of(uri))
    storage.check_writable(config.output)
    Ledger.open(config.ledger).close()
    workers = [_deploy(SamplerReplica, "sampler", config, config.sampler, **_scale(config))]
    if config.decoder.replicas:
        replicas = {"num_replicas": config.decoder.replicas}
        workers.append(_deploy(DecoderReplica, "decoder", config, config.decoder, **replicas))
    api = serve.deployment(serve.ingress(_api_builder(config))(), name="api").options(
        num_replicas=config.api.replicas,
        ray_actor_options={"num_cpus": config.api.num_cpus},
        max_ongoing_requests=1000,  # most of them wait, for images or for their turn, and hold no thread
    )
    return api.bind(*workers)


def _deploy(
    replica: type[_Replica],
    name: str,
    config: ServiceConfig,
    settings: SamplerSettings | DecoderSettings,
    **replicas: Any,
) -> serve.Application:
    deployment = serve.deployment(replica, name=name).options(
        **replicas,
        ray_actor_options={"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus},
        health_check_period_s=5,
        graceful_shutdown_timeout_s=config.sampler.drain_s,
    )
    return deployment.bind(config)
