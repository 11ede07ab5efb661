"""An HTTP answer that isn't success, as a value: the envelope's fields, the status and the headers."""

import math
from collections.abc import Mapping

_LONGEST_RETRY_S = 60  # clients give up at once when told to wait longer than two minutes


class ApiError(Exception):
    """Raised by whatever finds a request wanting; the edge turns it into the error envelope."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.kind = kind
        self.headers = dict(headers or {})


def refused(param: str, message: str, code: str = "invalid_value") -> ApiError:
    """The answer to a parameter that can't be honoured."""
    return ApiError(400, message, param=param, code=code)


def unavailable(message: str, *, retry_after_s: int) -> ApiError:
    """The answer while something that the service needs is away; clients try again by themselves."""
    return ApiError(503, message, code="unavailable", kind="server_error", headers={"retry-after": str(retry_after_s)})


def too_many(message: str, code: str, wait_s: float | None) -> ApiError:
    """The answer to what may be asked for later; clients wait by themselves for as long as they are told."""
    seconds = _LONGEST_RETRY_S if wait_s is None else max(1, min(_LONGEST_RETRY_S, math.ceil(wait_s)))
    return ApiError(429, message, code=code, kind="rate_limit_error", headers={"retry-after": str(seconds)})
