"""Back-pressure: what would wait too long is turned away with the time after which another try is worth it."""

import math
from collections.abc import Sequence

from services.video.config import ApiSettings, KeyLimits
from services.video.errors import ApiError, too_many
from services.video.intake.sizing import Sizing
from services.video.job import Backlog
from services.video.ledger import Ledger
from services.video.ledger.lookups import check_allowance
from services.video.ledger.rates import Charge, OverRate

_MINUTE_S, _DAY_S = 60.0, 86_400.0
_LEAST_VIDEO_S = 1e-3  # of a request that nobody has read yet


def check_before(ledger: Ledger, limits: ApiSettings, owner: str, model: str, count: int, now: float) -> None:
    """ApiError 429 for a request that would be turned away whatever it brings: asked before any of that is decoded."""
    check_waiting(ledger, limits, owner, model, count)
    try:
        check_allowance(ledger, owner, charges_of(limits.limits_of(owner), _LEAST_VIDEO_S), now)
    except OverRate as error:
        raise over_rate(error) from error


def check_queue(
    ledger: Ledger, limits: ApiSettings, owner: str, model: str, count: int, sizing: Sizing
) -> tuple[float | None, float | None]:
    """In how many seconds so many jobs more are predicted to be done, and in how many by the workers' rates alone; None
    before a rate was measured. ApiError 429 while the queue of the owner or of all is full, or longer than
    ``max_wait_s``.
    """
    backlog = check_waiting(ledger, limits, owner, model, count)
    tokens = count * sizing.batch_tokens
    own = (tokens * sizing.num_evaluations, tokens)
    predicted_s = backlog.wait_with(*own)
    if limits.max_wait_s is not None and predicted_s is not None and backlog.token_steps_per_s:
        over_s = predicted_s - limits.max_wait_s
        if backlog.wait_s and over_s > 0:
            message = f"it would be done in {math.ceil(predicted_s)} s, the limit is {limits.max_wait_s:g} s"
            raise too_many(f"{message}: try again later", "queue_full", over_s)
    return predicted_s, backlog.reckoned_s(*own)


def check_waiting(ledger: Ledger, limits: ApiSettings, owner: str, model: str, count: int) -> Backlog:
    """The backlog of a model. ApiError 429 while the queue of the owner or of all is full."""
    for whose, most in ((owner, limits.limits_of(owner).max_waiting), (None, limits.max_waiting)):
        backlog = ledger.roster.backlog(whose, model)
        excess = backlog.waiting + count - most
        if excess > 0:
            wait_s = None if backlog.wait_s is None else backlog.wait_s * excess / max(1, backlog.waiting)
            whom = "of your " if whose else ""
            message = f"{backlog.waiting} {whom}videos wait already, the limit is {most}: try again later"
            raise too_many(message, "queue_full", wait_s)
    return backlog


def charges_of(limits: KeyLimits, video_seconds: float) -> Sequence[Charge]:
    """What a request for so many seconds of video uses of a key's limits."""
    charges = []
    if limits.requests_per_minute is not None:
        charges.append(Charge("requests per minute", 1.0, max(1.0, limits.requests_per_minute), _MINUTE_S))
    if limits.video_seconds_per_day is not None:
        charges.append(Charge("seconds of video per day", video_seconds, limits.video_seconds_per_day, _DAY_S))
    return charges


def check_image_wait(ledger: Ledger, limits: ApiSettings, model: str) -> None:
    """ApiError 429 when images would not be there before their request is given up."""
    wait_s, most = ledger.roster.backlog(model=model).wait_s, limits.image_wait_s
    if wait_s is not None and wait_s > most:
        message = f"the queue takes {wait_s:.0f} s, a request for images waits at most {most:g} s: try again later"
        raise too_many(message, "queue_full", wait_s - most)


def over_rate(error: OverRate) -> ApiError:
    """429 with the time until the allowance suffices; 400 for a request that is more than it ever grants."""
    charge = error.charge
    asked = f"the key's limit is {charge.limit:g} {charge.unit}"
    if error.retry_after_s is None:
        return ApiError(400, f"{asked}, this request alone takes {charge.amount:g}: ask for less", code="over_quota")
    message = f"{asked}, and too little of it is left: try again in {math.ceil(error.retry_after_s)} s"
    return too_many(message, "rate_limit_exceeded", error.retry_after_s)
