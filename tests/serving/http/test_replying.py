import json

from tests.serving.http.conftest import Served
from tests.serving.scripted_engine import said
from tuningfork.serving.http.replying import event


def test_an_event_is_one_line_whatever_it_says() -> None:
    content = event({"text": "a\n\nb\r\u2028é"})
    assert content.startswith(b"data: {")
    assert content.endswith(b"}\n\n")
    assert content.count(b"\n") == 2
    assert b"\r" not in content
    assert json.loads(content[6:]) == {"text": "a\n\nb\r\u2028é"}


def test_a_stream_is_not_kept_by_those_who_pass_it_on(served: Served) -> None:
    body = {"model": "tiny", "prompt": "x", "stream": True}
    headers = served.client.post("/v1/completions", json=body).headers
    assert headers["cache-control"] == "no-cache"
    assert headers["x-accel-buffering"] == "no"
    assert headers["x-tuningfork-version"] == "tiny"
    assert "content-length" not in headers


def test_a_stream_ends_the_engines_work(served: Served) -> None:
    served.engine.script = lambda request: said("ab")
    served.events("/v1/completions", {"model": "tiny", "prompt": ["x", "y"]})
    assert sorted(served.engine.ended) == sorted(request.id for request in served.engine.asked)
