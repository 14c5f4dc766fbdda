import asyncio
import gc
import logging
import threading
import time
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from tests.scripted_server import KEY, KEY_VARIABLE, Reply, ScriptedServer, chat_reply, failure, serving
from tuningfork.errors import RemoteError
from tuningfork.models.remote_transport import Transport

GOOD = chat_reply("ok")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serving() as running:
        yield running


def post(server: ScriptedServer, **changes: Any) -> dict[str, Any]:
    transport = Transport(server.settings(**changes))
    try:
        return transport.submit(transport.post("/chat/completions", {"model": "judge-1"})).result().content
    finally:
        transport.close()


def test_a_request_carries_the_key_in_its_header_only(server: ScriptedServer) -> None:
    assert post(server)["choices"][0]["message"]["content"] == "ok"
    asked = server.asked[0]
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.headers["User-Agent"].startswith("tuningfork/")
    assert asked.body == {"model": "judge-1"}


def test_no_key_sends_none(server: ScriptedServer) -> None:
    post(server, key_variable=None)
    assert "Authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    "passing",
    [
        failure(429),
        failure(500),
        failure(503),
        Reply(GOOD.text, early=True),
        Reply(GOOD.text[:20]),
        Reply("not JSON"),
        Reply('{"error": {"message": "busy", "code": 503}}'),
    ],
    ids=["429", "500", "503", "closed early", "cut short", "garbage", "error in 200"],
)
def test_what_may_pass_is_tried_again(server: ScriptedServer, passing: Reply) -> None:
    server.says(passing, passing, GOOD)
    assert "choices" in post(server)
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (failure(500, "it broke"), "gave up after 3 attempts: failed with status 500: it broke"),
        (failure(429, "slow"), "gave up after 3 attempts: too many calls, or the quota is used up"),
        (Reply(GOOD.text, early=True), "closed the connection before the answer was whole"),
        (Reply(GOOD.text[:20]), 'not a JSON object, or is cut short: {"choices": '),
        (Reply("[1]"), "not a JSON object, or is cut short: \\[1\\]"),
        (Reply(""), "not a JSON object, or is cut short: nothing"),
        (Reply("[" * 100_000), "not a JSON object"),
        (Reply(status=502), "failed with status 502: no reason given"),
    ],
)
def test_attempts_are_bounded(server: ScriptedServer, reply: Reply, message: str) -> None:
    server.says(reply)
    with pytest.raises(RemoteError, match=message) as refused:
        post(server, max_attempts=3)
    assert len(server.asked) == 3
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (failure(400, "max_tokens is too large"), "failed with status 400: max_tokens is too large"),
        (failure(401, "who?"), f"refused the key in {KEY_VARIABLE}"),
        (failure(404, "none"), "knows no model 'judge-1' or no such path below http"),
        (
            Reply("<!doctype html><title>hi", headers={"Content-Type": "text/html"}),
            "answered with a web page",
        ),
        (Reply('{"error": "model is loading"}'), "model is loading"),
        (
            Reply('{"error": {"message": "pay first", "code": "insufficient_quota"}}', 429),
            "the quota is used up .* pay first",
        ),
    ],
)
def test_what_will_not_pass_is_not_tried_again(server: ScriptedServer, reply: Reply, message: str) -> None:
    server.says(reply)
    with pytest.raises(RemoteError, match=message):
        post(server)
    assert len(server.asked) == 1


def test_redirects_are_not_followed(server: ScriptedServer) -> None:
    with serving() as elsewhere:
        server.says(Reply("", 307, {"Location": f"{elsewhere.base_url}/chat/completions"}))
        with pytest.raises(RemoteError, match=f"redirects to {elsewhere.base_url}.*which is not followed"):
            post(server)
        assert elsewhere.asked == []
    assert len(server.asked) == 1


