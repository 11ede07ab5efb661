"""Links that sign in once: a key that can only be changed, one time and soon, for a key of a session."""

from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from services.video.accounts.keys import KeyStore, Scope
from services.video.errors import ApiError
from services.video.routes.access import REDEEM, TheCaller, TheService, keyed_router

router = keyed_router("/sign_ins")


class SignIn(BaseModel):
    """A secret that is told once, and when it ends, in Unix seconds."""

    object: str = "sign_in"
    secret: str
    expires_at: int


@router.post("")
async def create_sign_in(service: TheService, caller: TheCaller) -> SignIn:
    """What signs the same owner in once, at ``/studio/#/?once=SECRET``; it administers nothing."""
    passed_on = [Scope(scope) for scope in sorted(caller.scopes - {Scope.ADMIN})]
    settings = service.config.studio
    scopes = [Scope.SIGN_IN, *passed_on]
    return await run_in_threadpool(_add, service, caller.owner, "sign-in link", scopes, settings.link_s)


@router.post(REDEEM)
async def redeem_sign_in(service: TheService, caller: TheCaller) -> SignIn:
    """The key of a session for a link's secret, which is no good afterwards."""
    return await run_in_threadpool(_redeem, service, caller.key_id)


def _redeem(service: TheService, key_id: str) -> SignIn:
    link = KeyStore(service.ledger).redeem(key_id)
    if link is None:
        raise ApiError(401, "this link was used already", code="invalid_api_key", kind="authentication_error")
    scopes = [Scope(scope) for scope in link.scopes if scope != Scope.SIGN_IN]
    return _add(service, link.owner, "session", scopes, service.config.studio.session_s)


def _add(service: TheService, owner: str, name: str, scopes: list[Scope], lasts_s: float) -> SignIn:
    expires_at = service.ledger.now() + lasts_s
    _, secret = KeyStore(service.ledger).add(owner, name, scopes, expires_at)
    return SignIn(secret=secret, expires_at=int(expires_at))
