import asyncio
import json
from typing import Any

from tests.serving.http.conftest import Served
from tests.serving.scripted_engine import said
from tuningfork.serving.http.app import create_app
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


def test_who_hangs_up_while_pieces_come_ends_the_engines_work(served: Served) -> None:
    """The engine would go on for ever, and nobody asks it for the next piece."""
    served.engine.script = lambda request: [*said("a")[:1], None]
    content = json.dumps({"model": "tiny", "prompt": "x", "n": 2, "stream": True}).encode()
    headers = [(b"content-type", b"application/json")]
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "method": "POST",
        "path": "/v1/completions", "raw_path": b"/v1/completions", "query_string": b"", "headers": headers,
        "client": ("here", 1), "state": {}, "scheme": "http", "server": ("here", 80), "root_path": "",
        "http_version": "1.1",
    }  # fmt: skip

    async def hang_up() -> list[str]:
        begun, sent = asyncio.Event(), []
        waiting = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if waiting:
                return waiting.pop()
            await begun.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message["type"])
            if message.get("body"):
                begun.set()

        await asyncio.wait_for(create_app(served.service)(scope, receive, send), 10)
        for _ in range(5):
            await asyncio.sleep(0)
        assert "http.response.body" in sent
        # Looked at here: the end of the loop would cancel everything.
        return list(served.engine.ended)

    ended = asyncio.run(hang_up())
    assert sorted(ended) == sorted(request.id for request in served.engine.asked)
    assert len(ended) == 2
