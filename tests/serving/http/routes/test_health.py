from tests.serving.http.conftest import Served


def test_health_says_nothing_and_ready_what_is_served(served: Served) -> None:
    found = served.client.get("/health")
    assert (found.status_code, found.content) == (200, b"")
    assert served.client.get("/ready").json() == {"status": "ready", "model": "tiny"}
    served.service.is_ready = False
    found = served.client.get("/ready")
    assert (found.status_code, found.headers["retry-after"]) == (503, "1")
