"""What a client is told that gets no answer, in the shape of OpenAI's errors."""

import math
from collections.abc import Mapping
from typing import Any

from tuningfork.errors import (
    AccessError,
    ContextLengthError,
    DataError,
    LibraryError,
    PromptError,
    QueueFullError,
    RunError,
    ServingError,
    TaskError,
)

TOO_LONG = "context_length_exceeded"


class Refusal(ServingError):
    """A request that gets an error instead of an answer.

    `kind` and `code` are what clients tell errors apart by, `param` the field that is wrong.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.code = code
        self.param = param
        self.retry_after_seconds = retry_after_seconds

    @property
    def body(self) -> dict[str, Any]:
        """The error as JSON."""
        told = {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}
        return {"error": told}

    @property
    def headers(self) -> Mapping[str, str]:
        """What clients read beside the body."""
        if self.status == 401:
            return {"www-authenticate": "Bearer"}
        if self.retry_after_seconds is None:
            return {}
        # Whole seconds, as the header is defined, and never so few that the answer would be the same.
        return {
            "retry-after": str(max(1, math.ceil(self.retry_after_seconds))),
            "retry-after-ms": str(max(1, math.ceil(self.retry_after_seconds * 1000))),
        }


def bad_request(message: str, param: str | None = None, *, code: str | None = None) -> Refusal:
    """What was asked cannot be done; the message says why."""
    return Refusal(400, message, param=param, code=code)


def no_key(message: str) -> Refusal:
    """Nobody was recognised."""
    return Refusal(401, message, kind="authentication_error", code="invalid_api_key")


def forbidden(message: str) -> Refusal:
    """Whoever was recognised may not do this."""
    return Refusal(403, message, kind="permission_error", code="permission_denied")


def unknown_model(message: str) -> Refusal:
    """No prompt and no model of this name is served."""
    return Refusal(404, message, code="model_not_found", param="model")


def too_many(message: str, retry_after_seconds: float) -> Refusal:
    """It may be asked again, but later."""
    return Refusal(
        429,
        message,
        kind="rate_limit_error",
        code="rate_limit_exceeded",
        retry_after_seconds=retry_after_seconds,
    )


def too_late(message: str) -> Refusal:
    """The time for an answer was over before there was any of it."""
    return Refusal(504, message, kind="timeout_error", code="deadline_exceeded")


def stopping() -> Refusal:
    """The server ends."""
    return Refusal(
        503,
        "the server is stopping; ask again",
        kind="server_error",
        code="stopping",
        retry_after_seconds=1.0,
    )


def internal_error(request_id: str) -> Refusal:
    """Something broke that is not the client's fault; what it was stands in the server's log alone."""
    message = f"the server failed to answer; its log says why under the request ID {request_id}"
    return Refusal(500, message, kind="server_error", code="internal_error")


def refusal_of(error: Exception, request_id: str) -> Refusal:
    """What a client is told of `error`."""
    match error:
        case Refusal():
            return error
        case QueueFullError():
            return too_many(str(error), error.retry_after_seconds)
        case ContextLengthError():
            return bad_request(str(error), code=TOO_LONG)
        case AccessError():
            return forbidden(str(error))
        case DataError() | TaskError() | PromptError() | RunError() | LibraryError() | ServingError():
            return bad_request(str(error))
        case _:
            return internal_error(request_id)
