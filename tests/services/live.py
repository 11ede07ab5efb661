"""The service without Ray: the real application under uvicorn, a real sampler in a thread, a real ledger."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import openai
import uvicorn
from prometheus_client import CollectorRegistry

from services.video.api import create_app
from services.video.config import ServiceConfig, hash_key
from services.video.ledger import Ledger
from services.video.metrics import PrometheusBackend
from services.video.workers.card import model_card
from services.video.workers.crew import Crew
from sora_core import telemetry
from sora_core.pipeline import Pipeline

KEYS = {"ann": "sk-ann", "bob": "sk-bob"}


def config_in(folder: Path, run_uri: str, **changes: Any) -> ServiceConfig:
    """A config whose ledger and output lie in a folder; ``api`` and ``sampler`` take further settings.

    Nothing is marked or signed and no picture is judged unless ``provenance`` and ``moderation`` say so: most tests
    compare pixels, and what a model without training makes may look like anything.
    """
    api = {"keys": {owner: hash_key(key) for owner, key in KEYS.items()}} | changes.pop("api", {})
    sampler = {"idle_poll_s": 0.02, "look_every_s": 0.0, "lease_s": 5.0, "outage_patience_s": 20.0}
    sampler |= changes.pop("sampler", {})
    changes.setdefault("provenance", {"watermark": False, "credentials": False, "fingerprint": False})
    changes["moderation"] = {"image_model": ""} | changes.get("moderation", {})
    values = {"ledger": f"sqlite:///{folder}/ledger.db", "output": str(folder / "out"), "checkpoint": run_uri}
    return ServiceConfig.model_validate({**values, "api": api, "sampler": sampler, **changes})


class LiveService:
    """Runs while the ``with`` block does; a sampler and a decoder work only between `work` and `rest`."""

    def __init__(self, config: ServiceConfig, pipeline: Pipeline, port: int) -> None:
        self.config = config
        self.pipeline = pipeline
        self.ledger = Ledger.open(config.ledger)
        self.url = f"http://127.0.0.1:{port}"
        self.registry = CollectorRegistry()
        self._crew: Crew | None = None
        self._closing = ExitStack()
        app = create_app(config, self.ledger, self.registry)
        self._settings = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", ws="none", lifespan="on")
        self._server = uvicorn.Server(self._settings)
        self._serving = threading.Thread(target=self._server.run, name="uvicorn")

    def publish(self) -> None:
        """What a sampler replica says when it has loaded its model."""
        card = model_card(self.pipeline, self.config)
        self.ledger.roster.publish_model(card.id, card.model_dump(mode="json"))

    def client(self, owner: str = "ann", **options: Any) -> openai.OpenAI:
        """The stock client, as this owner."""
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=KEYS[owner], **{"max_retries": 0, **options})
        self._closing.callback(client.close)
        return client

    def work(self) -> None:
        self._crew = Crew.sampling(self.config, self.pipeline, self.ledger)
        self._crew.start()

    def rest(self) -> None:
        if self._crew is not None:
            self._crew.stop()
            self._crew = None

    def go_away(self) -> None:
        """The API stops answering; its address is free."""
        self._server.should_exit = True
        self._serving.join()

    def come_back(self) -> None:
        """The API answers again where it was."""
        self._server = uvicorn.Server(self._settings)
        self._serving = threading.Thread(target=self._server.run, name="uvicorn")
        self._serving.start()
        eventually(lambda: self._server.started)

    def __enter__(self) -> Self:
        telemetry.bind(PrometheusBackend(self.registry))
        self._serving.start()
        eventually(lambda: self._server.started)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()
        self._closing.close()
        self.go_away()
        self.ledger.close()
        telemetry.bind(None)


def eventually(condition: Callable[[], Any], within_s: float = 60.0) -> Any:
    """The condition's first true value; fails when it stays false for so long."""
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {within_s} s")
