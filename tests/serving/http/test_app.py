import logging
import re

import pytest
from starlette.testclient import TestClient

from tests.serving.http.conftest import Served
from tuningfork.serving.http.app import create_app


def test_every_response_has_an_id(served: Served) -> None:
    for path in ("/health", "/v1/models", "/nowhere"):
        first, second = (served.client.get(path).headers["x-request-id"] for _ in range(2))
        assert first != second
        assert re.fullmatch("[0-9a-f]{32}", first)
        kept = served.client.get(path, headers={"x-request-id": "mine:1.a_B-2"})
        assert kept.headers["x-request-id"] == "mine:1.a_B-2"
        for forged in ("a b", "x" * 129, "ä", "<script>"):
            given = served.client.get(path, headers=[(b"x-request-id", forged.encode())])
            assert re.fullmatch("[0-9a-f]{32}", given.headers["x-request-id"])


def test_addresses_that_are_none_are_told_in_the_same_shape(served: Served) -> None:
    error = served.refused("/v1/nothing", {}, status=404)
    assert error["message"] == "POST /v1/nothing: there is no such address"
    response = served.client.get("/v1/completions")
    assert response.status_code == 405
    assert response.json()["error"]["code"] == "unknown_url"
    assert served.client.get("/docs").status_code == 404


def test_a_fault_is_logged_under_the_id_that_is_told(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.engine.refuses = KeyError("secret")
    with caplog.at_level(logging.ERROR):
        response = served.client.post("/v1/completions", json={"model": "tiny", "prompt": "x"})
    assert response.status_code == 500
    assert response.headers["x-request-id"] in response.json()["error"]["message"]
    assert "secret" not in response.text
    (record,) = caplog.records
    assert response.headers["x-request-id"] in record.getMessage()
    assert record.exc_info is not None


def test_requests_are_taken_from_start_to_end(served: Served) -> None:
    assert served.service.is_ready
    client = TestClient(create_app(served.service))
    with client:
        assert client.get("/ready").status_code == 200
    assert not served.service.is_ready
    assert served.client.get("/ready").status_code == 503
    assert served.client.get("/health").status_code == 200
