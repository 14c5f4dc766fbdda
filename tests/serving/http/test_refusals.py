import pytest

from tuningfork.errors import (
    AccessError,
    ContextLengthError,
    DataError,
    LibraryError,
    QueueFullError,
    ServingError,
    TaskError,
)
from tuningfork.serving.http.refusals import Refusal, bad_request, no_key, refusal_of, too_many


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (bad_request("x", "n"), 400, "invalid_request_error", None),
        (no_key("x"), 401, "authentication_error", "invalid_api_key"),
        (AccessError("x"), 403, "permission_error", "permission_denied"),
        (ContextLengthError("x"), 400, "invalid_request_error", "context_length_exceeded"),
        (QueueFullError("x", retry_after_seconds=3), 429, "rate_limit_error", "rate_limit_exceeded"),
        (DataError("x"), 400, "invalid_request_error", None),
        (TaskError("x"), 400, "invalid_request_error", None),
        (LibraryError("x"), 400, "invalid_request_error", None),
        (ServingError("x"), 400, "invalid_request_error", None),
    ],
)
def test_errors_have_the_status_that_clients_know(
    error: Exception, status: int, kind: str, code: str | None
) -> None:
    found = refusal_of(error, "id-1")
    assert found.status == status
    assert found.body["error"]["type"] == kind
    assert found.body["error"]["code"] == code
    assert found.body["error"]["message"] == "x"


def test_what_is_not_foreseen_is_not_told() -> None:
    found = refusal_of(KeyError("password"), "id-1")
    assert found.status == 500
    assert "password" not in str(found.body)
    assert "id-1" in str(found.body)


def test_a_wait_is_rounded_up() -> None:
    assert too_many("x", 0.2).headers == {"retry-after": "1", "retry-after-ms": "200"}
    assert too_many("x", 2.01).headers == {"retry-after": "3", "retry-after-ms": "2010"}
    assert no_key("x").headers == {"www-authenticate": "Bearer"}
    assert Refusal(400, "x").headers == {}