def test_retry_after_is_waited_for(server: ScriptedServer) -> None:
    server.says(failure(429, Retry_After="0.3"), GOOD)
    started = time.monotonic()
    post(server)
    assert time.monotonic() - started >= 0.3


def test_retry_after_may_be_a_date(server: ScriptedServer) -> None:
    late = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    server.says(failure(503, Retry_After=late))
    with pytest.raises(
        RemoteError, match=r"the next attempt would be in 3\d\d\d s, beyond the limit of 300 s a call"
    ):
        post(server)
    server.says(failure(503, Retry_After="soon"), GOOD)
    assert "choices" in post(server)


def test_an_attempt_and_a_call_have_limits(server: ScriptedServer) -> None:
    server.says(Reply(hang=True))
    with pytest.raises(RemoteError, match=r"gave up after 2 attempts: no answer within 0.05 s"):
        post(server, timeout_seconds=0.05, max_attempts=2)
    assert len(server.asked) == 2
    with pytest.raises(RemoteError, match=r"no answer within 0.3 s; before that: no answer within 0.2 s"):
        post(server, timeout_seconds=0.2, deadline_seconds=0.3)


def test_a_server_that_is_not_there_is_one_line() -> None:
    with serving() as gone:
        settings = gone.settings(max_attempts=2)
    transport = Transport(settings)
    with pytest.raises(RemoteError, match="gave up after 2 attempts: cannot be reached"):
        transport.submit(transport.post("/chat/completions", {})).result()
    transport.close()


def test_the_key_is_nowhere_to_be_read(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    transport = Transport(server.settings(max_attempts=1))
    server.says(failure(401, f"bad key {KEY}"), failure(500, f"\x1b[31m{KEY}"), Reply(KEY), chat_reply(KEY))
    shown = [repr(transport), repr(transport.__dict__["_settings"])]
    for _ in range(3):
        with pytest.raises(RemoteError) as refused:
            transport.submit(transport.post("/x", {})).result()
        assert "[key]" in str(refused.value)
        assert "\x1b" not in str(refused.value)
        assert refused.value.__cause__ is None
        shown.append(str(refused.value))
    shown.append(str(transport.submit(transport.post("/x", {})).result()))
    transport.close()
    assert "[key]" in shown[-1]
    assert KEY not in "".join(shown)
    assert KEY not in caplog.text
    assert "http" in caplog.text


def test_a_placeholder_for_a_key_is_left_in_answers(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "none")
    server.says(chat_reply("none of them"))
    assert post(server)["choices"][0]["message"]["content"] == "none of them"


def test_an_endless_answer_is_cut_off(server: ScriptedServer) -> None:
    server.says(Reply(" " * (17 * 2**20)))
    with pytest.raises(RemoteError, match="the answer is larger than 16 MiB"):
        post(server)


def test_closing_ends_what_runs_and_leaves_no_thread(server: ScriptedServer) -> None:
    server.says(Reply(hang=True))
    transport = Transport(server.settings())
    future = transport.submit(transport.post("/x", {}))
    while not server.asked:
        time.sleep(0.005)
    transport.close()
    transport.close()
    assert future.cancelled()
    server.closing.set()
    names = [thread.name for thread in threading.enumerate()]
    assert "tuningfork-remote" not in names
    work = transport.post("/x", {})
    with pytest.raises(RemoteError, match="the connection was closed"):
        transport.submit(work)


def test_a_forgotten_transport_is_closed(server: ScriptedServer) -> None:
    transport = Transport(server.settings())
    transport.submit(transport.post("/x", {})).result()
    gone = weakref.ref(transport)
    del transport
    gc.collect()
    assert gone() is None
    assert "tuningfork-remote" not in [thread.name for thread in threading.enumerate()]


def test_a_caller_may_have_a_loop_of_its_own(server: ScriptedServer) -> None:
    async def ask() -> dict[str, Any]:
        return post(server)

    assert "choices" in asyncio.run(ask())
