"""Several models in one process: as many are loaded as its budget of memory holds, each while somebody asks for it."""

import gc
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable
from services.video.workers.crew import Crew
from sora_core.errors import ConfigError, SoraError

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_TURN_S = 30.0  # a model that is asked for has the memory at least so long before another may want it


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory, its weights' size, and the crew that is to work with it."""

    name: str
    weights_bytes: int
    crew: Crew


@dataclass(slots=True)
class _Model:
    uri: str
    name: str
    weights_bytes: int
    crew: Crew | None = None
    leaving: bool = False
    since: float = 0.0  # when it was loaded, or is waited for; 0 for neither


class Repertoire:
    """Crews of the models at ``uris``. `look` is one round; a thread repeats it from `start` to `stop`."""

    def __init__(
        self,
        uris: Sequence[str],
        load: Callable[[str], Loaded],
        ledger: Ledger,
        budget_bytes: int | None,
        *,
        decodes: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Loads every model once, so that it can be offered; the first one stays. ``decodes``: its crews decode, too.
        ConfigError for one that the budget can't hold, or for two of one name."""
        self._load = load
        self._ledger = ledger
        self._budget_bytes = budget_bytes
        self._decodes = decodes
        self._clock = clock
        self._models: list[_Model] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="repertoire", daemon=True)
        for uri in reversed(uris):
            self._introduce(uri, stays=budget_bytes is None or uri == uris[0])

    def _introduce(self, uri: str, *, stays: bool) -> None:
        loaded = self._load(uri)
        if self._budget_bytes is not None and loaded.weights_bytes > self._budget_bytes:
            raise ConfigError(
                f"{uri} takes {loaded.weights_bytes} bytes: more than memory_bytes = {self._budget_bytes}"
            )
        if any(loaded.name == model.name for model in self._models):
            raise ConfigError(f"{uri}: another model is named {loaded.name!r} already; give its run another name")
        model = _Model(uri, loaded.name, loaded.weights_bytes, loaded.crew, since=self._clock())
        self._models.insert(0, model)
        if not stays:
            del loaded
            self._unload(model)

    @property
    def loaded(self) -> list[str]:
        """The names of the models in memory."""
        return [model.name for model in self._models if model.crew is not None]

    @property
    def ills(self) -> list[str]:
        """What is wrong with the crews at work."""
        return [
            ill for model in self._models if model.crew is not None and not model.leaving for ill in model.crew.ills
        ]

    def start(self) -> None:
        for model in self._models:
            if model.crew is not None:
                model.crew.start()
        self._thread.start()

    def stop(self) -> None:
        """End every crew."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for model in self._models:
            if model.crew is not None:
                model.crew.stop()

    def look(self) -> None:
        """Unload what has ended, and load what is asked for. LedgerUnavailable while the ledger is away."""
        for model in self._models:
            self._ledger.roster.keep_offered(model.uri)
            if model.leaving and model.crew is not None and model.crew.done:
                self._unload(model)
        asked = {model.name for model in self._models if self._is_asked_for(model)}
        waiting = [model for model in self._models if model.name in asked and model.crew is None]
        for model in waiting:
            model.since = model.since or self._clock()
        for model in sorted(waiting, key=lambda one: one.since):
            if self._free_bytes() < model.weights_bytes:
                self._make_free(model.weights_bytes, asked)
                return  # whoever waits longest is next
            self._take_up(model)

    def _is_asked_for(self, model: _Model) -> bool:
        backlog = self._ledger.roster.backlog(model=model.name)
        return backlog.unsampled + (backlog.undecoded if self._decodes else 0) > 0

    def _free_bytes(self) -> float:
        if self._budget_bytes is None:
            return float("inf")
        return self._budget_bytes - sum(model.weights_bytes for model in self._models if model.crew is not None)

    def _make_free(self, needed: int, asked: set[str]) -> None:
        """Let models go until there will be so much: those that nobody asks for, then those that had their turn."""
        coming = self._free_bytes() + sum(model.weights_bytes for model in self._models if model.leaving)
        staying = [model for model in self._models if model.crew is not None and not model.leaving]
        for model in sorted(staying, key=lambda one: (one.name in asked, one.since)):
            had_its_turn = model.name not in asked or self._clock() - model.since >= _TURN_S
            if coming < needed and had_its_turn:
                log.info("%s makes way", model.name)
                assert model.crew is not None
                model.crew.retire()
                model.leaving = True
                coming += model.weights_bytes

    def _take_up(self, model: _Model) -> None:
        log.info("%s is loaded", model.name)
        model.crew = self._load(model.uri).crew
        model.since = self._clock()
        model.crew.start()

    def _unload(self, model: _Model) -> None:
        model.crew, model.leaving, model.since = None, False, 0.0
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                self.look()
            except (SoraError, LedgerUnavailable) as error:
                log.warning("the loaded models stay for now: %s", error)
            except Exception:
                log.exception("the loaded models stay for now")
