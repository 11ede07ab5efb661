"""The thread of an API replica that brings events to their endpoints; any replica may bring any event."""

import logging
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from services.video.config import WebhookSettings
from services.video.ledger.tables import LedgerUnavailable
from services.video.outbound import Outbound, OutboundError
from services.video.webhooks.signing import signed_headers
from services.video.webhooks.store import Delivery, WebhookStore
from sora_core import telemetry

log = logging.getLogger(__name__)

_AT_ONCE = 8
_MARGIN_S = 30.0  # between the longest delivery and the end of its lease


class Courier:
    """Sends what is due from `start` to `stop`; an endpoint gets one event at a time, so a slow one waits alone."""

    def __init__(
        self, store: WebhookStore, settings: WebhookSettings, clock: Callable[[], float] | None = None
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock or store.now
        self._outbound = Outbound(settings.outbound)
        self._stop = threading.Event()
        self._senders = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="webhook")
        self._busy: dict[str, Future[None]] = {}  # by endpoint
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends when what is being sent has been."""
        self._stop.set()
        self._thread.join()
        self._senders.shutdown(wait=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                moved = self.tick()
            except LedgerUnavailable as error:
                log.warning("webhooks wait: %s", error)
                moved = 0
            except Exception:
                log.exception("a round of webhooks failed; the next one tries again")
                moved = 0
            if not moved:
                self._stop.wait(self._settings.poll_s)

    def tick(self) -> int:
        """Announce what has ended and begin to send what is due; how many of both."""
        self._busy = {endpoint: future for endpoint, future in self._busy.items() if not future.done()}
        announced = self._store.announce()
        for endpoint_id in self._store.disable_failing(self._settings.disable_after_s):
            log.error(
                "webhook endpoint %s took nothing for days: it gets nothing more until it is changed", endpoint_id
            )
        free = _AT_ONCE - len(self._busy)
        due = self._store.claim(free, self._settings.outbound.timeout_s + _MARGIN_S, self._busy) if free else []
        for delivery in due:
            self._busy[delivery.endpoint.id] = self._senders.submit(self._deliver, delivery)
        return announced + len(due)

    def _deliver(self, delivery: Delivery) -> None:
        failure = self._send(delivery)
        age_s = self._clock() - delivery.created_at
        if failure is None:
            due_at, outcome = None, "delivered"
        elif age_s > self._settings.give_up_after_s:
            due_at, outcome = None, "given_up"
            log.error("webhook %s to %s given up: %s", delivery.event_id, delivery.endpoint.id, failure)
        else:
            due_at, outcome = self._clock() + self._pause_s(delivery.attempts), "failed"
            log.warning("webhook %s to %s: %s", delivery.event_id, delivery.endpoint.id, failure)
        telemetry.VIDEO_WEBHOOKS.inc(1, {"outcome": outcome})
        try:
            self._store.settle(delivery, due_at, taken=failure is None)
        except LedgerUnavailable as error:
            log.warning("webhook %s is sent again when its lease runs out: %s", delivery.event_id, error)

    def _send(self, delivery: Delivery) -> str | None:
        """Send an event; why it wasn't taken, or None when it was."""
        try:
            status = send(self._outbound, delivery, self._clock())
        except OutboundError as error:
            return str(error)
        except Exception as error:
            log.exception("webhook %s to %s", delivery.event_id, delivery.endpoint.id)
            return f"it can't be sent ({type(error).__name__})"
        return None if 200 <= status < 300 else f"the endpoint answers {status}"

    def _pause_s(self, attempts: int) -> float:
        """Doubling with every attempt, with jitter so that what failed together doesn't come back together."""
        pause_s = self._settings.first_retry_s * 2.0 ** min(attempts - 1, 30)
        return min(pause_s, self._settings.longest_retry_s) * random.uniform(0.75, 1.0)


def send(outbound: Outbound, delivery: Delivery, now: float) -> int:
    """Send an event, signed; the status of the answer. OutboundError when there is none."""
    endpoint = delivery.endpoint
    headers = signed_headers(endpoint.secrets_at(now), delivery.event_id, now, delivery.body)
    return outbound.send("POST", endpoint.url, headers=headers, body=delivery.body.encode()).status
