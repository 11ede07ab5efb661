"""Back-pressure: what would wait too long is turned away with the time after which another try is worth it."""

import math

from services.video.config import ApiSettings
from services.video.errors import too_many
from services.video.ledger import Ledger
from services.video.sizing import Plan


def check_queue(ledger: Ledger, limits: ApiSettings, owner: str, count: int, planned: Plan) -> None:
    """ApiError 429 while the queue of the owner or of all is full, or longer than ``max_wait_s`` seconds."""
    for whose, most in ((owner, limits.limits_of(owner).max_waiting), (None, limits.max_waiting)):
        backlog = ledger.backlog(whose)
        excess = backlog.waiting + count - most
        if excess > 0:
            wait_s = None if backlog.wait_s is None else backlog.wait_s * excess / max(1, backlog.waiting)
            whom = "of your " if whose else ""
            message = f"{backlog.waiting} {whom}videos wait already, the limit is {most}: try again later"
            raise too_many(message, "queue_full", wait_s)
    if limits.max_wait_s is None or backlog.wait_s is None or not backlog.token_steps_per_s:
        return
    own_s = count * planned.batch_tokens * planned.num_steps / backlog.token_steps_per_s
    over_s = backlog.wait_s + own_s - limits.max_wait_s
    if backlog.wait_s > 0 and over_s > 0:
        message = f"it would be done in {math.ceil(backlog.wait_s + own_s)} s, the limit is {limits.max_wait_s:g} s"
        raise too_many(f"{message}: try again later", "queue_full", over_s)
